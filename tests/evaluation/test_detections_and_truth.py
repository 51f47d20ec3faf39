"""Files as other tools leave them: crossed outlines, nothing at all, nothing in common, CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.errors import DataError, FormatError
from windhover.evaluation.evaluate_vectors import (
    VectorRequest,
    evaluate_and_write,
    evaluate_vectors,
)
from windhover.geometry.antimeridian import split_small_polygon

UTM = "EPSG:32633"
BOXES = [shapely.box(x, 5_000_000, x + 20, 5_000_020) for x in range(500_000, 502_000, 100)]


def layer(path: Path, shapes: list[Any], crs: Any = UTM, **columns: Any) -> Path:
    table = geopandas.GeoDataFrame(columns, index=range(len(shapes)), geometry=shapes, crs=crs)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path)
    return path


def notes_of(found: Path, truth: Path, **options: Any) -> str:
    return " ".join(evaluate_vectors(VectorRequest(found, truth, **options)).notes)


def test_crossed_outlines_are_made_valid_and_counted(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    crossed = [shapely.affinity.translate(bow, box.bounds[0], box.bounds[1]) for box in BOXES]
    found = layer(tmp_path / "d.parquet", crossed[:5] + BOXES[5:], score=np.linspace(0.2, 0.9, 20))
    truth = layer(tmp_path / "t.parquet", BOXES)
    request = VectorRequest(found, truth, match_by="oriented_iou", match_value=0.4)
    evaluation = evaluate_vectors(request)
    assert evaluation.metrics.estimates["recall"].value == 1.0
    assert "d.parquet: 5 outlines cross themselves: made valid." in evaluation.notes


def test_nothing_found_where_nothing_is(tmp_path: Path) -> None:
    found = layer(tmp_path / "d.parquet", [], score=np.zeros(0))
    truth = layer(tmp_path / "t.parquet", [])
    area = layer(tmp_path / "a.parquet", [shapely.box(499_000, 4_999_000, 503_000, 5_001_000)])
    metrics = evaluate_vectors(VectorRequest(found, truth, area)).metrics
    assert metrics.estimates["ap"].value is None
    assert metrics.estimates["false_alarms_per_km2"].value == 0.0
    lines = layer(tmp_path / "l.parquet", [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(DataError, match=r"l\.parquet: holds no polygon"):
        evaluate_and_write(VectorRequest(found, truth, lines))


def test_files_that_never_meet_say_why(tmp_path: Path) -> None:
    score = np.linspace(0.2, 0.9, 20)
    ships = layer(tmp_path / "t.parquet", BOXES, **{"class": "ship", "scene": "a"})
    upper = layer(tmp_path / "d.parquet", BOXES, score=score, **{"class": "Ship", "scene": "a"})
    assert "no class is in both files: the detections have `Ship`, the" in notes_of(upper, ships)
    suffix = layer(
        tmp_path / "s.parquet", BOXES, score=score, **{"class": "ship", "scene": "a.tif"}
    )
    assert "they differ in capitals, blanks or a suffix alone" in notes_of(suffix, ships)
    far = [shapely.affinity.translate(box, 30_000, 0) for box in BOXES]
    assert "have no ground in common" in notes_of(layer(tmp_path / "f.parquet", far), ships)
    lonlat = geopandas.GeoSeries(BOXES, crs=UTM).to_crs(4326)
    swapped = [shapely.transform(box, lambda xy: xy[:, ::-1]) for box in lonlat]
    told = notes_of(upper, layer(tmp_path / "x.parquet", swapped, crs=4326))
    assert "with x and y of one of them swapped they would meet" in told


def test_curves_of_a_csv_and_folders_are_one_sentence(tmp_path: Path) -> None:
    truth = layer(tmp_path / "t.gpkg", [shapely.box(0, 0, 9, 9)])
    wkt = "CURVEPOLYGON (CIRCULARSTRING (0 0, 2 2, 4 0, 2 -2, 0 0))"
    (tmp_path / "f.csv").write_text(f'score,geometry\n0.5,"{wkt}"\n')
    with pytest.raises(FormatError, match=r"f\.csv: a CSV file needs a column `geometry`"):
        notes_of(tmp_path / "f.csv", truth)
    with pytest.raises(FormatError, match="is a folder"):
        notes_of(tmp_path, truth)
    (tmp_path / "city.gdb").mkdir()
    with pytest.raises(FormatError, match=r"city\.gdb: cannot be read as a layer"):
        notes_of(tmp_path / "city.gdb", truth)


def test_a_csv_of_wkt_is_read(tmp_path: Path) -> None:
    truth = layer(tmp_path / "t.parquet", BOXES)
    table = pd.DataFrame({"score": 0.5, "geometry": [box.wkt for box in BOXES]})
    table.to_csv(tmp_path / "d.csv", index=False)
    request = VectorRequest(tmp_path / "d.csv", truth)
    assert evaluate_vectors(request).metrics.estimates["recall"].value == 1.0
    assert "d.csv names no coordinate system: taken as" in notes_of(tmp_path / "d.csv", truth)
    table.drop(columns="geometry").to_csv(tmp_path / "e.csv", index=False)
    with pytest.raises(FormatError, match="needs a column `geometry` with shapes as WKT"):
        evaluate_and_write(VectorRequest(tmp_path / "e.csv", truth))


def test_a_map_of_several_systems_is_compared_in_the_zone_of_each_region(tmp_path: Path) -> None:
    other = geopandas.GeoSeries(BOXES, crs="EPSG:32618").to_crs(4326)
    here = geopandas.GeoSeries(BOXES, crs=UTM).to_crs(4326)
    truth = layer(tmp_path / "t.parquet", [*here, *other], crs=4326)
    found = layer(tmp_path / "d.parquet", [*here, *other[:10]], crs=4326)
    evaluation = evaluate_vectors(VectorRequest(found, truth))
    assert evaluation.metrics.estimates["recall"].value == pytest.approx(30 / 40)
    assert evaluation.metrics.estimates["precision"].value == 1.0


def test_numbers_of_classes_with_a_gap_are_whole(tmp_path: Path) -> None:
    gap = pd.array([1] * 19 + [None], dtype="Int64")
    truth = layer(tmp_path / "t.gpkg", BOXES, **{"class": gap})
    found = layer(tmp_path / "d.gpkg", BOXES, **{"class": [1] * 20})
    evaluation = evaluate_vectors(VectorRequest(found, truth))
    assert set(evaluation.metrics.per_class) == {"1", ""}
    assert evaluation.metrics.per_class["1"]["recall"].value == 1.0


@pytest.mark.parametrize("crs", ["+proj=merc +datum=WGS84 +units=m", "EPSG:4087", "EPSG:3857"])
def test_systems_that_stretch_the_ground_are_compared_in_utm(tmp_path: Path, crs: str) -> None:
    moved = geopandas.GeoSeries(BOXES, crs=UTM).to_crs(crs)
    off = geopandas.GeoSeries([shapely.affinity.translate(b, 9, 0) for b in BOXES], crs=UTM)
    found = layer(tmp_path / "d.parquet", list(off.to_crs(crs)), crs=crs)
    truth = layer(tmp_path / "t.parquet", list(moved), crs=crs)
    request = VectorRequest(found, truth, match_by="distance", match_value=10.0)
    assert evaluate_vectors(request).metrics.estimates["recall"].value == 1.0


@pytest.mark.parametrize(
    ("crs", "corner"),
    [
        ("EPSG:32701", (181_400, 8_000_000)),  # the antimeridian is between the boxes
        ("EPSG:3832", (3_338_700, -500_000)),
        ("EPSG:3031", (-1_000, -15)),  # the south pole, too
    ],
)
def test_ground_across_the_antimeridian_is_compared_as_any_other(
    tmp_path: Path, crs: str, corner: tuple[int, int]
) -> None:
    x, y = corner
    shapes = [shapely.box(x + step, y, x + step + 21, y + 20) for step in range(0, 2_000, 100)]
    boxes = geopandas.GeoSeries(shapes, crs=crs)
    lonlat = boxes.to_crs(4326)
    split = [split_small_polygon(shape) for shape in lonlat]
    assert {shape.bounds[0] > 0 for shape in split} == {True, False}
    turned = [shapely.affinity.translate(shape, 360) for shape in split[:10]] + split[10:]
    found = layer(tmp_path / "d.gpkg", split, 4326, score=np.linspace(0.2, 0.9, 20))
    for name, truth in {"own": list(boxes), "split": split, "turned": turned}.items():
        file = layer(tmp_path / f"{name}.gpkg", truth, crs if name == "own" else 4326)
        metrics = evaluate_vectors(VectorRequest(found, file)).metrics
        assert metrics.estimates["ap"].value == 1.0, name


def test_what_is_left_out_or_misnamed_is_told(tmp_path: Path) -> None:
    found = layer(tmp_path / "d.gpkg", [None, *BOXES[1:]], score=np.linspace(0.2, 0.9, 20))
    truth = layer(tmp_path / "t.parquet", BOXES, **{"class": "ship"})
    notes = notes_of(found, truth, ignored_classes=("shipp", "ship"))
    assert "d.gpkg: 1 rows have no shape: left out." in notes
    assert "no object is of the ignored class `shipp`; the ground truth has `ship`." in notes
    assert "ignored class" not in notes_of(found, truth, ignored_classes=("ship",))


def test_map_tiles_hold_objects_twice_and_are_refused(tmp_path: Path) -> None:
    tiles = tmp_path / "d.pmtiles"
    tiles.write_bytes(b"PMTiles")
    with pytest.raises(FormatError, match=r"d\.pmtiles: is cut into map tiles"):
        evaluate_and_write(VectorRequest(tiles, layer(tmp_path / "t.parquet", BOXES)))
