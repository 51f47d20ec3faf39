"""Writing so that nothing is lost and nothing is half-written: write aside, then rename.

Holds no format: callers write their own bytes into the path they are given.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from windhover.errors import FormatError, MissingFileError, ParameterError


def _aside(path: Path) -> Path:
    """Return a hidden sibling of `path`: same file system, so that the rename is atomic. Keeps the
    suffix.
    """
    path = Path(os.path.abspath(path))  # `.` and `..` have no name; a link at the end stays a link
    return path.with_name(f".{path.stem}.{os.getpid()}-{uuid4().hex[:8]}{path.suffix}")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place when the block ends well, remove it
    otherwise.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _aside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary empty folder beside `path`; let it take the place of `path` when the block
    ends well.

    A folder that stood there before is replaced whole, and stays as it was when the block fails or
    is interrupted. Where a person names the folder, ask `check_replaceable` first.

    Raises:
        ParameterError: it is a file, or the working folder lies in it.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    _check_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _aside(path), _aside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_folder(path: Path) -> None:
    """Refuse what no folder can take the place of.

    Raises:
        ParameterError: it is a file, or the working folder lies in it.
    """
    if path.is_file():
        raise ParameterError(f"{path}: is a file, and a folder is to be written. Name a folder.")
    if Path.cwd().is_relative_to(path.resolve()):
        raise ParameterError(
            f"{path}: a folder is written whole in place of the old one, and this is the working folder or holds it. "
            "Name a folder of its own."
        )


def check_replaceable(path: str | Path, own: Collection[str], read: Iterable[Path]) -> None:
    """Refuse a folder in whose place nothing may be written: what is in it would be deleted.

    Args:
        path: the folder; it may be missing or empty.
        own: names of the files in it that may go, such as those that an earlier run wrote.
        read: files and folders that must stay.

    Raises:
        ParameterError: it is a file, the working folder lies in it, it is or holds what is
            read, or holds anything else.
    """
    path = Path(path)
    _check_folder(path)
    held = next((kept for kept in read if kept.resolve().is_relative_to(path.resolve())), None)
    if held is not None:
        raise ParameterError(
            f"{path}: would be replaced whole, and {held}, which is read, lies there. Name another folder."
        )
    others = (
        sorted(one.name for one in path.iterdir() if one.name not in own or one.is_dir())
        if path.exists()
        else []
    )
    if others:
        raise ParameterError(
            f"{path}: would be replaced whole, and holds {others[0]}, which is not from an earlier run. Name a "
            "folder that is new or empty."
        )


def check_writable(path: str | Path) -> None:
    """Refuse a path that no file can be written to.

    Raises:
        ParameterError: it is a folder, lies below a file, or in a folder that may not be
            written to.
    """
    path = Path(path)
    if path.is_dir():
        raise ParameterError(f"{path}: is a folder, and a file is to be written. Name a file.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise ParameterError(
            f"{path}: {folder} is a file, so nothing can be written below it. Name another place."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(
            f"{path}: the folder {folder} may not be written to. Name another place."
        )


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically; NaN and infinity are
    refused.

    Raises:
        ValueError: `value` holds NaN or infinity.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, missing: str, broken: str) -> Any:
    """Return what a JSON file holds.

    Args:
        path: the file.
        missing: what to do where it is not there, a sentence.
        broken: what to do where it is no JSON.

    Raises:
        MissingFileError: no such file.
        FormatError: it is not JSON.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. {missing}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: not valid JSON ({error}). {broken}") from None


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
