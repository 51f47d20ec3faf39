"""Values as spreadsheets, tools and older programs write them: read as meant, or refused."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.errors import FormatError
from windhover.labels.formats import read_labels
from windhover.labels.table import is_true

HEAD = "image\txmin\tymin\txmax\tymax\tkind\tlabel\n"


def bounds_of(path: Path) -> list[list[float]]:
    bounds: list[list[float]] = shapely.bounds(read_labels(path).geometry).round(9).tolist()
    return bounds


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["7,25", "8", "17,5", "28,0"], [7.25, 8, 17.5, 28]),
        (["1.007,25", "8", "1.017,5", "28"], [1007.25, 8, 1017.5, 28]),
        (["1,007.25", "8", "1,017.5", "28"], [1007.25, 8, 1017.5, 28]),
        (["+7", ".5", "1e2", "9."], [7, 0.5, 100, 9]),
    ],
)
@pytest.mark.parametrize("separator", ["\t", ";", ","])
def test_decimal_commas_are_numbers(
    tmp_path: Path, separator: str, texts: list[str], numbers: list[float]
) -> None:
    cells = [f'"{text}"' if separator == "," else text for text in texts]
    text = HEAD.replace("\t", separator) + separator.join(["a.tif", *cells, "x", "ship"])
    (tmp_path / "l.csv").write_text(text)
    assert bounds_of(tmp_path / "l.csv") == [numbers]


def test_a_number_that_may_be_thousands_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.tsv").write_text(HEAD + "a\t1\t2\t3\t4\tx\ts\na\t1,200\t5\t1,900\t9\tx\ts\n")
    with pytest.raises(FormatError, match=r"line 3: '1,200' in the column 'xmin' may be thousands"):
        read_labels(tmp_path / "l.tsv")


@pytest.mark.parametrize(
    "head",
    [
        "sep=;\n",
        "# made by hand\n# on a Friday\n",
        "\ufeffsep=;\r\n",
        "# ",
        "#",
        "// made by a viewer\n",
        "% made by an editor\n\n",
        "%",
    ],
)
def test_lines_before_the_column_names_are_no_table(tmp_path: Path, head: str) -> None:
    (tmp_path / "l.csv").write_text(f"{head}image;xmin;ymin;xmax;ymax;class\nq.tif;1;2;3;4;ship\n")
    labels = read_labels(tmp_path / "l.csv")
    assert (labels.image.tolist(), labels.class_name.tolist()) == (["q.tif"], ["ship"])
    assert bounds_of(tmp_path / "l.csv") == [[1, 2, 3, 4]]


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("sep=;\nimage;xmin;ymin;xmax;ymax\nq;1;2;3;4\nq;1;2;3;4;5;6\n")
    with pytest.raises(FormatError, match=r"l\.csv, line 4: has 7 columns"):
        read_labels(tmp_path / "l.csv")


def test_an_empty_polygon_beside_corners_has_their_box(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        'image,xmin,ymin,xmax,ymax,geometry\nq,1,2,3,4,\nq,,,,,"[(5, 5), (9, 5), (9, 9)]"\nq,,,,,\n'
    )
    assert bounds_of(tmp_path / "l.csv") == [[1, 2, 3, 4], [5, 5, 9, 9]]
    assert read_labels(tmp_path / "l.csv").dropped == {"empty or reversed geometry": 1}


def test_rows_of_zeros_are_no_objects(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("image,x,y,w,h\nq,0,0,0,0\nq,5,5,2,2\nq,0,0,3,3\n")
    (tmp_path / "q.txt").write_text("0 0 0 0 0\n0 0.5 0.5 0 0\n0 0.5 0.5 0.1 0.1\n")
    assert bounds_of(tmp_path / "l.csv") == [[5, 5, 7, 7], [0, 0, 3, 3]]
    assert bounds_of(tmp_path / "q.txt") == [[0.45, 0.45, 0.55, 0.55]]
    assert read_labels(tmp_path / "q.txt").dropped == {"empty or reversed geometry": 2}


def test_boxes_turned_by_a_column_are_refused(tmp_path: Path) -> None:
    rows = "image,xmin,ymin,xmax,ymax,angle\nq,1,2,3,4,0\nq,1,2,3,4,"
    (tmp_path / "l.csv").write_text(rows + "0.0\n")
    assert len(read_labels(tmp_path / "l.csv")) == 2
    (tmp_path / "l.csv").write_text(rows + "30\n")
    with pytest.raises(FormatError, match="line 3: the box is turned by the column 'angle'"):
        read_labels(tmp_path / "l.csv")


@pytest.mark.parametrize("role", ["ignore", " Ignore", "IGNORED"])
def test_roles_are_read_in_any_case_from_every_table(tmp_path: Path, role: str) -> None:
    (tmp_path / "l.csv").write_text(
        f"image,xmin,ymin,xmax,ymax,role\nq,1,2,3,4,{role}\nq,1,2,5,6,\n"
    )
    shapes = [shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)]
    frame = geopandas.GeoDataFrame({"role": [role, None]}, geometry=shapes, crs="EPSG:32631")
    frame.to_file(tmp_path / "l.gpkg")
    for name in ("l.csv", "l.gpkg"):
        ignored = read_labels(tmp_path / name).ignored
        assert ignored is not None
        assert ignored.tolist() == [True, False]


@pytest.mark.parametrize("value", [True, 1, 2, 1.0, "1", "true", " TRUE", "yes", "1.0"])
def test_flags_that_are_set(value: Any) -> None:
    assert is_true(value, "here")


@pytest.mark.parametrize("value", [None, False, 0, float("nan"), "", "0", "False", "no", "0.0"])
def test_flags_that_are_not_set(value: Any) -> None:
    assert not is_true(value, "here")


def test_a_flag_of_another_word_is_refused() -> None:
    with pytest.raises(FormatError, match="here: 'perhaps' is no flag"):
        is_true("perhaps", "here")


def test_whole_numbers_stay_whole_beside_a_missing_one(tmp_path: Path) -> None:
    shapes = [shapely.Point(x, 1) for x in range(3)]
    for values, names in (
        ([3, None, 12], ["3", "object", "12"]),
        ([3.5, None, 12.0], ["3.5", "object", "12.0"]),
    ):
        column = pd.Series(values, dtype="float64" if 3.5 in values else "Int64")
        frame = geopandas.GeoDataFrame({"class": column}, geometry=shapes, crs="EPSG:4326")
        frame.to_parquet(tmp_path / "l.parquet")
        frame.to_file(tmp_path / "l.gpkg")
        assert read_labels(tmp_path / "l.gpkg").class_name.tolist() == names
        assert read_labels(tmp_path / "l.parquet").class_name.tolist() == names


def test_the_column_that_is_taken_for_the_class_is_told(tmp_path: Path) -> None:
    for columns, words in (
        ("class,label", "the columns class, label may all hold the class; 'class' is taken"),
        ("kind,sort", "no column is known as the class"),
    ):
        (tmp_path / "l.csv").write_text(f"image,xmin,ymin,xmax,ymax,{columns}\nq,1,2,3,4,a,b\n")
        assert words in " ".join(read_labels(tmp_path / "l.csv").notes)
        assert read_labels(tmp_path / "l.csv", columns.split(",")[1]).notes == ()


def test_columns_that_may_be_the_class_are_named_with_some_of_their_values(tmp_path: Path) -> None:
    kinds = ["house", "house", "hall", "barn", "hall", "house", "church", "hall"]
    table = {
        "building_use": kinds,
        "owner": [f"owner {number}" for number in range(8)],
        "source": ["survey"] * 8,
        "floors": ["1", "2"] * 4,
        "height": [3.5, 4.0] * 4,
    }
    shapes = shapely.box(np.arange(8), 0, np.arange(8) + 0.5, 1)
    geopandas.GeoDataFrame(table, geometry=shapes, crs="EPSG:32631").to_file(tmp_path / "l.gpkg")
    (note,) = read_labels(tmp_path / "l.gpkg").notes
    assert note.endswith("names another column, such as building_use (house, hall, barn, ...)")
    rows = [f"q{kind},1,2,3,4,{kind}\n" for kind in kinds]
    (tmp_path / "l.csv").write_text("image,xmin,ymin,xmax,ymax,building_use\n" + "".join(rows))
    (note,) = read_labels(tmp_path / "l.csv").notes
    assert note.endswith(", such as building_use (house, hall, barn, ...)")


def test_parts_are_objects_in_csv_as_in_a_layer(tmp_path: Path) -> None:
    shapes = [
        shapely.from_wkt("MULTIPOLYGON (((1 1, 3 1, 3 3, 1 1)), ((7 7, 9 7, 9 9, 7 7)))"),
        shapely.from_wkt("GEOMETRYCOLLECTION (POINT (4 5), MULTIPOINT (6 1, 2 8))"),
        shapely.from_wkt("LINESTRING (1 1, 5 9)"),
    ]
    frame = geopandas.GeoDataFrame({"class": list("abc")}, geometry=shapes, crs="EPSG:32631")
    frame.to_file(tmp_path / "l.gpkg")
    rows = "".join(f'q,"{shape.wkt}",{name}\n' for shape, name in zip(shapes, "abc", strict=True))
    (tmp_path / "l.csv").write_text("image,geometry,class\n" + rows)
    expected = [[1, 1, 3, 3], [7, 7, 9, 9], [4, 5, 4, 5], [6, 1, 6, 1], [2, 8, 2, 8], [1, 1, 5, 9]]
    for name in ("l.gpkg", "l.csv"):
        assert bounds_of(tmp_path / name) == expected
        assert "".join(read_labels(tmp_path / name).class_name) == "aabbbc"


NESTED = (
    "<annotation><source><filename>q.tif</filename></source><objects>"
    "<object><coordinate>{unit}</coordinate><type>x</type><possibleresult><name>jet</name>"
    "</possibleresult><points><point>4,2</point><point>9,2</point><point>7,8</point></points>"
    "</object></objects></annotation>"
)


def test_nested_objects_with_points_are_read(tmp_path: Path) -> None:
    (tmp_path / "q.xml").write_text(NESTED.format(unit="pixel"))
    labels = read_labels(tmp_path / "q.xml")
    assert shapely.get_coordinates(labels.geometry).tolist() == [[4, 2], [9, 2], [7, 8], [4, 2]]
    assert (labels.class_name.tolist(), labels.image.tolist()) == (["jet"], ["q.tif"])
    (tmp_path / "q.xml").write_text(NESTED.format(unit="degree"))
    with pytest.raises(FormatError, match="object 1 has coordinates in 'degree', only px are read"):
        read_labels(tmp_path / "q.xml")


def test_shapes_without_objects_are_not_an_empty_image(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    (tmp_path / "q.xml").write_text(f"<annotation><item><name>a</name>{box}</item></annotation>")
    with pytest.raises(FormatError, match="has shapes but no <object> around them"):
        read_labels(tmp_path / "q.xml")


QUARTER_TURN = [[25.0, 10.0, 35.0, 50.0]]  # of the box (10, 25) to (50, 35)


def test_turned_boxes_of_tools_are_turned(tmp_path: Path) -> None:
    box = "<bndbox><xmin>10</xmin><ymin>25</ymin><xmax>50</xmax><ymax>35</ymax></bndbox>"
    attribute = "<attribute><name>rotation</name><value>90.0</value></attribute>"
    turned = (
        "<robndbox><cx>30</cx><cy>30</cy><w>40</w><h>10</h><angle>1.5707963268</angle></robndbox>"
    )
    for shape in (f"{box}<attributes>{attribute}</attributes>", turned):
        text = f"<annotation><object><name>a</name>{shape}</object></annotation>"
        (tmp_path / "q.xml").write_text(text)
        assert np.allclose(bounds_of(tmp_path / "q.xml"), QUARTER_TURN, atol=1e-6)
    coco: dict[str, Any] = {
        "images": [{"id": 1.0, "file_name": "q.tif"}],
        "annotations": [{"image_id": 1, "category_id": 2, "bbox": [10, 25, 40, 10]}],
        "categories": [{"id": 2, "name": "a"}],
    }
    coco["annotations"][0] |= {"attributes": {"rotation": 90}, "iscrowd": "false"}
    (tmp_path / "q.json").write_text(json.dumps(coco))
    assert np.allclose(bounds_of(tmp_path / "q.json"), QUARTER_TURN)
    coco["annotations"][0] |= {"angle": 0.3}
    (tmp_path / "q.json").write_text(json.dumps(coco))
    with pytest.raises(FormatError, match="it is turned by `angle`"):
        read_labels(tmp_path / "q.json")


POSE = "0 0.3 0.6 0.2 0.1 0.25 0.6 2 0.35 0.62 1\n"
POSE_OF_PAIRS = "0 0.3 0.6 0.2 0.1 0.25 0.6 0.35 0.62\n"


def test_poses_have_the_boxes_of_their_lines(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text(POSE)
    assert bounds_of(tmp_path / "q.txt") == [[0.2, 0.55, 0.4, 0.65]]
    (tmp_path / "q.txt").write_text(POSE_OF_PAIRS)
    with pytest.raises(FormatError, match=r"like poses .* Write kpt_shape"):
        read_labels(tmp_path / "q.txt")
    (tmp_path / "data.yaml").write_text("names: [a]\nkpt_shape: [2, 2]\n")
    assert bounds_of(tmp_path / "q.txt") == [[0.2, 0.55, 0.4, 0.65]]
    (tmp_path / "data.yaml").write_text("names: [a]\nkpt_shape: [3, 2]\n")
    with pytest.raises(FormatError, match=r"has 4 numbers of key points, but kpt_shape .* makes 6"):
        read_labels(tmp_path / "q.txt")
    (tmp_path / "data.yaml").write_text("names: [a]\nkpt_shape: 3\n")
    with pytest.raises(FormatError, match="`kpt_shape` must be"):
        read_labels(tmp_path / "q.txt")


def test_corners_are_not_taken_for_poses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(200):
        center = rng.uniform(0.1, 0.9, 2)
        side = rng.uniform(0.01, 0.09, 2)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = center + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side @ turn.T
        lines.append("0 " + " ".join(f"{value:.6f}" for value in corners.ravel()))
    (tmp_path / "q.txt").write_text("\n".join(lines))
    labels = read_labels(tmp_path / "q.txt")
    assert (shapely.get_num_coordinates(labels.geometry) == 5).all()


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "cp1252"])
def test_shapefiles_of_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["Bäume", "ship"]}, geometry=[shapely.Point(1, 2)] * 2, crs="EPSG:32631"
    )
    frame.to_file(tmp_path / "l.shp", encoding=encoding)
    (tmp_path / "l.cpg").unlink(missing_ok=True)
    assert read_labels(tmp_path / "l.shp").class_name.tolist() == ["Bäume", "ship"]


def test_meters_that_are_said_to_be_degrees_are_refused(tmp_path: Path) -> None:
    shapes = [shapely.box(3e5 + x, 6e6, 3e5 + x + 9, 6e6 + 9) for x in (0, 50)]
    text = geopandas.GeoSeries(shapes).to_json()
    (tmp_path / "l.geojson").write_text(text)
    with pytest.raises(FormatError, match="like 300000, 6000000 are no longitude and latitude"):
        read_labels(tmp_path / "l.geojson")


def test_one_stray_shape_in_degrees_is_left_to_be_counted(tmp_path: Path) -> None:
    shapes = [shapely.box(8, 47, 9, 48), shapely.box(-1e30, 0, 1e30, 1), shapely.box(1, 2, 3, 4)]
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:4326").to_file(tmp_path / "l.gpkg")
    assert len(read_labels(tmp_path / "l.gpkg")) == 3


def test_curves_and_geodatabases_are_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "l.gpkg"
    box = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32631")
    box.to_file(path, layer="labels")
    circle = struct.pack("<BII10d", 1, 8, 5, 0, 0, 2, 2, 4, 0, 2, -2, 0, 0)
    with sqlite3.connect(path) as database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f'DROP TRIGGER "{trigger}"')
        (blob,) = database.execute("SELECT geom FROM labels").fetchone()
        header = blob[:40]
        curved = header + struct.pack("<BII", 1, 10, 1) + circle
        database.execute("UPDATE labels SET geom = ?", (curved,))
    with pytest.raises(FormatError, match=r"holds curves.* ogr2ogr -nlt CONVERT_TO_LINEAR"):
        read_labels(path)
    (tmp_path / "city.gdb").mkdir()
    with pytest.raises(
        FormatError, match=r"city\.gdb: is a file geodatabase.* ogr2ogr -nln labels"
    ):
        read_labels(tmp_path / "city.gdb")


@pytest.mark.parametrize("kind", ["CURVEPOLYGON", "COMPOUNDCURVE", "multisurface"])
def test_curves_in_a_table_are_named_with_the_way_out(tmp_path: Path, kind: str) -> None:
    wkt = f"{kind} (CIRCULARSTRING (0 0, 2 2, 4 0, 2 -2, 0 0))"
    (tmp_path / "l.csv").write_text(f'image,class,geometry\nq.tif,a,"{wkt}"\n')
    message = r"l\.csv, line 2: .* is a curve.* ogr2ogr -nlt CONVERT_TO_LINEAR"
    with pytest.raises(FormatError, match=message):
        read_labels(tmp_path / "l.csv")


def test_two_images_of_one_name_are_told(tmp_path: Path) -> None:
    boxes = [{"image_id": number, "category_id": 1, "bbox": [1, 2, 3, 4]} for number in (1, 2)]
    images = [{"id": number, "file_name": "q.tif"} for number in (1, 2)]
    coco = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    (tmp_path / "l.json").write_text(json.dumps(coco))
    assert (
        "1 file names are of several images ('q.tif' is one)"
        in read_labels(tmp_path / "l.json").notes[0]
    )
