"""Names of temporary files and folders, what killed processes left of them, and exchanged names."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from uuid import uuid4

# as `temporary_sibling` makes it: `.STEM.PROCESS-MACHINERANDOM.SUFFIX`
TEMPORARY_NAME = re.compile(
    r"^\.(?P<stem>.+)\.(?P<pid>\d+)-(?P<machine>[0-9a-f]{4})[0-9a-f]{4}(?P<suffix>\.\w+)?$"
)
# the same in a text
TEMPORARY_NAME_IN_TEXT = re.compile(r"\.([^\s/]+?)\.\d+-[0-9a-f]{8}(?![0-9a-f])")
AT_FDCWD = -100  # of fcntl.h: paths from the working folder
RENAME_EXCHANGE = 2  # of linux/fs.h


def temporary_sibling(path: Path) -> Path:
    """Return a hidden sibling of `path`: on the same file system, so that a rename is atomic.

    It keeps the suffix.
    """
    path = Path(os.path.abspath(path))  # `.` and `..` have no name; a link at the end stays a link
    name = f".{path.stem}.{os.getpid()}-{_machine_tag()}{uuid4().hex[:4]}{path.suffix}"
    return path.with_name(name)


@cache
def _machine_tag() -> str:
    """Return four digits of this machine, or of this container: where a process number holds."""
    namespace = Path("/proc/self/ns/pid")
    inode = namespace.stat().st_ino if namespace.exists() else 0
    return hashlib.sha256(f"{platform.node()} {inode}".encode()).hexdigest()[:4]


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes of this machine left in a
    folder; searched for once in a process.
    """
    try:
        paths = list(folder.iterdir())
    except OSError:  # it may be written to and not listed
        return
    for path in paths:
        found = TEMPORARY_NAME.match(path.name)
        if found is None or found["machine"] != _machine_tag() or _is_running(int(found["pid"])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be known."""
    if sys.platform == "win32":  # there, signal 0 ends a process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def final_path(path: Path) -> Path:
    """Return a path with the names that its temporary parts will have."""
    return Path(*(TEMPORARY_NAME.sub(r"\g<stem>\g<suffix>", part) for part in path.parts))


def with_final_names(text: str) -> str:
    """Return a text in which temporary files have the names that they will have."""
    return TEMPORARY_NAME_IN_TEXT.sub(r"\1", text)


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders at once; return False where the system cannot.

    With two renames, a kill between them would leave neither the old nor the new folder in place.
    """
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    status: int = renameat2(
        AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE
    )
    return status == 0
