"""The messages of the library, recorded for tests that check what is reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Recorder(logging.Handler):
    """Adds every message to a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def recorded_messages() -> Iterator[list[str]]:
    """Yield a list that is filled with the library's messages of level INFO and above."""
    messages: list[str] = []
    logger = logging.getLogger("windhover")
    level = logger.level
    recorder = _Recorder(messages)
    logger.setLevel(logging.INFO)
    logger.addHandler(recorder)
    try:
        yield messages
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(level)
