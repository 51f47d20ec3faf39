"""Atomic writing: the new thing whole, or the old thing untouched."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from windhover import files, temporary_files
from windhover.disk_space import check_space
from windhover.errors import FormatError, FullDiskError, ParameterError
from windhover.files import (
    atomic_file,
    atomic_folder,
    check_output,
    check_replaceable,
    file_stem,
    is_csv_with_columns,
    is_json_with_keys,
    lock_output,
    read_json,
    sha256_file,
    write_json,
)


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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path, code: int) -> None:
    def fill(target: Path) -> None:
        with atomic_file(target) as path:
            path.write_text("half")
            raise OSError(code, "full")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FullDiskError, match=r"/a\.txt: no space left on the disk\. Free some"):
        fill(tmp_path / "a.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("write", [break_while_writing, break_while_filling])
def test_any_error_on_a_full_disk_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=30_000))
    with pytest.raises(FullDiskError, match="/out: no space left on the disk"):
        write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_room_on_the_disk_is_asked_for_at_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_space(tmp_path / "new" / "a.tif", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_500_000))
    with pytest.raises(FullDiskError, match=r"a\.tif: 3\.0 GB are needed .* 2\.5 MB are free"):
        check_space(tmp_path / "new" / "a.tif", 3 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(FullDiskError, match="100 bytes are free"):
        check_output(tmp_path / "a.gpkg")


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


@pytest.mark.parametrize("fault", [OSError("broke"), KeyboardInterrupt("broke")])
def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    monkeypatch.setattr(files, "exchange", lambda first, second: False)  # as on other systems
    replace, calls = os.replace, []

    def break_at_the_second(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise fault
        replace(source, target)

    monkeypatch.setattr(os, "replace", break_at_the_second)
    with pytest.raises(type(fault), match="broke"), atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("y")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are exchanged on Linux alone")
def test_at_every_moment_the_old_folder_or_the_new_one_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    monkeypatch.setattr(os, "replace", None)  # two renames would leave a gap between them
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("y")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    tag = temporary_files._machine_tag()
    other = f"{int(tag, 16) ^ 1:04x}"
    kept = {f".a.{killed.pid}-{other}abcd.tif", f".a.{os.getpid()}-{tag}abcd.tif", ".a.1-x.tif"}
    for name in (*kept, f".a.{killed.pid}-{tag}abcd.tif"):
        (tmp_path / name).write_text("x")
    (tmp_path / f".map.{killed.pid}-{tag}0123").mkdir()
    (tmp_path / f".map.{killed.pid}-{tag}0123" / "a.tif").write_text("x")
    write_json(tmp_path / "a.json", 1)
    assert {entry.name for entry in tmp_path.iterdir()} == {*kept, "a.json"}


def test_a_disk_without_room_for_names_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs(tmp_path)
    full = os.statvfs_result((*disk[:6], 0, 0, *disk[8:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with (
        pytest.raises(FullDiskError, match=r"a\.tif: no space left"),
        atomic_file(tmp_path / "a.tif"),
    ):
        raise RuntimeError("TIFFWriteError")


def test_the_working_folder_and_files_are_not_replaced_by_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "..", tmp_path / "here", tmp_path):
        with (
            pytest.raises(ParameterError, match="this is the working folder or holds it"),
            atomic_folder(name),
        ):
            pass
        with pytest.raises(ParameterError, match="this is the working folder or holds it"):
            check_replaceable(name, ["notes.txt"], [])
    with pytest.raises(
        ParameterError, match=r"notes\.txt: is a file, and a folder is to be written"
    ):
        check_replaceable("notes.txt", [], [])
    with pytest.raises(OSError, match=r"\.here"), atomic_file(".") as path:
        path.write_text("y")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["here", "notes.txt"]


def test_only_folders_of_ones_own_making_are_replaceable(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_replaceable(out, [], [tmp_path / "read"])
    out.mkdir()
    check_replaceable(out, [], [tmp_path / "read"])
    (out / "made").write_text("x")
    check_replaceable(out, ["made"], [tmp_path / "output"])
    with pytest.raises(
        ParameterError, match=r"out: would be replaced whole, and holds made, which is not from"
    ):
        check_replaceable(out, [], [])
    for kept in (out, out / "made", out / "raw" / "a.tif", tmp_path / "other" / ".." / "out"):
        with pytest.raises(ParameterError, match=r"which is read\. Name"):
            check_replaceable(out, ["made"], [tmp_path, kept])
    (out / "made").unlink()
    (out / "made").mkdir()
    with pytest.raises(ParameterError, match="holds made, which is not from an earlier run"):
        check_replaceable(out, ["made"], [])


def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"kestrel")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"kestrel").hexdigest()


def test_what_is_read_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.json").write_text("{}")
    (tmp_path / "s.shp").write_bytes(b"shape")
    (tmp_path / "s.dbf").write_bytes(b"table")
    (tmp_path / "link.json").symlink_to(tmp_path / "labels" / "a.json")
    (tmp_path / "twin.shp").hardlink_to(tmp_path / "s.shp")
    inputs = [tmp_path / "labels", tmp_path / "s.shp"]
    for name in ("labels/a.json", "s.shp", "s.dbf", "link.json", "twin.shp"):
        with pytest.raises(ParameterError, match="is read by this command and would be overw"):
            check_output(tmp_path / name, inputs=inputs)
    check_output(tmp_path / "labels" / "new.json", inputs=inputs)
    check_output(tmp_path / "s.json", inputs=inputs)


def test_a_file_of_another_program_is_no_output(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    for content in ("text", "[1]", '{"other": 1}', "[" * 100_000):
        path.write_text(content)
        with pytest.raises(ParameterError, match=r"notes\.json: is there already and was not writ"):
            check_output(path, is_own=lambda file: is_json_with_keys(file, ("match",)))
    path.write_text('{"match": 1}')
    check_output(path, is_own=lambda file: is_json_with_keys(file, ("match",)))
    path.write_text("")
    check_output(path, is_own=lambda _: False)  # an empty file holds nothing to be lost
    path.write_text("a,b,c\n1,2,3\n")
    assert is_csv_with_columns(path, ("a", "c"))
    assert not is_csv_with_columns(path, ("a", "d"))


def test_an_output_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.gpkg"
    with lock_output(path):
        sentence = "another run is writing this file or folder"
        with pytest.raises(ParameterError, match=sentence), lock_output(path):
            pass
        with lock_output(tmp_path / "new" / "b.gpkg"):
            pass
    with lock_output(path):
        pass
    assert not list((tmp_path / "new").iterdir())


def test_a_place_where_nothing_can_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    below = tmp_path / "text" / "a" / "b"
    with pytest.raises(ParameterError, match="text is a file, so nothing can be written"):
        lock_output(below).__enter__()
    with pytest.raises(ParameterError, match="text is a file, so nothing can be written"):
        atomic_folder(below).__enter__()
    with pytest.raises(ParameterError, match="is the root of all folders"):
        lock_output("/").__enter__()
    with pytest.raises(ParameterError, match="is a file, and a folder is to be written"):
        check_replaceable(os.devnull, (), ())


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    (tmp_path / ".a.gpkg.lock").write_bytes(b"")
    with lock_output(tmp_path / "a.gpkg"):
        pass


@pytest.mark.parametrize("text", ["[" * 200 + "]" * 200, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_deeply_nested_json_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"a\.json: its lists and objects stand more than 100"):
        read_json(path, "Write it.", "Write it again.")


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    message = f"^{re.escape(str(tmp_path))}/map/a\\.gpkg: 1000000\\.0 GB are needed"
    with (
        pytest.raises(FullDiskError, match=message),
        atomic_folder(tmp_path / "map") as folder,
        atomic_file(folder / "a.gpkg") as path,
    ):
        check_space(path, 10**15)
    assert list(tmp_path.iterdir()) == []


def test_a_scene_of_any_name_has_a_file_of_its_own_below_its_folder(tmp_path: Path) -> None:
    plain = ["a", "a b", "ü #1%", "a:b", ".hidden", "x" * 200]
    assert [file_stem(name) for name in plain] == plain
    odd = [
        "../../evil",
        "/tmp/evil",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "a_b",
        "a\nb",
        "ü" * 300,
        "ü" * 301,
    ]
    stems = [file_stem(name) for name in odd]
    assert len({*stems}) == len(odd)
    for stem in stems:
        path = tmp_path / f"{stem}.tif"
        path.write_text("x")
        assert path.resolve().parent == tmp_path.resolve()
    assert file_stem("S2/A", in_addresses=True).startswith("S2_A-")
    assert not set("#?%") & set(file_stem("a#1?%20", in_addresses=True))
