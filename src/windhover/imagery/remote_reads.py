"""Rasters on servers: how long an answer is waited for, and when a server is given up.

GDAL retries each request itself, under the limits of `HTTP_OPTIONS`. A part that fails even so is
read once more on a new handle; after a few such parts in a row every further part fails at once for
a while, so that a dead server cannot hold a search of thousands of blocks. Reads no pixel.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rasterio.errors import RasterioError

T = TypeVar("T")
READ_ERRORS = (RasterioError, OSError, UnicodeDecodeError)
# GDAL's own options; one that stands in the environment is the user's
HTTP_OPTIONS: dict[str, Any] = {
    "GDAL_HTTP_CONNECTTIMEOUT": 10,  # s
    "GDAL_HTTP_LOW_SPEED_TIME": 15,  # s below the limit of speed, after which a request fails
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes/s
    "GDAL_HTTP_MAX_RETRY": 3,
    "GDAL_HTTP_RETRY_DELAY": 0.5,  # s, doubled by GDAL at each retry
}
REMOTE_PATH = re.compile(
    r"(?:(?:https?|ftp)://|/vsi(?:curl|s3|gs|az|adls|oss|swift)(?:_streaming)?/|(?:s3|gs|az)://)"
    r"(?P<rest>.*)",
    re.IGNORECASE,
)
RETRY_WAIT_S = 1.0  # before a failed part is read once more
MAX_FAILED_PARTS = 3  # in a row, after which a server is given up
GIVEN_UP_S = 60.0  # until one part is tried again

_lock = threading.Lock()
_failures: dict[str, tuple[int, float]] = {}  # of a server: parts in a row, time of the last


def http_options() -> dict[str, Any]:
    """Return GDAL's options for requests, without those that the environment sets."""
    return {name: value for name, value in HTTP_OPTIONS.items() if name not in os.environ}


def is_remote(path: str) -> bool:
    """Return whether a raster is read from a server."""
    return REMOTE_PATH.match(path) is not None


def read_with_retry(path: str, read: Callable[[], T], reopen: Callable[[], None]) -> T:
    """Return what a read gives; of a server it is tried once more before its error is raised.

    Args:
        path: of the raster.
        read: reads a part.
        reopen: drops the handle, before the second try.

    Raises:
        TimeoutError: the server failed too often a moment ago, and is not asked.
    """
    if not is_remote(path):
        return read()
    server = _server_of(path)
    _check_given_up(server)
    try:
        part = read()
    except READ_ERRORS:
        time.sleep(RETRY_WAIT_S)
        reopen()
        try:
            part = read()
        except READ_ERRORS:
            _count_failure(server)
            raise
    with _lock:
        _failures.pop(server, None)
    return part


def _server_of(path: str) -> str:
    """Return host and port, or bucket, of a remote raster."""
    matched = REMOTE_PATH.match(path)
    rest = path if matched is None else matched["rest"]
    rest = re.sub(r"^(?:https?|ftp)://", "", rest)
    return rest.partition("/")[0].rpartition("@")[2]


def _check_given_up(server: str) -> None:
    """Raise if a server was given up less than `GIVEN_UP_S` ago; else one part may try it."""
    with _lock:
        count, last = _failures.get(server, (0, 0.0))
        if count < MAX_FAILED_PARTS:
            return
        if time.monotonic() - last < GIVEN_UP_S:
            raise TimeoutError(f"{server} failed {count} times in a row and is not asked again yet")
        _failures[server] = (count, time.monotonic())


def _count_failure(server: str) -> None:
    with _lock:
        count, _ = _failures.get(server, (0, 0.0))
        _failures[server] = (count + 1, time.monotonic())
