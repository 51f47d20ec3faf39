"""Which label files are found for a folder of scenes, and which raise an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.labels.formats import find_labels, read_labels
from windhover.labels.raster_names import RasterNames


def rasters(folder: Path, *paths: str) -> RasterNames:
    return RasterNames(folder, {folder / path: Path(path).stem for path in paths})


def test_a_folder_of_label_files_is_read_with_its_folders(tmp_path: Path) -> None:
    for name in ("train/a.txt", "val/b.txt", "classes.txt"):
        (tmp_path / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / name).write_text("")
    found = find_labels(tmp_path, str(tmp_path / "labels"), rasters(tmp_path, "a.tif", "b.tif"))
    assert [path.name for path in found.scene_of] == ["a.txt", "b.txt"]


def test_unknown_suffix_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "labels.doc").write_text("")
    with pytest.raises(FormatError, match=r"labels of the kind \.doc are not read"):
        read_labels(tmp_path / "labels.doc")
    with pytest.raises(MissingFileError, match="no such label file"):
        read_labels(tmp_path / "none.csv")


def test_labels_are_found_by_the_scenes_names(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        (tmp_path / "labels" / f"{name}.txt").write_text("")
    (tmp_path / "README.txt").write_text("")
    found = find_labels(tmp_path, "auto", rasters(tmp_path, "a.tif", "b.tif", "c.tif"))
    scenes = {path.name: scene for path, scene in found.scene_of.items()}
    assert scenes == {"a.txt": "a", "b.txt": "b"}


def test_two_files_for_one_scene_are_refused(tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="both hold labels of a"):
        find_labels(tmp_path, "auto", rasters(tmp_path, "a.tif"))
    assert list(find_labels(tmp_path, "*.csv", rasters(tmp_path, "a.tif")).scene_of.values()) == [
        "a"
    ]


def test_merged_files_are_found_or_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_text("")
    (tmp_path / "airports.csv").write_text("")
    found = find_labels(tmp_path, "auto", rasters(tmp_path, "a.tif"))
    assert [path.name for path in found.scene_of] == ["annotations.csv"]
    (tmp_path / "labels.json").write_text("")
    with pytest.raises(
        DataError, match=r"several files could hold the labels \(annotations.csv, labels.json\)"
    ):
        find_labels(tmp_path, "auto", rasters(tmp_path, "a.tif"))
    with pytest.raises(MissingFileError, match=r"none\*\.csv matches no label file"):
        find_labels(tmp_path, "none*.csv", rasters(tmp_path, "a.tif"))


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_files_of_subsets_are_read_together_unless_they_share_an_image(
    tmp_path: Path, kind: str
) -> None:
    def write(name: str, images: list[str]) -> None:
        if kind == "csv":
            rows = [f"{image},1,2,30,40,boat" for image in images]
            text = "\n".join(["image,xmin,ymin,xmax,ymax,label", *rows])
        else:
            content = {
                "images": [
                    {"id": number, "file_name": image, "width": 300, "height": 200}
                    for number, image in enumerate(images)
                ],
                "annotations": [
                    {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 2, 29, 38]}
                    for number in range(len(images))
                ],
                "categories": [{"id": 1, "name": "boat"}],
            }
            text = json.dumps(content)
        suffix = "csv" if kind == "csv" else "json"
        (tmp_path / f"{name}.{suffix}").write_text(text, encoding="utf-8")

    names = rasters(tmp_path, "a.tif", "b.tif", "c.tif")
    write("train_annotations", ["a.tif", "b.tif"])
    write("val_annotations", ["c.tif"])
    found = find_labels(tmp_path, "auto", names)
    assert sorted(path.stem for path in found.scene_of) == ["train_annotations", "val_annotations"]
    assert set(found.scene_of.values()) == {""}
    write("all_annotations", ["a.tif", "b.tif", "c.tif"])
    found = find_labels(tmp_path, "auto", names)
    assert [path.stem for path in found.scene_of] == ["all_annotations"]
    assert "has the labels of every image" in found.notes[0]
    write("more_annotations", ["a.tif", "d.tif"])
    with pytest.raises(DataError, match="several files could hold the labels"):
        find_labels(tmp_path, "auto", names)


def test_sidecars_of_rasters_are_no_label_files(tmp_path: Path) -> None:
    names = ("a.xml", "a.tif.aux.xml", "b.aux.xml")
    for name in names:
        (tmp_path / name).write_text("<annotation></annotation>")
    found = find_labels(tmp_path, str(tmp_path), rasters(tmp_path, "a.tif", "b.tif"))
    assert [path.name for path in found.scene_of] == ["a.xml"]
