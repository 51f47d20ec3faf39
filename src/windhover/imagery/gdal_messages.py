"""GDAL's errors: their reasons, what to do, and those that would be lost.

rasterio drops messages that are not UTF-8, and with them the error that they name: a read that
failed then seems to be one of zeros. Such a message is the name of a file in another encoding, in a
virtual raster or on the disk.
"""

from __future__ import annotations

import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windhover.imagery.remote_reads import is_remote

ADVICE_ON_STATUS = {
    "401": "The server wants to know who asks: give the address with its token, or log in.",
    "403": "The server refuses it: the address, or its token, may have expired. Get a new one.",
    "404": "The server has no such file: correct the address.",
    "410": "The server has no such file any more: get a new address.",
}
# an archive, maybe behind a scheme of fsspec's or GDAL's, and maybe the name of a member
ARCHIVE_PATH = re.compile(
    r"(?:zip://|tar://|gzip://|/vsi(?:zip|tar|gzip)/)?"
    r"(?P<archive>.+?\.(?:zip|tar\.gz|tgz|tar|gz))(?:[/!]+(?P<member>.+))?$",
    re.IGNORECASE,
)
NOT_UTF8 = (
    "It names a file, or holds other text, by bytes that are not UTF-8: write it again in UTF-8."
)

SERVER_FAILED = (
    "The server did not give it in the time allowed and the retries (GDAL_HTTP_LOW_SPEED_TIME, "
    "GDAL_HTTP_MAX_RETRY): try again later; --resume goes on after what was finished."
)

_lock = threading.Lock()
_lost = threading.local()  # the error of a thread that reads
_users = 0
_previous_hook: Any = None


@contextmanager
def undecodable_messages_raised() -> Iterator[None]:
    """Raise the error of decoding that rasterio dropped within the block, in the same thread.

    Raises:
        UnicodeDecodeError: GDAL reported an error by bytes that are not UTF-8.
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


def gdal_reason(error: BaseException) -> str:
    """Return GDAL's own message, which rasterio keeps one level down, in at most 200 characters."""
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:200].rstrip(". ")


def reading_advice(path: str, error: BaseException) -> str:
    """Return a sentence about what to do with a raster of which a part cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return NOT_UTF8
    remote = _remote_advice(gdal_reason(error))
    if remote is not None:
        return remote
    if is_remote(path):
        return SERVER_FAILED
    return "The file is damaged there: fetch it again, or take it out."


def opening_advice(path: str, error: BaseException) -> str:
    """Return a sentence about what to do with a raster that cannot be opened or read."""
    if isinstance(error, UnicodeDecodeError):
        return NOT_UTF8
    remote = _remote_advice(gdal_reason(error))
    if remote is not None:
        return remote
    archive = archive_advice(path)
    if archive is not None:
        return archive
    if is_remote(path):
        return (
            "The server did not give it in the time allowed and the retries, or it is no raster: "
            "check the address, or try again later."
        )
    return "The file is damaged or no raster: fetch it again, or take it out."


def _remote_advice(reason: str) -> str | None:
    """Return what to do about a server's answer, or about none; None where no server is in it."""
    status = re.search(r"response code: (\d{3})", reason)
    if status is not None:
        return ADVICE_ON_STATUS.get(status.group(1), "The server failed: try again later.")
    if re.search(r"[A-Z]_SECRET|credentials", reason):
        return (
            "Set the credentials in the environment, or AWS_NO_SIGN_REQUEST=YES for a public "
            "bucket."
        )
    if "CURL error" in reason:
        return "No server answers there: check the address and the network, then try again."
    return None


def archive_advice(path: str) -> str | None:
    """Return how to name a raster in an archive, None where a path is or names none."""
    parts = ARCHIVE_PATH.match(path)
    if parts is None:
        return None
    archive, member = parts["archive"], parts["member"]
    if not Path(archive).is_file():
        return None
    if zipfile.is_zipfile(archive):
        name = f"/vsizip/{archive}/{member}" if member else _first_member(archive)
    elif archive.lower().endswith((".tar", ".tar.gz", ".tgz")):
        name = f"/vsitar/{archive}/{member or 'NAME.tif'}"
    else:
        name = f"/vsigzip/{archive}"
    return f"It is an archive: name a raster in it, such as {name}."


def _first_member(path: str) -> str:
    """Return how GDAL names the first raster in a zip archive."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    rasters = [name for name in names if name.lower().endswith((".tif", ".tiff", ".jp2", ".png"))]
    member = next(iter([*rasters, *names]), "NAME.tif")
    return f"/vsizip/{path}/{member}"
