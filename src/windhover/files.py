"""Atomic writing of files and folders, checks of output paths, and JSON.

A file is written next to its place and then renamed, so that it is never half-written.
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


def _temporary_sibling(path: Path) -> Path:
    """Return a hidden sibling of `path`: on the same file system, so that a rename is atomic.

    It keeps the suffix.
    """
    path = Path(os.path.abspath(path))  # `.` and `..` have no name; a link at the end stays a link
    return path.with_name(f".{path.stem}.{os.getpid()}-{uuid4().hex[:8]}{path.suffix}")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds.

    It is removed otherwise.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary empty folder next to `path`; rename it to `path` if the block succeeds.

    An existing folder is replaced whole, and stays unchanged if the block fails or is interrupted.
    Where a user names the folder, call `check_replaceable` first.

    Raises:
        ParameterError: it is a file, or the working folder is inside it.
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    _check_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(path)
    old = _temporary_sibling(path)
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
    """Raise if a path cannot be replaced by a folder.

    Raises:
        ParameterError: it is a file, or the working folder is inside it.
    """
    if path.is_file():
        raise ParameterError(f"{path}: is a file, and a folder is to be written. Name a folder.")
    if Path.cwd().is_relative_to(path.resolve()):
        raise ParameterError(
            f"{path}: a folder is written whole in place of the old one, and this is the working "
            "folder or holds it. Name another folder."
        )


def check_replaceable(
    path: str | Path, replaceable_names: Collection[str], inputs: Iterable[Path]
) -> None:
    """Raise if replacing a folder would delete anything that must stay.

    Args:
        path: the folder; it may be missing or empty.
        replaceable_names: names of files in it that may be deleted, such as those of an earlier
            run.
        inputs: files and folders that must stay.

    Raises:
        ParameterError: it is a file, the working folder is inside it, it is or holds an input, or
            holds anything else.
    """
    path = Path(path)
    _check_folder(path)
    for kept in inputs:
        if kept.resolve().is_relative_to(path.resolve()):
            raise ParameterError(
                f"{path}: would be replaced whole, with {kept}, which is read. Name another folder."
            )
    if not path.exists():
        return
    for name in sorted(entry.name for entry in path.iterdir()):
        if name not in replaceable_names or (path / name).is_dir():
            raise ParameterError(
                f"{path}: would be replaced whole, and holds {name}, which is not from an earlier "
                "run. Name a folder that is new or empty."
            )


def check_writable(path: str | Path) -> None:
    """Raise if no file can be written to a path.

    Raises:
        ParameterError: it is a folder, is below a file, or in a folder that may not be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise ParameterError(f"{path}: is a folder, and a file is to be written. Name a file.")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise ParameterError(
            f"{path}: {folder} is a file, so nothing can be written below it. Name another path."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(
            f"{path}: the folder {folder} may not be written to. Name another path."
        )


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically.

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
        missing: what to do if it does not exist, a sentence.
        broken: what to do if it is not JSON, a sentence.

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
