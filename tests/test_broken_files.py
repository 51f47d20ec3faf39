"""Broken, odd and hostile label files through the commands: they enter right or end in one
sentence, nothing half-written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from affine import Affine

from command_line import windhover
from conftest import MakeScene
from windhover.imagery.rasters import inspect_scene
from windhover.inference.aoi import area_in_scene

BOX = "pic.png,10,10,30,30,a"
HEAD = "image,xmin,ymin,xmax,ymax,class"
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "pic.png"}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}],
}
VOC = (
    "<annotation><filename>pic.png</filename><object><name>a</name><bndbox><xmin>10</xmin><ymin>10</ymin>"
    "<xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>"
)


def coco(**changes: Any) -> str:
    return json.dumps({**COCO, "annotations": [COCO["annotations"][0] | changes]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", f"\ufeff{HEAD}\n{BOX}\n"),
        ("semicolons.csv", f"{HEAD}\n{BOX}\n".replace(",", ";")),
        ("decimal_commas.csv", HEAD.replace(",", ";") + "\npic.png;10,0;10,0;30,0;30,0;a\n"),
        ("tabs.csv", f"{HEAD}\n{BOX}\n".replace(",", "\t")),
        ("capitals.csv", "Image,XMIN,YMIN,XMAX,YMAX,Label\n" + BOX),
        ("sizes.csv", "image,x,y,w,h,class\npic.png,10,10,20,20,a\n"),
        (
            "quoted.csv",
            'image_id,geometry,class\npic.png,"[(10, 10), (30, 10), (30, 30), (10, 30)]",a\n',
        ),
        ("one_reversed.csv", f"{HEAD}\n{BOX}\npic.png,30,30,10,10,a\npic.png,x,1,2,3,a\n"),
        ("ids_as_text.json", coco(image_id="1", category_id="1")),
        ("path.json", coco().replace("pic.png", "some/where/pic.png")),
        ("no_name.xml", VOC.replace("<name>a</name>", "")),
        ("old_mac.csv", f"{HEAD}\r{BOX}\r"),
        ("last_comma.csv", f"{HEAD}\n\n{BOX},\n"),
        ("names.csv", f"{HEAD}\n{BOX}".replace(",a", ",NA")),
        ("table.tsv", f"{HEAD}\n{BOX}\n".replace(",", "\t")),
        ("windows.json", coco().replace("pic.png", r"c:\\train\\pic.jpg")),
        ("mask.json", coco(segmentation={"size": [150, 210], "counts": [1, 2]})),
        ("no_categories.json", json.dumps(COCO | {"categories": []})),
        (
            "bom_and_parts.xml",
            "\ufeff"
            + VOC.replace("</object>", "<part><bndbox><xmin>1</xmin></bndbox></part></object>"),
        ),
        ("floats.xml", VOC.replace(">10<", ">10.0<")),
        (
            "pic.txt",
            "imagesource:null\ngsd:0.3\nacquisition dates:2010\n10 10 30 10 30 30 10 30 a 0\n",
        ),
    ],
)
def test_odd_labels_enter_right(
    name: str,
    content: str,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/pic.png", crs=None, driver="PNG")
    (tmp_path / name).write_text(content, encoding="utf-8")
    options = ("--scenes", str(tmp_path / "raw"), "--gsd", "0.5", "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / name), *options)
    assert code == 0, said
    labels = geopandas.read_parquet(tmp_path / "out/labels.parquet")
    assert labels[["left", "top", "right", "bottom"]].to_numpy().tolist() == [[10, 10, 30, 30]]
    assert labels["class"].tolist() == [
        {"no_name.xml": "object", "no_categories.json": "1", "names.csv": "NA"}.get(name, "a")
    ]
    assert ("empty or reversed geometry: 2 labels" in said) == (name == "one_reversed.csv")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("zero.csv", "", "cannot be read as CSV"),
        ("latin.csv", f"{HEAD}\npic.png,1,1,9,9,caf\xe9\n".encode("latin-1"), "UTF-8"),
        ("utf16.csv", f"{HEAD}\n{BOX}\n".encode("utf-16-le"), "UTF-8"),
        (
            "code.csv",
            "image,geometry\npic.png,\"__import__('os').getcwd()\"\n",
            "neither a list of",
        ),
        ("reversed.csv", f"{HEAD}\npic.png,30,30,10,10,a\n", "none of the 1 labels has a shape"),
        ("zero.json", "", "not valid JSON"),
        ("deep.json", "[" * 100_000, "not valid JSON"),
        (
            "image.json",
            coco(image_id=99),
            "annotation 1 (id 5) has the image_id 99, which the file lacks",
        ),
        ("class.json", coco(category_id=77), "has the category_id 77, which the file lacks"),
        ("three.json", coco(bbox=[1, 2, 3]), "`bbox` must be 4 numbers, got [1, 2, 3]"),
        ("large.json", coco(bbox=[1, 2, 3, 10**400]), "has no sound box or outline"),
        (
            "twice.json",
            json.dumps(COCO | {"images": [{"id": 1, "file_name": n} for n in "ab"]}),
            "the id 1 twice",
        ),
        ("list.json", "[1, 2]", "is JSON but not COCO"),
        ("nan.json", coco().replace("[10,", "[NaN,"), "none of the 1 labels has a shape"),
        (
            "bomb.xml",
            '<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>' + VOC.replace(">a<", ">&b;<"),
            "entities",
        ),
        (
            "file.xml",
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hosts">]>' + VOC.replace(">a<", ">&e;<"),
            "entities",
        ),
        ("encoding.xml", '<?xml version="1.0" encoding="foo"?>' + VOC, "unknown encoding"),
        ("cut.xml", VOC[:60], "cannot be read as Pascal VOC"),
        ("pic.txt", "0 50 50 10 10\n", "YOLO numbers are fractions"),
        ("minus.txt", "-1 0.5 0.5 0.1 0.1\n", "neither YOLO"),
        ("infinite.txt", "10 10 1e400 10 30 30 10 30 plane 0\n", "not DOTA"),
        ("zero.gpkg", b"", "cannot be read as a layer"),
        (
            "half.geojson",
            '{"type":"FeatureCollection","features":[{"type":"Fea',
            "cannot be read as a layer",
        ),
        ("zero.parquet", b"", "cannot be read as a layer"),
        (
            "comma.csv",
            f"{HEAD}\npic.png,10,5,10,30,30,a\n",
            "line 2: has 7 columns, but only 6 are named",
        ),
        ("nul.csv", f"{HEAD}\n{BOX}\0\n", "bytes that no text has"),
        (
            "mask.json",
            coco(bbox=None, segmentation={"size": [9, 9], "counts": "x"}),
            "a run-length mask alone is not",
        ),
        (
            "space.xml",
            VOC.replace("<annotation>", '<annotation xmlns="http://x">'),
            "has no <annotation>",
        ),
        ("map.kml", "<kml/>", "labels of the kind .kml are not read"),
    ],
)
def test_broken_labels_end_in_one_sentence(
    name: str,
    content: str | bytes,
    sentence: str,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/pic.png", crs=None, driver="PNG")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--scenes", str(tmp_path / "raw"), "--gsd", "0.5", "-o", str(tmp_path / "made/out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / name), *options)
    assert code == 1
    assert sentence in said
    assert name in said
    assert len(said.strip().splitlines()) == 1
    assert list((tmp_path / "made").iterdir()) == []


ON_MAP = shapely.box(
    400_050, 4_999_900, 400_080, 4_999_930
)  # columns 40 to 64, rows 56 to 80 of `make_scene`
LONLAT = geopandas.GeoSeries([ON_MAP], crs="EPSG:32631").to_crs("EPSG:4326").iloc[0]
SHAPE = shapely.geometry.mapping(LONLAT)
NOT_ONE = {"type": "Polygon", "coordinates": [[[3, 45], [3, 45]]]}


def geojson(*shapes: Any) -> str:
    features = [
        {"type": "Feature", "properties": {"class": "a"}, "geometry": shape} for shape in shapes
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize(
    ("name", "content", "dropped"),
    [
        ("capitals.GeoJSON", geojson(SHAPE), 0),
        ("bom.geojson", "\ufeff" + geojson(SHAPE), 0),
        ("height.geojson", geojson(shapely.geometry.mapping(shapely.force_3d(LONLAT, 7.0))), 0),
        ("collection.geojson", geojson({"type": "GeometryCollection", "geometries": [SHAPE]}), 0),
        (
            "none_and_twice.geojson",
            geojson(None, {"type": "MultiPolygon", "coordinates": [SHAPE["coordinates"]] * 2}),
            1,
        ),
        ("no_ring.geojson", geojson(NOT_ONE, SHAPE), 1),
        ("feature.json", json.dumps(json.loads(geojson(SHAPE))["features"][0]), 0),
        ("late_type.json", json.dumps({"name": "x" * 4500} | json.loads(geojson(SHAPE))), 0),
    ],
)
def test_odd_shapes_on_the_map_enter_right(
    name: str,
    content: str,
    dropped: int,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/pic.TIF")
    (tmp_path / name).write_text(content, encoding="utf-8")
    options = ("--scenes", str(tmp_path / "raw"), "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / name), *options)
    assert code == 0, said
    labels = geopandas.read_parquet(tmp_path / "out/labels.parquet")
    assert labels[["left", "top", "right", "bottom"]].to_numpy() == pytest.approx(
        np.array([[40, 56, 64, 80]]), abs=1e-3
    )
    assert ("empty or reversed geometry: 1 label" in said) == bool(dropped)


def spoil_vector(path: Path, how: str) -> Path:
    """Write labels as a file that lacks a part of itself; return its path."""
    frame = geopandas.GeoDataFrame({"class": ["a"]}, geometry=[ON_MAP], crs="EPSG:32631")
    if how in ("prj", "shx"):
        frame.to_file(path / "l.shp")
        (path / f"l.{how}").unlink()
        return path / "l.shp"
    if how == "layers":
        frame.to_file(path / "l.gpkg", layer="one")
        frame.set_geometry(frame.centroid).to_file(path / "l.gpkg", layer="two")
    elif how == "table":
        pyogrio.write_dataframe(
            frame.drop(columns="geometry"), path / "l.gpkg", layer="one", driver="GPKG"
        )
    else:
        frame.drop(columns="geometry").to_parquet(path / "l.parquet")
        return path / "l.parquet"
    return path / "l.gpkg"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("prj", "l.shp has no coordinate system"),
        ("shx", "Unable to open"),
        ("layers", "has the layers one (1 polygons), two (1 points) and none called 'labels'"),
        ("table", "holds no layer of points or polygons, only a table"),
        ("parquet", "is a table without the metadata of GeoParquet"),
    ],
)
def test_map_layers_that_lack_a_part_end_in_one_sentence(
    how: str,
    sentence: str,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/pic.tif")
    options = ("--scenes", str(tmp_path / "raw"), "-o", str(tmp_path / "out"))
    code, said = windhover(
        monkeypatch, capsys, "import", str(spoil_vector(tmp_path, how)), *options
    )
    assert (code, sentence in said, len(said.strip().splitlines())) == (1, True, 1), said


@pytest.mark.parametrize("west", [179.99, -180.01, 359.99 - 180])
@pytest.mark.parametrize("turn", [-360.0, 0.0, 360.0])
def test_labels_meet_scenes_whichever_side_of_the_antimeridian_is_written(
    west: float,
    turn: float,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/a.tif", crs="EPSG:4326", transform=Affine(1e-4, 0, west, 0, -1e-4, 10.0))
    make_scene("raw/other.tif")  # of several scenes, each is looked for on the map
    boxes = [
        shapely.box(*part) for part in ((20, 30, 40, 50), (90, 30, 110, 50), (120, 30, 140, 50))
    ]
    placed = [
        shapely.transform(
            b, lambda p: np.stack([west + turn + p[:, 0] * 1e-4, 10 - p[:, 1] * 1e-4], 1)
        )
        for b in boxes
    ]
    geopandas.GeoDataFrame({"class": list("abc")}, geometry=placed, crs="EPSG:4326").to_file(
        tmp_path / "l.gpkg"
    )
    options = ("--scenes", str(tmp_path / "raw"), "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / "l.gpkg"), *options)
    assert code == 0, said
    labels = geopandas.read_parquet(tmp_path / "out/labels.parquet").sort_values("class")
    edges = np.array([shape.bounds for shape in boxes])
    assert labels[["left", "top", "right", "bottom"]].to_numpy() == pytest.approx(edges, abs=1e-6)
    info = inspect_scene(tmp_path / "raw/a.tif")
    area = area_in_scene(geopandas.GeoSeries([placed[2]], crs="EPSG:4326"), info)
    there = shapely.transform(
        boxes[2], lambda p: np.stack([west + p[:, 0] * 1e-4, 10 - p[:, 1] * 1e-4], 1)
    )
    assert area.symmetric_difference(there).area == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("text", ["names: [a: b", "names: {x: y}", "names: 5", b"\xff\xfe\x00"])
def test_broken_names_of_classes_are_named(
    text: str | bytes,
    tmp_path: Path,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    make_scene("raw/pic.png", crs=None, driver="PNG")
    (tmp_path / "pic.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    options = ("--scenes", str(tmp_path / "raw"), "--gsd", "0.5", "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / "pic.txt"), *options)
    assert (code, "data.yaml: " in said) == (1, True)


def test_a_picture_of_another_size_than_its_labels_say_is_told(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_scene("raw/pic.png", crs=None, driver="PNG")
    (tmp_path / "a.xml").write_text(
        VOC.replace("<object>", "<size><width>420</width><height>300</height></size><object>")
    )
    options = ("--scenes", str(tmp_path / "raw"), "--gsd", "0.5", "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / "a.xml"), *options)
    assert code == 0
    assert "pic.png has 420 x 300 px, but the raster has 210 x 150" in said


def test_names_links_and_folders_that_mislead(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    odd = make_scene("raw/with space, e\u0301 \u8239.tif")
    (tmp_path / "raw/link.tif").symlink_to(odd)
    (tmp_path / "raw/folder.tif").mkdir()
    (tmp_path / "raw/round").symlink_to(tmp_path / "raw")
    for name in (
        ".hidden.tif",
        "__MACOSX/._a.tif",
        "a.tif.ovr",
        "a.tif.aux.xml",
        "Thumbs.db",
        "a.tfw",
    ):
        (tmp_path / "raw" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(b"x")
    (tmp_path / "raw/nowhere.tif").symlink_to(tmp_path / "gone.tif")
    frame = geopandas.GeoDataFrame(
        {"class": [None]}, geometry=[shapely.box(400_050, 4_999_900, 400_080, 4_999_930)]
    )
    frame.set_crs("EPSG:32631").to_file(tmp_path / "labels.gpkg")
    code, said = windhover(monkeypatch, capsys, "inspect", str(tmp_path / "raw"))
    assert code == 0, said
    assert len(said.splitlines()) == 2
    options = ("--scenes", str(odd), "-o", str(tmp_path / "an out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / "labels.gpkg"), *options)
    assert code == 0, said
    assert geopandas.read_parquet(tmp_path / "an out/labels.parquet")["class"].tolist() == [
        "object"
    ]
    for path in (tmp_path / "raw/folder.tif", tmp_path / "raw/nowhere.tif"):
        code, said = windhover(monkeypatch, capsys, "inspect", str(path))
        assert (code, str(path) in said) == (1, True)


def test_names_in_the_labels_match_whatever_way_accents_are_written(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    make_scene("raw/\u00e9.png", crs=None, driver="PNG")
    (tmp_path / "a.csv").write_text(f"{HEAD}\n{BOX}".replace("pic", "e\u0301"), encoding="utf-8")
    options = ("--scenes", str(tmp_path / "raw"), "--gsd", "0.5", "-o", str(tmp_path / "out"))
    code, said = windhover(monkeypatch, capsys, "import", str(tmp_path / "a.csv"), *options)
    assert (code, "1 a" in said) == (0, True)
