"""Atomic writing: the new thing whole, or the old thing untouched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from windhover.files import atomic_file, atomic_folder, sha256_file, write_json


def break_while_writing(target: Path) -> None:
    with atomic_file(target) as path:
        path.write_text("half")
        raise RuntimeError("broke")


def break_while_filling(target: Path) -> None:
    with atomic_folder(target) as folder:
        (folder / "half").write_text("z")
        raise RuntimeError("broke")


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "new" / "a.txt") as path:
        path.write_text("done")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert path.suffix == ".txt"  # writers that go by the suffix must see the right one
    assert (tmp_path / "new" / "a.txt").read_text() == "done"
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError, match="broke"):
        break_while_writing(tmp_path / "a.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale").write_text("x")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "fresh").write_text("y")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["fresh"]
    with pytest.raises(RuntimeError, match="broke"):
        break_while_filling(tmp_path / "out")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["fresh"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"kestrel")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"kestrel").hexdigest()
