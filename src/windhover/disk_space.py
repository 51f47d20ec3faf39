"""Room on the disk: asked for before a file is written, and named where it ran out meanwhile.

Full disks, quotas and limits of file size (`ulimit -f`) end in the same sentence. Writes nothing.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from windhover.errors import FullDiskError, WindhoverError
from windhover.temporary_files import final_path

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

MIN_FREE_BYTES = 1 << 20  # with less, a disk counts as full: no file of this program is smaller
# disk full, quota reached, limit of file size
FULL_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# as GDAL, SQLite and torch word the same
FULL_DISK_WORDS = re.compile(
    r"disk is full|no space left|file too large|quota exceeded|file write failed", re.I
)
LAYERS = "SELECT table_name, column_name FROM gpkg_geometry_columns"
# the fourth byte of a shape holds whether it is empty, which the index leaves out
UNINDEXED = """
SELECT (SELECT count(*) FROM "{layer}" WHERE "{column}" IS NOT NULL
        AND instr('13579BDF', substr(hex(substr("{column}", 4, 1)), 1, 1)) = 0)
     - (SELECT count(*) FROM "rtree_{layer}_{column}")
"""
# libraries whose writers raise errors of their own for what happened to a file
WRITERS = {"pyarrow", "pyogrio", "rasterio", "sqlite3"}


def check_space(path: str | Path, needed_bytes: int = MIN_FREE_BYTES) -> None:
    """Raise if the disk of a path has less room than what is to be written there.

    Args:
        path: of a file or folder that is to be written; it may be missing.
        needed_bytes: that it will take, or its least where that is not known.

    Raises:
        FullDiskError: there is less.
    """
    path = Path(os.path.abspath(path))
    free_bytes = shutil.disk_usage(existing_parent(path)).free
    if free_bytes < needed_bytes:
        raise FullDiskError(
            f"{final_path(path)}: {_size_text(needed_bytes)} are needed on the disk and "
            f"{_size_text(free_bytes)} are free. Free some, or name a path on another disk."
        )


def existing_parent(path: Path) -> Path:
    """Return the nearest parent of a path that exists; it may be a file."""
    return next(parent for parent in path.absolute().parents if parent.exists())


def _size_text(n_bytes: int) -> str:
    """Return a number of bytes with its unit."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


def _is_full(folder: Path) -> bool:
    """Return whether a disk has room for no further file: neither bytes nor names."""
    if shutil.disk_usage(folder).free < MIN_FREE_BYTES:
        return True
    if not hasattr(os, "statvfs"):
        return False
    disk = os.statvfs(folder)
    return disk.f_files > 0 and disk.f_favail == 0


def full_disk_sentence(error: Exception) -> str | None:
    """Return a sentence if an error of any library came of a full disk, else None.

    Checked are the disks of the working folder and of temporary files, where MLflow's database
    and artifacts are written.
    """
    is_full = _names_full_disk(error)
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        if is_full or _is_full(folder):
            return (
                f"{folder}: no space left on the disk. Free some, and run the same again: what was "
                f"finished is kept ({_room_text(folder)})."
            )
    return None


def _names_full_disk(error: BaseException) -> bool:
    """Return whether an error, or what it came of, is that of a full disk, quota or limit."""
    while True:
        if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
            return True
        if FULL_DISK_WORDS.search(str(error)):
            return True
        origin = error.__cause__ or error.__context__
        if origin is None:
            return False
        error = origin


def _size_limit() -> int | None:
    """Return the most bytes a file of this process may have; None where there is no limit."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _room_text(folder: Path) -> str:
    """Return how much may be written to a folder: `12.3 kB are free now`."""
    text = f"{_size_text(shutil.disk_usage(folder).free)} are free now"
    limit = _size_limit()
    if limit is not None:
        text += f", files may have {_size_text(limit)}: ulimit -f"
    return text


def _full_disk_error(path: Path) -> FullDiskError:
    """Return the error of a file for which there is no room."""
    room = _room_text(existing_parent(path))
    return FullDiskError(
        f"{final_path(path)}: no space left on the disk. Free some, or name a path on another disk "
        f"({room})."
    )


@contextmanager
def full_disk_told(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise a FullDiskError in place of any error while nothing more fits on the disk.

    Writers report a full disk in many ways, such as "no such table: gpkg_contents" of SQLite.

    Args:
        path: of the finished file or folder.
        temporary: where it is written; None where that is the path.

    Raises:
        FullDiskError: the disk is full, or a quota or a limit of file size is reached.
    """
    try:
        yield
    except WindhoverError:
        raise
    except Exception as error:
        if not _is_of_full_disk(error, path, temporary):
            raise
        raise _full_disk_error(path) from None


@contextmanager
def errors_of_writing(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise one sentence with the path in place of the errors of libraries that write files.

    Args:
        path: of the finished file.
        temporary: where it is written; None where that is the path.

    Raises:
        FullDiskError: the disk is full, or a quota or a limit of file size is reached.
        OSError: another error of a writer.
    """
    try:
        with full_disk_told(path, temporary):
            yield
    except Exception as error:
        if type(error).__module__.split(".")[0] not in WRITERS:
            raise
        reason = " ".join(str(error.__cause__ or error).split()).rstrip(". ")
        room = _room_text(existing_parent(path))
        raise OSError(f"{final_path(path)}: {reason} ({room})") from None


def _is_of_full_disk(error: Exception, path: Path, temporary: Path | None) -> bool:
    """Return whether an error came of a full disk, a quota or a limit of file size."""
    if _names_full_disk(error) or _is_full(existing_parent(path)):
        return True
    return temporary is not None and _reaches_limit(_files_of(temporary))


def _files_of(path: Path) -> list[Path]:
    """Return a file, or all files below a folder."""
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file()]


def _reaches_limit(files: Sequence[Path]) -> bool:
    """Return whether a file has all the bytes that a file of this process may have."""
    limit = _size_limit()
    return limit is not None and any(file.stat().st_size >= limit for file in files)


def check_written(path: Path, temporary: Path) -> None:
    """Raise if what was written may have been cut: GDAL reports no error of closing a file.

    Args:
        path: of the finished file or folder.
        temporary: where it was written.

    Raises:
        FullDiskError: the disk is full now, a file has all the bytes that a file may have, or a
            GeoPackage lacks a part.
    """
    files = _files_of(temporary)
    if _reaches_limit(files) or _is_full(existing_parent(path)):
        raise _full_disk_error(path)
    for file in files:
        if file.suffix == ".gpkg" and not _is_whole_geopackage(file):
            room = _room_text(existing_parent(path))
            raise FullDiskError(
                f"{final_path(file)}: was not written whole, which is so where the disk was full "
                f"or failed ({room}). Free some, and run the same again."
            )


def _is_whole_geopackage(path: Path) -> bool:
    """Return whether a GeoPackage is sound, and each row of its layers is in the layer's index.

    The index is what GDAL writes last.
    """
    with closing(sqlite3.connect(path)) as database:
        try:
            if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
                return False
            layers = database.execute(LAYERS).fetchall()
            return all(
                database.execute(UNINDEXED.format(layer=layer, column=column)).fetchone() == (0,)
                for layer, column in layers
            )
        except sqlite3.DatabaseError:
            return False
