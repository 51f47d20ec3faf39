"""Every label format gives the same boxes; what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.labels import find_labels, read_labels
from windhover.labels.csv_labels import parse_polygon

BOX = (10.5, 20.0, 40.25, 60.0)
numbers = st.floats(-1e5, 1e5, allow_nan=False)


def bounds(path: Path, **options: str) -> np.ndarray:
    return shapely.bounds(read_labels(path, **options).geometry)


@pytest.mark.parametrize("driver", ["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "Parquet"])
def test_vector_files_keep_shape_class_and_system(tmp_path: Path, driver: str) -> None:
    suffix = {
        "GPKG": "gpkg",
        "GeoJSON": "geojson",
        "ESRI Shapefile": "shp",
        "FlatGeobuf": "fgb",
        "Parquet": "parquet",
    }
    path = tmp_path / f"labels.{suffix[driver]}"
    crs = "EPSG:4326" if driver == "GeoJSON" else "EPSG:32631"
    frame = geopandas.GeoDataFrame(
        {"class": ["ship", "tug"]}, geometry=[shapely.box(*BOX), shapely.box(0, 0, 1, 2)], crs=crs
    )
    frame.to_parquet(path) if driver == "Parquet" else frame.to_file(path, driver=driver)
    labels = read_labels(path)
    order = np.argsort(labels.klass)
    assert labels.klass[order].tolist() == ["ship", "tug"]
    assert np.allclose(shapely.bounds(labels.geometry[order]), [BOX, (0, 0, 1, 2)])
    assert labels.crs == crs
    assert labels.space == "map"


def test_points_and_parts_are_taken_and_empty_shapes_counted(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2), shapely.MultiPoint([(3, 4), (5, 6)]), shapely.Polygon(), None]
    geopandas.GeoDataFrame({"class": list("abcd")}, geometry=shapes, crs="EPSG:32631").to_file(
        tmp_path / "labels.gpkg"
    )
    labels = read_labels(tmp_path / "labels.gpkg")
    assert labels.klass.tolist() == ["a", "b", "b"]
    assert labels.dropped == {"empty or reversed geometry": 2}


def test_an_empty_layer_is_a_layer(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:32631").to_file(
        tmp_path / "labels.gpkg"
    )
    assert len(read_labels(tmp_path / "labels.gpkg")) == 0


def test_of_several_layers_one_must_be_called_labels(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["a"]}, geometry=[shapely.Point(1, 2)], crs="EPSG:32631"
    )
    frame.to_file(tmp_path / "two.gpkg", layer="one")
    frame.to_file(tmp_path / "two.gpkg", layer="other")
    with pytest.raises(FormatError, match="has the layers one, other and none called 'labels'"):
        read_labels(tmp_path / "two.gpkg")
    frame.assign(**{"class": ["b"]}).to_file(tmp_path / "two.gpkg", layer="labels")
    assert read_labels(tmp_path / "two.gpkg").klass.tolist() == ["b"]


def test_coco_boxes_are_corner_and_size(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "a.tif"}, {"id": 8, "file_name": "empty.tif"}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10.5, 20.0, 29.75, 40.0], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "coco.json")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX), [1, 2, 4, 6]]
    assert labels.images == ("a.tif", "empty.tif")
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]


def test_coco_where_every_annotation_is_a_crowd_has_none(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "a.tif"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    labels = read_labels(tmp_path / "coco.json")
    assert labels.ignored is not None
    assert not labels.ignored.any()
    assert labels.klass.tolist() == ["1"]


def test_coco_polygons_stand_in_for_a_missing_box(tmp_path: Path) -> None:
    annotation = {"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 8, 0, 8]]}
    document = {"images": [{"id": 7, "file_name": "a.tif"}], "annotations": [annotation]}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    assert bounds(tmp_path / "coco.json").tolist() == [[0, 0, 4, 8]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not valid JSON"),
        ("[1, 2]", "is JSON but not COCO"),
        (
            '{"images": [], "annotations": [{"image_id": 1}]}',
            r"annotation 1 \(id None\) has the image_id 1, which the",
        ),
    ],
)
def test_broken_json_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(FormatError, match=f"coco.json.*{sentence}"):
        read_labels(tmp_path / "coco.json")


def test_json_that_is_geojson_is_read_as_such(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["a"]}, geometry=[shapely.box(1, 2, 3, 4)], crs="EPSG:4326"
    )
    (tmp_path / "labels.json").write_text(frame.to_json())
    assert read_labels(tmp_path / "labels.json").space == "map"


def voc(objects: str, head: str = "") -> str:
    return f"{head}<annotation><filename>a.tif</filename>{objects}</annotation>"


def voc_object(difficult: int = 0) -> str:
    sides = "".join(
        f"<{name}>{value}</{name}>"
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    )
    return f"<object><name>ship</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def test_voc_boxes_are_corners(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(voc(voc_object() + voc_object(1)))
    labels = read_labels(tmp_path / "a.xml")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX)] * 2
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]
    assert labels.image.tolist() == ["a.tif"] * 2


def test_voc_entities_are_refused_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;">]>'
    (tmp_path / "a.xml").write_text(voc("<object><name>&y;</name></object>", bomb))
    with pytest.raises(FormatError, match="declares entities or a DTD"):
        read_labels(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<annotation>", "cannot be read as Pascal VOC"),
        ("<x/>", "has no <annotation>"),
        (voc("<object/>"), "object 1 has no number in <xmin>"),
    ],
)
def test_broken_voc_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "a.xml")


def test_yolo_boxes_and_corners_are_fractions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n\n")
    labels = read_labels(tmp_path / "a.txt")
    assert np.allclose(
        shapely.bounds(labels.geometry), [[0.25, 0, 0.75, 0.5], [0.1, 0.1, 0.2, 0.3]]
    )
    assert labels.space == "fraction"
    assert labels.klass.tolist() == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.yaml", "names: [ship, tug]"),
        ("data.yaml", "names: {0: ship, 1: tug}"),
        ("classes.txt", "ship\ntug\n"),
    ],
)
def test_yolo_classes_have_the_names_of_the_file_above(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.25 0.5 0.5")
    assert read_labels(tmp_path / "labels" / "a.txt").klass.tolist() == ["tug"]


def test_a_yolo_class_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("ship\r\ntug\r\n")
    (tmp_path / "a.txt").write_text("2 0.5 0.25 0.5 0.5")
    with pytest.raises(
        FormatError, match=r"a\.txt, line 1: has the class 2, but the file of class names ends at 1"
    ):
        read_labels(tmp_path / "a.txt")


def test_a_folder_of_label_files_is_read_with_its_folders(tmp_path: Path) -> None:
    for name in ("train/a.txt", "val/b.txt", "classes.txt"):
        (tmp_path / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / name).write_text("")
    found = find_labels(tmp_path, str(tmp_path / "labels"), ["a", "b"])
    assert [path.name for path in found] == ["a.txt", "b.txt"]


def test_an_empty_text_speaks_of_an_empty_image(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n")
    labels = read_labels(tmp_path / "a.txt")
    assert (len(labels), labels.images) == (0, ("a",))


def test_dota_corners_are_px(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "imagesource:GoogleEarth\ngsd:0.14\n10 20 30 20 30 50 10 50 plane 0\n0 0 4 0 4 4 0 4 ship 1\n"
    )
    labels = read_labels(tmp_path / "a.txt")
    assert shapely.bounds(labels.geometry).tolist() == [[10, 20, 30, 50], [0, 0, 4, 4]]
    assert labels.klass.tolist() == ["plane", "ship"]
    assert labels.space == "px"
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello there", r"a\.txt, line 1: neither YOLO .* nor DOTA"),
        ("0 0.5 0.5 0.1", "line 1: neither YOLO"),
        ("0 300 200 10 20", "YOLO numbers are fractions of the image, got 300"),
        ("10 20 30 20 30 50 10 50 plane 0\n1 2 3", "line 2: not DOTA"),
    ],
)
def test_broken_text_is_named_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "text",
    [
        "image_path,xmin,ymin,xmax,ymax,label\na.tif,10.5,20,40.25,60,ship\n",
        "image_path,xmin,xmax,ymin,ymax,label\na.tif,10.5,40.25,20,60,ship\n",
        "filename, x, y, w, h, class\na.tif, 10.5, 20, 29.75, 40, ship\n",
        'image_id,geometry,class\na.tif,"[(10.5, 20), (40.25, 20), (40.25, 60), (10.5, 60), (10.5, 20)]",ship\n',
        'image_id,geometry,class\na.tif,"POLYGON ((10.5 20, 40.25 20, 40.25 60, 10.5 60, 10.5 20))",ship\n',
    ],
)
def test_csv_boxes_and_polygons(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    labels = read_labels(tmp_path / "labels.csv")
    assert shapely.bounds(labels.geometry).tolist() == [list(BOX)]
    assert (labels.image.tolist(), labels.klass.tolist()) == (["a.tif"], ["ship"])


def test_csv_lines_without_numbers_are_counted(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "image,xmin,ymin,xmax,ymax\na.tif,1,2,3,4\na.tif,,,,\na.tif,x,2,3,4\n"
    )
    labels = read_labels(tmp_path / "labels.csv")
    assert (len(labels), labels.dropped) == (1, {"empty or reversed geometry": 2})
    assert labels.klass.tolist() == ["object"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "image,colour\na.tif,red\n",
            "has no columns for boxes or polygons; its columns are image, colour",
        ),
        ("image,geometry\na.tif,__import__('os')\n", "line 2: .* is neither a list of"),
        ('image,geometry\na.tif,"[(1, 2), (3,)]"\n', "line 2: .* is neither a list of"),
        ("", "cannot be read as CSV"),
        (",,,\n,,,\n", r"labels\.csv: cannot be read as CSV \(all its columns are empty\)"),
    ],
)
def test_broken_csv_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "labels.csv")


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=20))
def test_polygons_written_by_python_are_read_to_the_last_digit(
    points: list[tuple[float, float]],
) -> None:
    shape = parse_polygon(repr(points), "here")
    assert shape is not None
    assert np.array_equal(shapely.get_coordinates(shape)[: len(points)], points)


def test_a_wanted_class_column_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax,kind\na.tif,1,2,3,4,x\n")
    assert read_labels(tmp_path / "labels.csv", "kind").klass.tolist() == ["x"]
    with pytest.raises(
        FormatError, match="has no column 'species' for the class; its columns are image"
    ):
        read_labels(tmp_path / "labels.csv", "species")


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
    found = find_labels(tmp_path, "auto", ["a", "b", "c"])
    assert {path.name: scene for path, scene in found.items()} == {"a.txt": "a", "b.txt": "b"}


def test_two_files_for_one_scene_are_refused(tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="both hold labels of a"):
        find_labels(tmp_path, "auto", ["a"])
    assert list(find_labels(tmp_path, "*.csv", ["a"]).values()) == ["a"]


def test_merged_files_are_found_or_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.csv").write_text("")
    (tmp_path / "airports.csv").write_text("")
    assert [path.name for path in find_labels(tmp_path, "auto", ["a"])] == ["annotations.csv"]
    (tmp_path / "labels.json").write_text("")
    with pytest.raises(
        DataError, match=r"several files could hold the labels \(annotations.csv, labels.json\)"
    ):
        find_labels(tmp_path, "auto", ["a"])
    with pytest.raises(MissingFileError, match=r"none\*\.csv matches no label file"):
        find_labels(tmp_path, "none*.csv", ["a"])
