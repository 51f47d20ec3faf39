"""Atomic writing of files and folders, the guard of output paths, and JSON.

A file is written next to its place and then renamed, so that it is never half-written. Every
command asks `check_output` before its work and holds `lock_output` while it writes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from windhover.disk_space import (
    check_space,
    check_written,
    errors_of_writing,
    existing_parent,
    full_disk_told,
)
from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.temporary_files import exchange, remove_leftovers, temporary_sibling

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

# what is a folder, or no text, in the name of a file
REFUSED_CHARS = re.compile(r"[\x00-\x1f\x7f/\\]")
# what ends or changes the path in an address
ADDRESS_CHARS = re.compile(r"[#?%]")
MAX_STEM_BYTES = 200  # of 255 that file systems take, a suffix and marks of temporary files left
DIGEST_CHARS = 8
MAX_JSON_DEPTH = 100  # of lists and objects in one another; records have less than ten
# files that stand beside a file of the same stem, and are read with it
SIDECAR_SUFFIXES = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".tfw", ".pgw", ".jgw", ".wld", ".ovr")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds.

    It is removed otherwise.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent.absolute())
    temporary = temporary_sibling(path)
    try:
        with errors_of_writing(path, temporary):
            yield temporary
            check_written(path, temporary)
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
    remove_leftovers(path.parent.absolute())
    temporary = temporary_sibling(path)
    old = temporary_sibling(path)
    temporary.mkdir()
    try:
        with full_disk_told(path, temporary):
            yield temporary
            check_written(path, temporary)
            if path.exists() and not exchange(temporary, path):
                os.replace(path, old)
            if not path.exists():
                os.replace(temporary, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_folder(path: Path) -> None:
    """Raise if a path cannot be replaced by a folder.

    Raises:
        ParameterError: it is a file or below one, in a folder that may not be written to, or the
            working folder is inside it.
    """
    if path.exists() and not path.is_dir():
        raise ParameterError(f"{path}: is a file, and a folder is to be written. Name a folder.")
    _check_place(path)
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
        FullDiskError: the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise ParameterError(f"{path}: is a folder, and a file is to be written. Name a file.")
    _check_place(path)
    check_space(path)


def _check_place(path: Path) -> None:
    """Raise if nothing can be made at a path.

    Raises:
        ParameterError: it is the root, below a file, or in a folder that may not be written to.
    """
    if not path.absolute().name:
        raise ParameterError(
            f"{path}: is the root of all folders, which is not replaced. Name a folder in it."
        )
    folder = existing_parent(path)
    if not folder.is_dir():
        raise ParameterError(
            f"{path}: {folder} is a file, so nothing can be written below it. Name another path."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(
            f"{path}: the folder {folder} may not be written to. Name another path."
        )


def check_output(
    path: str | Path,
    *,
    inputs: Iterable[str | Path] = (),
    is_own: Callable[[Path], bool] | None = None,
) -> None:
    """Raise if writing a file would destroy what is read, or what another program wrote.

    Args:
        path: of the file to write; it may be missing.
        inputs: files and folders that the command reads; a folder holds inputs only.
        is_own: returns whether a file that is there is an earlier output of the same command; None
            where any file of that name may be replaced.

    Raises:
        ParameterError: nothing can be written there, it is or belongs to an input, or it is a
            file of another program.
    """
    path = Path(path)
    for read in map(Path, inputs):
        if _is_part_of_input(path, read):
            raise ParameterError(
                f"{path}: is read by this command and would be overwritten. Name another file."
            )
    check_writable(path)
    if is_own is None or not path.is_file() or path.stat().st_size == 0:
        return
    if not is_own(path):
        raise ParameterError(
            f"{path}: is there already and was not written by this command, so it is not "
            "overwritten. Name another file, or remove it."
        )


def _is_part_of_input(path: Path, read: Path) -> bool:
    """Return whether a path is an input, a sidecar of it, or a file in an input folder."""
    resolved = path.resolve()
    if resolved == read.resolve():
        return True
    if not path.exists():
        return False
    if read.is_dir():
        return resolved.is_relative_to(read.resolve())
    if read.exists() and path.samefile(read):  # a second name of the same file
        return True
    is_sidecar = resolved.suffix.lower() in SIDECAR_SUFFIXES
    return is_sidecar and resolved.with_suffix("") == read.resolve().with_suffix("")


def is_figure(path: Path) -> bool:
    """Return whether a file is a PNG as figures are written: RGBA, its resolution before pixels."""
    with path.open("rb") as stream:
        head = stream.read(41)
    is_rgba = head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:26] == b"\x08\x06"
    return is_rgba and head[37:41] == b"pHYs"


def is_json_with_keys(path: Path, keys: Collection[str]) -> bool:
    """Return whether a file is a JSON object that has all the keys."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, FileNotFoundError, NotADirectoryError):
        return False
    return isinstance(content, dict) and set(keys) <= set(content)


