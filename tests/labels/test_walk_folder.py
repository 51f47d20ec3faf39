"""Folders are read through links, each once; loops and dead links are told."""

from __future__ import annotations

from pathlib import Path

from windhover.labels.walk_folder import walk_folder


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "inner").mkdir(parents=True)
    (tmp_path / "store/deep").mkdir(parents=True)
    for path in (raw / "inner/a.tif", tmp_path / "store/b.tif", tmp_path / "store/deep/c.tif"):
        path.write_bytes(b"1")
    (raw / ".hidden").mkdir()
    (raw / ".hidden/d.tif").write_bytes(b"1")
    (raw / "linked").symlink_to(tmp_path / "store")
    (raw / "again").symlink_to(raw / "inner")
    (tmp_path / "store/deep/up").symlink_to(tmp_path / "store")
    (raw / "loop").symlink_to(raw)
    (raw / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    walked = walk_folder(raw)
    assert [path.relative_to(raw).as_posix() for path in walked.files] == [
        "inner/a.tif",
        "linked/b.tif",
        "linked/deep/c.tif",
    ]
    assert len(walked.notes) == 4
    text = "\n".join(walked.notes)
    assert "raw/loop: is a link to a folder that is read anyway" in text
    assert "raw/again: is a link to a folder that is read anyway" in text
    assert "linked/deep/up: is a link to a folder that is read anyway" in text
    assert "gone.tif: is a link to" in text
    assert "which is not there" in text


def test_a_linked_folder_itself_is_walked(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.tif").write_bytes(b"1")
    (tmp_path / "raw").symlink_to(tmp_path / "real")
    walked = walk_folder(tmp_path / "raw")
    assert [path.name for path in walked.files] == ["a.tif"]
    assert walked.notes == []
