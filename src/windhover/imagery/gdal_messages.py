"""GDAL's messages that are not UTF-8: rasterio drops them, and with them the error that they tell.

A read that failed then looks like one of zeros. Such a message is the name of a file in another
encoding, in a virtual raster or on the disk.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_lost = threading.local()  # the error of a thread that reads
_users = 0
_previous_hook: Any = None


@contextmanager
def undecodable_messages_raised() -> Iterator[None]:
    """Raise the error of decoding that rasterio dropped within the block, in the same thread.

    Raises:
        UnicodeDecodeError: GDAL told an error by bytes that are not UTF-8.
    """
    _lost.error = None
    _install()
    try:
        yield
    finally:
        _uninstall()
    error: UnicodeDecodeError | None = _lost.error
    _lost.error = None
    if error is not None:
        raise error


def _install() -> None:
    global _users, _previous_hook  # the interpreter has one hook
    with _lock:
        if _users == 0:
            _previous_hook = sys.unraisablehook
            sys.unraisablehook = _keep_error
        _users += 1


def _uninstall() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            sys.unraisablehook = _previous_hook


def _keep_error(unraisable: Any) -> None:
    """Keep an error that rasterio dropped; others go where they went before."""
    if isinstance(unraisable.exc_value, UnicodeDecodeError) and "rasterio" in str(
        unraisable.object
    ):
        _lost.error = unraisable.exc_value
        return
    _previous_hook(unraisable)
