"""Messages of the library on the terminal.

The library reports through `logging`; programs call `show_messages` to print what it reports.
"""

from __future__ import annotations

import logging
import sys


class ConsoleHandler(logging.Handler):
    """Prints messages plainly: up to INFO on standard output, warnings on standard error.

    Attributes:
        only_stderr: whether all go to standard error, so that the output holds a result alone.
    """

    only_stderr = False

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; the stream is that of the moment, which may be redirected."""
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001  # as logging's own handlers do
            self.handleError(record)
            return
        stream = sys.stdout
        if self.only_stderr or record.levelno >= logging.WARNING:
            stream = sys.stderr
        print(message, file=stream, flush=True)


def show_messages(*, verbose: bool = False, only_stderr: bool = False) -> None:
    """Print the library's messages on the terminal from now on.

    Args:
        verbose: whether details (level DEBUG) are printed too.
        only_stderr: whether all go to standard error.
    """
    logger = logging.getLogger("windhover")
    level = logging.INFO
    if verbose:
        level = logging.DEBUG
    logger.setLevel(level)
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())
    for handler in logger.handlers:
        if isinstance(handler, ConsoleHandler):
            handler.only_stderr = only_stderr
