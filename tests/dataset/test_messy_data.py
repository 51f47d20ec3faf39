"""From messy folders to a catalog: nothing is placed, left out or divided without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from conftest import MakeScene
from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.dataset.export_labels import write_geojson
from windhover.dataset.spatial_blocks import BlockOrigin, move_to_blocks
from windhover.errors import DataError, FormatError, ParameterError
from windhover.geometry.windows import Window
from windhover.params import check_params
from windhover.params.scenes import ScenesParams

ALL_IN_TRAIN = [1.0, 0.0, 0.0]
CSV_HEAD = "image,xmin,ymin,xmax,ymax,class\n"


def catalog_of(tmp_path: Path, **changes: Any) -> Catalog:
    out = tmp_path / "made"
    out.mkdir(exist_ok=True)
    values = {"raw": str(tmp_path / "raw"), "groups": None, "split_fractions": ALL_IN_TRAIN}
    return build_catalog(ScenesParams(**(values | changes)), out, out)


def notes_of(catalog: Catalog) -> str:
    return "\n".join(catalog.report.notes)


def test_links_are_entered_and_told(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("store/far.tif")
    make_scene("raw/near.tif", origin=(6e5, 5e6))
    (tmp_path / "raw/linked").symlink_to(tmp_path / "store")
    (tmp_path / "raw/linked/back").symlink_to(tmp_path / "raw")
    (tmp_path / "raw/labels.csv").write_text(
        CSV_HEAD + "linked/far.tif,1,2,30,40,a\nnear,5,6,30,40,a\n"
    )
    catalog = catalog_of(tmp_path)
    assert sorted(catalog.labels["scene"]) == ["far", "near"]
    assert notes_of(catalog).count("linked/back: is a link to a folder that is read anyway") == 1


def test_label_files_and_names_without_a_raster_are_told(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/images/1.tif")
    for name, text in (("1", "0 0.5 0.5 0.1 0.1"), ("2", "0 0.5 0.5 0.1 0.1\n" * 3), ("3", "")):
        (tmp_path / "raw/labels").mkdir(exist_ok=True)
        (tmp_path / f"raw/labels/{name}.txt").write_text(text)
    catalog = catalog_of(tmp_path)
    assert "2 label files of rasters that are not there" in notes_of(catalog)
    assert catalog.report.dropped["of an image that is not there"] == 3
    (tmp_path / "raw/all.csv").write_text(
        CSV_HEAD + "1.tif,1,2,30,40,a\nelse/1.tif,1,2,30,40,a\n9.tif,1,2,30,40,a\n"
    )
    catalog = catalog_of(tmp_path, labels="all.csv")
    assert len(catalog.labels) == 1
    assert "no raster for 1 image that it names ('9.tif')" in notes_of(catalog)
    assert "'else/1.tif' may be 1" in notes_of(catalog)
    assert catalog.report.dropped["of an image name that several rasters have"] == 1


def test_a_raster_with_two_label_files_is_told(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif")
    (tmp_path / "raw/q.csv").write_text(CSV_HEAD + "q.tif,1,2,30,40,a\n")
    (tmp_path / "raw/q.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    catalog = catalog_of(tmp_path, labels="q.*")
    assert "1 raster with several label files, all of which are taken (q: " in notes_of(catalog)


def test_some_boxes_below_a_px_are_told(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif")
    (tmp_path / "raw/labels.csv").write_text(
        CSV_HEAD + "q,1,2,30,40,a\nq,0.1,0.2,0.3,0.4,a\nq,50,50,50,50,a\n"
    )
    assert "1 boxes are smaller than one px" in notes_of(catalog_of(tmp_path))
    (tmp_path / "raw/labels.csv").write_text(CSV_HEAD + "q,0.1,0.2,0.1,0.2,a\nq,1,1,1,1,a\n")
    with pytest.raises(DataError, match=r"all boxes are smaller than one px.* multiply them"):
        catalog_of(tmp_path)


def test_absurd_shapes_are_counted(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif", origin=(4e5, 5e6))
    sound = shapely.box(4e5 + 20, 5e6 - 40, 4e5 + 40, 5e6 - 20)
    stray = shapely.Polygon([(4e5 - 9e5, 5e6 - 60), (4e5 + 9.001e5, 5e6 - 60), (4e5, 5e6 - 90)])
    frame = geopandas.GeoDataFrame({"class": ["a", "a"]}, geometry=[sound, stray], crs=32631)
    frame.to_file(tmp_path / "raw/q.gpkg")
    catalog = catalog_of(tmp_path)
    assert len(catalog.labels) == 1
    assert catalog.report.dropped["not finite, or much larger than the scene"] == 1


def test_degrees_that_have_no_place_in_the_scenes_system_are_counted(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/q.tif", origin=(4e5, 5e6))
    sound = geopandas.GeoSeries(
        [shapely.box(4e5 + 20, 5e6 - 40, 4e5 + 40, 5e6 - 20)], crs=32631
    ).to_crs(4326)
    shapes = [sound.iloc[0], shapely.box(-1e30, 40, 1e30, 45), sound.iloc[0].buffer(1e-5)]
    frame = geopandas.GeoDataFrame({"class": ["a"] * 3}, geometry=shapes, crs=4326)
    frame.to_file(tmp_path / "raw/q.gpkg")
    assert len(catalog_of(tmp_path).labels) == 2


def test_labels_without_a_system_are_named(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif")
    geopandas.GeoDataFrame({"class": ["a"]}, geometry=[shapely.Point(1, 2)]).to_file(
        tmp_path / "raw/q.shp"
    )
    with pytest.raises(DataError, match=r"q\.shp has no coordinate system but .*q\.tif has one"):
        catalog_of(tmp_path)


def test_areas_of_blocks_are_clipped_to_them() -> None:
    areas = geopandas.GeoDataFrame(
        {"scene": ["s", "s"], "role": ["complete", "ignore"], "split": [None, None]},
        geometry=[shapely.box(0, 0, 150, 100), shapely.box(350, 0, 400, 50)],
    )
    origins = {
        "s~r0c0": BlockOrigin("s", Window(0, 0, 100, 100)),
        "s~r0c1": BlockOrigin("s", Window(0, 120, 100, 100)),
        "s~r0c2": BlockOrigin("s", Window(0, 300, 100, 100)),
    }
    moved, n_lost = move_to_blocks(areas, origins)
    assert n_lost == 0
    found = [(row.scene, row.role, row.geometry.bounds) for row in moved.itertuples()]
    assert found == [
        ("s~r0c0", "complete", (0, 0, 100, 100)),
        ("s~r0c1", "complete", (0, 0, 30, 100)),
        ("s~r0c2", "ignore", (50, 0, 100, 50)),
        ("s~r0c2", "positive_only", (0, 0, 100, 100)),  # no background is known there
    ]


def write_areas(path: Path, shapes: list[Any], role: str = "complete") -> None:
    geopandas.GeoDataFrame({"role": [role] * len(shapes)}, geometry=shapes, crs=32631).to_file(path)


def test_areas_may_cross_themselves_and_must_be_polygons(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/q.tif", origin=(4e5, 5e6))
    (tmp_path / "raw/q.csv").write_text(CSV_HEAD + "q,30,30,60,60,a\n")
    left, top = 4e5, 5e6
    crossed = shapely.Polygon(
        [(left, top), (left + 90, top - 90), (left + 90, top), (left, top - 90)]
    )
    shapes = [crossed, shapely.box(left + 20, top - 70, left + 80, top - 10), crossed.buffer(0)]
    write_areas(tmp_path / "raw/areas.gpkg", shapes, " Complete")
    catalog = catalog_of(tmp_path, areas="areas.gpkg", labels="q.csv")
    assert set(catalog.areas["role"]) == {"complete"}
    assert catalog.areas.geometry.geom_type.isin(["Polygon", "MultiPolygon"]).all()
    line = shapely.LineString([(left, top), (left + 9, top - 9)])
    write_areas(tmp_path / "raw/lines.gpkg", [line])
    with pytest.raises(FormatError, match=r"lines\.gpkg: area 1 is a LineString"):
        catalog_of(tmp_path, areas="lines.gpkg", labels="q.csv")
    flipped = shapely.transform(shapes[1], lambda xy: xy[:, ::-1])
    write_areas(tmp_path / "raw/flipped.gpkg", [flipped])
    with pytest.raises(DataError, match="touch no scene, but would with x and y swapped"):
        catalog_of(tmp_path, areas="flipped.gpkg", labels="q.csv")


def test_what_guard_strips_and_splits_cost_is_told(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif", shape_hw=(200, 600), origin=(4e5, 5e6))
    rows = "".join(f"q,{col},90,{col + 20},110,{name}\n" for col, name in CLASS_OF_COL.items())
    (tmp_path / "raw/q.csv").write_text(CSV_HEAD + rows)
    blocks = {"spatial_block_m": 250.0, "guard_m": 80.0, "labels": "q.csv"}
    catalog = catalog_of(tmp_path, split_fractions=[0.34, 0.33, 0.33], **blocks)
    assert "leave out 1 of 4 labels (25%): 1 b; larger blocks" in notes_of(catalog)
    assert "hold no whole window" not in notes_of(catalog)
    lacking = [note for note in catalog.report.notes if "has no object of the classes" in note]
    assert len(lacking) == 3


def test_blocks_without_a_whole_window_are_told(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif", shape_hw=(200, 600), origin=(4e5, 5e6))
    (tmp_path / "raw/q.csv").write_text(f"{CSV_HEAD}q,10,90,30,110,a\nq,300,90,320,110,a\n")
    blocks = {"spatial_block_m": 140.0, "guard_m": 80.0, "labels": "q.csv"}
    catalog = catalog_of(tmp_path, split_fractions=[0.34, 0.33, 0.33], **blocks)
    (note,) = [note for note in catalog.report.notes if "hold no whole window" in note]
    assert "such as q~r0c" in note
    assert "80 m" in note


CLASS_OF_COL = {40: "a", 190: "b", 300: "b", 500: "c"}  # 190: in a strip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"split_fractions": [70.0, 10.0, 20.0]},
            r"`scenes\.split_fractions`: .*not percent: write \[0\.7, 0\.1, 0\.2\]",
        ),
        ({"split_fractions": [0.5, 0.1, 0.1]}, r"`scenes\.split_fractions`: .* not to 0\.7"),
        (
            {"spatial_block_m": 90.0, "guard_m": 100.0},
            r"`scenes`: .*spatial_block_m must be larger than guard_m \(100 m\)",
        ),
    ],
)
def test_wrong_splits_have_a_sentence_of_their_own(changes: Any, sentence: str) -> None:
    section = json.loads(ScenesParams().model_dump_json()) | changes
    with pytest.raises(ParameterError, match=sentence) as caught:
        check_params("scenes", ScenesParams, section)
    assert "native_gsd_m" not in str(caught.value)  # not the whole section


def test_labels_across_the_antimeridian_are_cut(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/q.tif", crs="EPSG:32701", origin=(166_021.4 - 100, 1e7 - 1e5))
    (tmp_path / "raw/q.csv").write_text(CSV_HEAD + "q,20,20,140,90,a\nq,5,5,5,5,a\n")
    catalog = catalog_of(tmp_path)
    write_geojson(catalog, tmp_path / "out.geojson")
    document = json.loads((tmp_path / "out.geojson").read_text())
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]
    point, box = sorted(shapes, key=lambda shape: shape.area)
    assert point.geom_type != "MultiPolygon"
    assert box.geom_type == "MultiPolygon"
    assert all(part.exterior.is_ccw for part in box.geoms)
    assert all(np.ptp(np.array(part.exterior.coords)[:, 0]) < 0.01 for part in box.geoms)


def test_spellings_of_one_class_and_labels_without_a_class_are_told(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/a.tif")
    rows = ["Small-Boat", "small  boat", "tug", ""]
    text = "".join(f"a.tif,{5 + k},6,{30 + k},40,{name}\n" for k, name in enumerate(rows))
    (tmp_path / "raw/labels.csv").write_text(CSV_HEAD + text)
    catalog = catalog_of(tmp_path)
    assert sorted(catalog.labels["class"]) == ["Small-Boat", "object", "small boat", "tug"]
    assert "the classes 'Small-Boat', 'small boat' differ by case" in notes_of(catalog)
    assert "the class 'object', which labels without a class get, has 1 label:" in notes_of(catalog)
    names = {"Small-Boat": "boat", "small boat": "boat", "tug": "tug", "object": "boat"}
    one_name = notes_of(catalog_of(tmp_path, classes=names))
    assert "differ by case" not in one_name
    assert "without a class get" not in one_name


CORNERS = [(40, 90, 55, 100), (110, 30, 125, 42), (160, 95, 170, 110), (60, 20, 75, 33)]


@pytest.mark.parametrize("kind", ["coco", "csv", "yolo"])
def test_corners_in_place_of_sizes_are_refused(
    tmp_path: Path, make_scene: MakeScene, kind: str
) -> None:
    make_scene("raw/a.tif", shape_hw=(120, 180))
    if kind == "coco":
        annotations = [{"image_id": 1, "category_id": 1, "bbox": box} for box in CORNERS]
        images = [{"id": 1, "file_name": "a.tif"}]
        categories = [{"id": 1, "name": "boat"}]
        document = {"images": images, "categories": categories, "annotations": annotations}
        (tmp_path / "raw/coco.json").write_text(json.dumps(document))
    elif kind == "csv":
        rows = "".join(f"a,{','.join(map(str, box))},boat\n" for box in CORNERS)
        (tmp_path / "raw/labels.csv").write_text("image,x,y,w,h,class\n" + rows)
    else:
        rows = "".join(f"0 {a / 180} {b / 120} {c / 180} {d / 120}\n" for a, b, c, d in CORNERS)
        (tmp_path / "raw/a.txt").write_text(rows)
    with pytest.raises(DataError, match=r"of 4 boxes leave their rasters .*fit as two corners"):
        catalog_of(tmp_path)


def test_large_objects_at_the_border_are_no_corners(tmp_path: Path, make_scene: MakeScene) -> None:
    make_scene("raw/a.tif", shape_hw=(120, 180))
    boxes = [(-9, -5, 60, 50), (150, 90, 40, 40), (-9, 60, 50, 70), (20, 20, 15, 12)]
    rows = "".join(f"a,{','.join(map(str, box))},boat\n" for box in boxes)
    (tmp_path / "raw/labels.csv").write_text("image,x,y,w,h,class\n" + rows)
    assert len(catalog_of(tmp_path).labels) == 4
