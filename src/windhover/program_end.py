"""How a program of this library ends early: by one sentence, never by a traceback of the user's
making.

Errors that a user can cause, full disks and unreadable files end it with code 1; Ctrl-C and SIGTERM
with 128 plus the signal's number, once temporary files are removed.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

from windhover.disk_space import full_disk_sentence
from windhover.errors import WindhoverError, shown_path
from windhover.optional_dependencies import explain_missing_extras
from windhover.temporary_files import with_final_names

# as torch and numpy word it
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|Unable to allocate", re.I)
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SENT_AGAIN_S = 0.02  # after a signal whose exception Python had to ignore
SHOWN_NAME_CHARS = 80
SYMLINK_LOOP = "Symlink loop from "  # a RuntimeError of pathlib
# what a system's refusal means, and what to do about it
REFUSALS = {
    errno.ENAMETOOLONG: "the name is too long for this file system. Choose a shorter one.",
    errno.ENOTDIR: "a part of this path is a file, and no folder. Name another path.",
    errno.EISDIR: "is a folder. Name a file.",
    errno.EACCES: "this user has no permission. Change the permissions, or name another path.",
    errno.EPERM: "the system does not permit it. Name another path.",
    errno.EROFS: "the file system can only be read. Name a path of another one.",
    errno.ELOOP: "its links lead back to themselves. Remove the link.",
    errno.ENOENT: "no such file or folder. Correct the path.",
    errno.EEXIST: "is there already. Name another path.",
    errno.EBUSY: "another program uses it. End that one, then run the same again.",
}
STOPPED = (
    "Nothing is half-written. Run the same again: a training goes on after its last epoch, a "
    "search with --resume after its last block."
)


class Stopped(BaseException):
    """A signal asked the program to end; no `except Exception` and no library holds it back."""

    def __init__(self, signal_number: int) -> None:
        """Take the signal."""
        super().__init__(signal_number)
        self.signal_number = signal_number


@contextmanager
def errors_told(program: str) -> Iterator[None]:
    """End the process with one sentence on standard error where the block raises what a user can
    cause, or is stopped by a signal; other errors are raised.

    Args:
        program: that the sentence begins with, such as the name of a stage.
    """
    try:
        with _signals_raised(), explain_missing_extras():
            yield
    except WindhoverError as error:
        _end(program, error.sentence())
    except Stopped as stop:
        name = signal.Signals(stop.signal_number).name
        _end(program, f"stopped by {name}. {STOPPED}", 128 + stop.signal_number)
    except Exception as error:
        reason = full_disk_sentence(error) or _reason_of_system(error)
        if reason is None:
            raise
        _end(program, reason)


def _reason_of_system(error: Exception) -> str | None:
    """Return a sentence where the system denied or ended something, else None."""
    if isinstance(error, RuntimeError) and str(error).startswith(SYMLINK_LOOP):
        error = OSError(errno.ELOOP, "", str(error).removeprefix(SYMLINK_LOOP).strip("'\""))
    if isinstance(error, OSError):  # such as a path not to be written to
        return f"cannot read or write: {shown_path(describe_refusal(error))}"
    if isinstance(error, BrokenExecutor):
        return (
            "one of its processes was ended from outside, by a user or by the system for lack of "
            "memory. Run the same again, with fewer at once if memory is short."
        )
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        return (
            "out of memory. Close other programs, or make blocks, batches or large patches smaller."
        )
    return None


def describe_refusal(error: OSError) -> str:
    """Return what a system refused, as one line: the path, the reason and what to do."""
    text = " ".join(str(error).split())
    if error.filename is None or error.errno not in REFUSALS:
        return text
    name = " ".join(os.fsdecode(error.filename).split())
    if len(name) > SHOWN_NAME_CHARS:
        name = f"{name[:SHOWN_NAME_CHARS]}..."
    return f"{name}: {REFUSALS[error.errno]}"


def _end(program: str, sentence: str, code: int = 1) -> NoReturn:
    print(f"{program}: {with_final_names(sentence)}", file=sys.stderr)
    raise SystemExit(code) from None


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise `Stopped` at the first Ctrl-C or SIGTERM; the second ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _stop) for number in STOPPING_SIGNALS}
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_send_again, hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in previous.items():
            signal.signal(number, handler)


def _send_again(
    hook: Callable[[sys.UnraisableHookArgs], object], ignored: sys.UnraisableHookArgs
) -> None:
    """Send a signal once more whose exception was raised in a destructor, where it is ignored."""
    stop = ignored.exc_value
    if not isinstance(stop, Stopped):
        hook(ignored)
        return
    for number in STOPPING_SIGNALS:
        signal.signal(number, _stop)
    again = threading.Timer(SENT_AGAIN_S, os.kill, (os.getpid(), stop.signal_number))
    again.daemon = True
    again.start()


def _stop(signal_number: int, frame: FrameType | None) -> NoReturn:
    """Raise `Stopped`, and leave the next signal to the system."""
    for number in STOPPING_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    raise Stopped(signal_number)
