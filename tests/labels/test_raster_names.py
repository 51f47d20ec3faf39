"""A name in a label file means the raster at its path; without one it means none or is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from windhover.errors import DataError
from windhover.labels.formats import find_labels
from windhover.labels.raster_names import WEAK, RasterNames, cut_suffix

RAW = Path("raw")


def names_of(*paths: str) -> RasterNames:
    return RasterNames(RAW, {RAW / path: path for path in paths})


@pytest.mark.parametrize(
    ("rasters", "name", "scene"),
    [
        (["q.tif", "n/q.tif", "s/q.tif"], "n/q.tif", "n/q.tif"),
        (["q.tif", "n/q.tif", "s/q.tif"], "q.tif", "q.tif"),
        (["n/q.tif", "s/q.tif"], "q.tif", ""),  # either
        (["n/q.tif", "s/q.tif"], "n\\q", "n/q.tif"),
        (["n/q.tif", "s/q.tif"], "/home/me/raw/s/q.png", "s/q.tif"),
        (["n/q.tif", "s/q.tif"], "images/s/q.jpg", "s/q.tif"),
        (["n/q.tif"], "east/q.tif", "n/q.tif"),  # the only one, but weakly
        (["train/q.tif"], "valid/q.tif", ""),  # another split is another picture
        (["train/q.tif"], "east/q.tif", "train/q.tif"),  # no split says nothing
        (["n/q.tif"], "valid/q.tif", "n/q.tif"),
        (["q.tif", "q.1.tif", "q.10.tif"], "q.1", "q.1.tif"),
        (["q.tif"], "q.1", ""),
        (["q.tif"], "q.final", ""),
        (["q.1.tif"], "q.1.jpg", "q.1.tif"),
        (["q.tif", "q.png"], "q.png", "q.png"),
        (["q.tif", "q.png"], "q", ""),
        (["u\u0308ber.tif"], "\u00fcber.tif", "u\u0308ber.tif"),
    ],
)
def test_the_longest_name_wins(rasters: list[str], name: str, scene: str) -> None:
    assert names_of(*rasters).match(name).scene == scene


def test_only_a_name_of_another_folder_is_weak() -> None:
    names = names_of("n/q.tif")
    assert names.match("e/q.tif").level == WEAK
    assert names.match("images/q.tif").level < WEAK


def test_of_two_names_for_one_raster_the_surer_counts() -> None:
    names = names_of("n/q.tif", "t.tif")
    resolved = names.resolve(["n/q.tif", "e/q.tif", "a/t.tif", "b/t.tif", "none.tif"])
    assert resolved.scene_of == {
        "n/q.tif": "n/q.tif",
        "e/q.tif": "",
        "a/t.tif": "",
        "b/t.tif": "",
        "none.tif": "",
    }
    assert sorted(resolved.ambiguous) == ["a/t.tif", "b/t.tif", "e/q.tif"]
    assert resolved.unknown == ["none.tif"]
    assert names.resolve(["e/q.tif"]).weak == {"e/q.tif": "n/q.tif"}


def test_suffixes_of_pictures_alone_are_cut() -> None:
    cut = [cut_suffix(name) for name in ("a.b.tif", "a.5", "a.JP2", ".tif", "a.north")]
    assert cut == ["a.b", "a.5", "a", ".tif", "a.north"]


def put(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("0 0.5 0.5 0.1 0.1\n" if path.endswith(".txt") else "")


def found_in(folder: Path, rasters: list[str], labels: str = "auto") -> dict[str, str | None]:
    names = RasterNames(folder, {folder / path: path for path in rasters})
    found = find_labels(folder, labels, names)
    return {path.relative_to(folder).as_posix(): scene for path, scene in found.scene_of.items()}


def test_label_files_follow_the_folders_of_the_rasters(tmp_path: Path) -> None:
    rasters = ["images/a/7.png", "images/b/7.png", "images/b/8.png"]
    put(tmp_path, "labels/a/7.txt", "labels/b/7.txt", "labels/b/9.txt", "labels/a/8.txt")
    expected = {
        "labels/a/7.txt": "images/a/7.png",
        "labels/b/7.txt": "images/b/7.png",
        "labels/b/9.txt": None,
        "labels/a/8.txt": "images/b/8.png",  # the only 8, and no other file is of it
    }
    assert found_in(tmp_path, rasters) == expected
    assert found_in(tmp_path, rasters, str(tmp_path / "labels")) == expected
    names = RasterNames(tmp_path, {tmp_path / path: path for path in rasters})
    assert "1 label files are in another folder" in find_labels(tmp_path, "auto", names).notes[0]
    put(tmp_path, "labels/b/8.txt")
    assert found_in(tmp_path, rasters)["labels/a/8.txt"] is None


def test_two_files_that_may_be_of_one_raster_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "x/7.txt", "y/7.txt")
    with pytest.raises(DataError, match=r"could both hold the labels of images/7\.png"):
        found_in(tmp_path, ["images/7.png"])


def test_label_files_of_a_split_do_not_go_to_another(tmp_path: Path) -> None:
    put(tmp_path, "train/labels/7.txt", "valid/labels/7.txt", "valid/labels/8.txt")
    assert found_in(tmp_path, ["train/images/7.png", "train/images/8.png"]) == {
        "train/labels/7.txt": "train/images/7.png",
        "valid/labels/7.txt": None,
        "valid/labels/8.txt": None,
    }


def test_a_label_file_may_have_the_rasters_whole_name(tmp_path: Path) -> None:
    put(tmp_path, "q.tif.txt", "q.2.txt")
    assert found_in(tmp_path, ["q.tif", "q.2.tif"]) == {"q.tif.txt": "q.tif", "q.2.txt": "q.2.tif"}


def test_a_scenes_name_is_no_surer_than_the_file_names_that_are_like_it() -> None:
    names = RasterNames(RAW, {RAW / "n/q.tif": "q", RAW / "s/q.tif": "s__q"})
    assert names.match("q").scene == ""
    assert set(names.match("q").scenes) == {"q", "s__q"}
    assert names.match("s__q").scene == "s__q"
    assert names.match("n/q").scene == "q"