def is_csv_with_columns(path: Path, columns: Collection[str]) -> bool:
    """Return whether a file's first line, cut at commas, names all the columns."""
    with path.open("rb") as stream:
        first = stream.readline(10_000).decode("utf-8", errors="replace")
    return set(columns) <= set(first.strip().split(","))


@contextmanager
def lock_output(path: str | Path) -> Iterator[None]:
    """Hold the lock of an output file or folder, `.NAME.lock` next to it, until the block ends.

    A killed process frees its own.

    Raises:
        ParameterError: nothing can be made there, another run writes there, or this one does
            already.
        OSError: the folder cannot be made or written.
    """
    path = Path(os.path.abspath(path))
    _check_place(path)
    if fcntl is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _lock_file(lock)
    if descriptor is None:
        raise ParameterError(
            f"{path}: another run is writing this file or folder. Wait for its end, or name "
            "another."
        )
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _lock_file(lock: Path) -> int | None:
    """Return the descriptor of a locked file, None where another run holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks
            return descriptor
        # the holder before may have removed the file between the two calls
        if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
            return descriptor
        os.close(descriptor)


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
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: not valid JSON ({error}). {broken}") from None
    except RecursionError:
        content = None
        depth = MAX_JSON_DEPTH + 1
    else:
        depth = nesting_depth(content)
    if depth > MAX_JSON_DEPTH:
        raise FormatError(
            f"{path}: its lists and objects stand more than {MAX_JSON_DEPTH} deep in one another, "
            f"which no file of this program does. {broken}"
        )
    return content


def nesting_depth(content: Any) -> int:
    """Return how deep lists and objects stand in one another, counted up to the limit."""
    depth = 0
    level = [content]
    while level and depth <= MAX_JSON_DEPTH:
        below: dict[
            int, Any
        ] = {}  # each value once: YAML may name one in many places, or in itself
        for value in level:
            inner: Iterable[Any] = ()
            if isinstance(value, dict):
                inner = value.values()
            elif isinstance(value, list):
                inner = value
            below.update({id(item): item for item in inner if isinstance(item, dict | list)})
        level = list(below.values())
        depth += 1
    return depth


def file_stem(name: str, *, in_addresses: bool = False) -> str:
    """Return the name of a scene as the name of a file or folder, without suffix.

    The name of a file's own scene stays as it is. Others, such as `a/../b` of a STAC item, get a
    digest, so that two scenes never share a file.

    Args:
        name: of the scene.
        in_addresses: whether the name is also part of addresses.
    """
    stem = REFUSED_CHARS.sub("_", name)
    if in_addresses:
        stem = ADDRESS_CHARS.sub("_", stem)
    if stem == name and stem.strip(". ") and len(stem.encode()) <= MAX_STEM_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_CHARS]
    kept = stem.encode()[: MAX_STEM_BYTES - DIGEST_CHARS - 1].decode(errors="ignore").lstrip(". ")
    return f"{kept or 'scene'}-{digest}"


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
