"""Two vector files against each other: any CRS, shape and tool; the same figures, or a sentence
that says why not.
"""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import shapely.affinity

from windhover.errors import DataError, MissingFileError, ParameterError
from windhover.evaluation.detections_and_truth import fitted_boxes, load_vector_pair
from windhover.evaluation.evaluate_vectors import (
    VectorRequest,
    evaluate_and_write,
    vector_evaluation_lines,
)
from windhover.evaluation.projected_plane import to_metric_plane

UTM = "EPSG:32631"
EAST, NORTH = 420_000.0, 5_000_000.0


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """60 objects over 3 x 2 km; 50 of them detected a few metres off, 25 false alarms; the area
    that was searched.
    """
    rng = np.random.default_rng(4)
    center = np.c_[rng.uniform(0, 3000, 60), rng.uniform(0, 2000, 60)] + (EAST, NORTH)
    w, h = rng.uniform(20, 60, 60), rng.uniform(15, 40, 60)
    truth = geopandas.GeoDataFrame(
        {"class": "aircraft"}, index=range(60), crs=UTM,
        geometry=shapely.box(*(center - np.c_[w, h] / 2).T, *(center + np.c_[w, h] / 2).T),
    )  # fmt: skip
    near = center[:50] + rng.normal(0, 2, (50, 2))
    far = np.c_[rng.uniform(0, 3000, 25), rng.uniform(0, 2000, 25)] + (EAST, NORTH)
    xy = np.concatenate([near, far])
    found = geopandas.GeoDataFrame(
        {"class": "aircraft", "score": np.r_[rng.beta(6, 2, 50), rng.beta(2, 6, 25)]},
        geometry=shapely.box(xy[:, 0] - 18, xy[:, 1] - 12, xy[:, 0] + 18, xy[:, 1] + 12), crs=UTM,
    )  # fmt: skip
    aoi = geopandas.GeoDataFrame(
        geometry=[shapely.box(EAST - 50, NORTH - 50, EAST + 3050, NORTH + 2050)], crs=UTM
    )
    paths = (tmp_path / "found.gpkg", tmp_path / "truth.geojson", tmp_path / "aoi.gpkg")
    found.to_file(paths[0])
    truth.to_crs(4326).to_file(paths[1])
    aoi.to_file(paths[2])
    return paths


def figures(output: Path) -> dict[str, float]:
    return {
        name: figure["value"] for name, figure in json.loads(output.read_text())["metrics"].items()
    }


def test_it_counts_in_meters_whatever_the_systems(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, aoi = files
    evaluation = evaluate_and_write(VectorRequest(found, truth, aoi, output=tmp_path / "out.json"))
    lines = vector_evaluation_lines(evaluation)
    got = figures(tmp_path / "out.json")
    assert got["recall"] == pytest.approx(50 / 60, abs=0.02)
    assert got["precision"] == pytest.approx(50 / 75, abs=0.03)
    assert got["false_alarms_per_km2"] == pytest.approx(25 / (3.1 * 2.1), rel=0.05)
    assert 0.7 < got["ap"] < 0.86
    assert any(line.startswith("  AP ") and "[" in line for line in lines)
    assert (tmp_path / "out_curve.csv").is_file()
    assert len((tmp_path / "out_scenes.csv").read_text().splitlines()) > 4


def test_another_system_gives_the_same_figures(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, aoi = files
    evaluate_and_write(VectorRequest(found, truth, aoi, output=tmp_path / "a.json"))
    moved = tmp_path / "moved.parquet"
    geopandas.read_file(found).to_crs(3857).to_parquet(moved)
    evaluate_and_write(VectorRequest(moved, truth, aoi, output=tmp_path / "b.json"))
    assert figures(tmp_path / "a.json") == pytest.approx(figures(tmp_path / "b.json"), rel=2e-3)


def test_points_of_another_tool_without_score_and_class(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, _ = files
    points = geopandas.read_file(found)
    points.geometry = points.centroid
    points[["geometry"]].to_file(tmp_path / "points.gpkg")
    evaluation = evaluate_and_write(
        VectorRequest(
            tmp_path / "points.gpkg",
            truth,
            match_by="distance",
            match_value=8.0,
            output=tmp_path / "out.json",
        )
    )
    got = figures(tmp_path / "out.json")
    assert got["recall"] == pytest.approx(50 / 60, abs=0.03)
    assert got["false_alarms_per_km2"] is None
    text = "\n".join(vector_evaluation_lines(evaluation))
    for said in (
        "no column `score`: every detection scores 1",
        "no column `class`",
        "the area searched is not known",
    ):
        assert said in text
    assert "recall at 1 false alarm per km2   undefined" in text


def test_ignored_classes_and_roles_are_free_of_charge(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, aoi = files
    table = geopandas.read_file(truth).to_crs(UTM)
    halves = table.assign(**{"class": np.where(np.arange(60) < 20, "cut", "aircraft")})
    halves.to_file(tmp_path / "halves.gpkg")
    evaluate_and_write(
        VectorRequest(
            found,
            tmp_path / "halves.gpkg",
            aoi,
            ignored_classes=("cut",),
            output=tmp_path / "out.json",
        )
    )
    got = figures(tmp_path / "out.json")
    assert got["recall"] == pytest.approx(30 / 40, abs=0.03)
    assert got["precision"] == pytest.approx(30 / 55, abs=0.03)
    roles = table.assign(role=np.where(np.arange(60) < 20, "ignore", "object"))
    roles.to_file(tmp_path / "roles.gpkg")
    evaluate_and_write(
        VectorRequest(found, tmp_path / "roles.gpkg", aoi, output=tmp_path / "roles.json")
    )
    assert figures(tmp_path / "roles.json") == got


def test_the_area_leaves_out_what_is_outside(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, _ = files
    west = geopandas.GeoDataFrame(
        geometry=[shapely.box(EAST - 50, NORTH - 50, EAST + 1500, NORTH + 2050)], crs=UTM
    )
    west.to_file(tmp_path / "west.gpkg")
    pair = load_vector_pair(found, truth, tmp_path / "west.gpkg")
    assert 0 < len(pair.ground_truth.objects) < 60
    assert (pair.ground_truth.objects["x_m"] <= EAST + 1500.001).all()
    assert pair.ground_truth.scenes["km2"].sum() == pytest.approx(1.55 * 2.1)


def test_scenes_by_name_are_what_is_drawn(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    found, truth, aoi = files
    for path, name in ((found, "f.gpkg"), (truth, "t.gpkg")):
        table = geopandas.read_file(path).to_crs(UTM)
        table.assign(scene=np.where(table.centroid.x < EAST + 1500, "west", "east")).to_file(
            tmp_path / name
        )
    evaluation = evaluate_and_write(VectorRequest(tmp_path / "f.gpkg", tmp_path / "t.gpkg", aoi))
    assert (
        "2 scenes: too few places for an interval (6 at least)"
        in vector_evaluation_lines(evaluation)[1]
    )


def test_ap_by_threshold_is_printed_and_written(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, aoi = files
    evaluation = evaluate_and_write(
        VectorRequest(
            found,
            truth,
            aoi,
            match_by="iou",
            with_ap_by_threshold=True,
            output=tmp_path / "out.json",
        )
    )
    assert sum(line.startswith("  0.") for line in vector_evaluation_lines(evaluation)) == 10
    steps = json.loads((tmp_path / "out.json").read_text())["ap_by_threshold"]
    assert steps[-1]["value"] is None
    assert steps[-1]["ap"] == pytest.approx(np.mean([step["ap"] for step in steps[:-1]]))


def test_files_that_cannot_be_compared_are_errors(
    files: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found, truth, _ = files
    with pytest.raises(MissingFileError, match=r"nothing\.gpkg: no such file"):
        evaluate_and_write(VectorRequest(tmp_path / "nothing.gpkg", truth))
    with pytest.raises(ParameterError, match="--match must be one of size, distance"):
        evaluate_and_write(VectorRequest(found, truth, match_by="near"))
    bare = geopandas.read_file(found).set_crs(None, allow_override=True)
    bare.to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(
        DataError, match=r"bare\.parquet: has no coordinate system and another file has one"
    ):
        evaluate_and_write(VectorRequest(tmp_path / "bare.parquet", truth))
    far = geopandas.GeoDataFrame(geometry=[shapely.Point(100, 10)], crs=4326)
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(DataError, match="degrees of longitude"):
        evaluate_and_write(VectorRequest(tmp_path / "far.gpkg", truth))
    words = geopandas.read_file(found).assign(score="high")
    words.to_file(tmp_path / "words.gpkg")
    with pytest.raises(DataError, match="75 values of `score` are no numbers"):
        evaluate_and_write(VectorRequest(tmp_path / "words.gpkg", truth))


def test_local_grids_are_meters(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    found, truth, _ = files
    for path, name in ((found, "f.parquet"), (truth, "t.parquet")):
        geopandas.read_file(path).to_crs(UTM).set_crs(None, allow_override=True).to_parquet(
            tmp_path / name
        )
    evaluate_and_write(
        VectorRequest(tmp_path / "f.parquet", tmp_path / "t.parquet", output=tmp_path / "out.json")
    )
    assert figures(tmp_path / "out.json")["recall"] == pytest.approx(50 / 60, abs=0.03)


def test_boxes_that_fit_every_shape() -> None:
    turned = shapely.affinity.rotate(shapely.box(0, 0, 40, 10), 30)
    diamond = shapely.Polygon([(0, 0), (4, 3), (0, 6), (-4, 3)])  # four corners, and no box
    shapes = [
        turned,
        shapely.box(10, 10, 12, 16),
        diamond,
        shapely.Point(3, 4),
        shapely.LineString([(0, 0), (6, 8)]),
    ]
    boxes = fitted_boxes(shapes)
    sides = boxes.longer_side
    assert boxes.centers_xy == pytest.approx(np.array([[20, 5], [11, 13], [0, 3], [3, 4], [3, 4]]))
    assert boxes.angles_rad is not None
    along_40_m = boxes.angles_rad[0] + np.pi / 2 * (boxes.sizes_wh[0].argmax() == 1)
    assert np.degrees(along_40_m) % 180 == pytest.approx(30)
    assert sides[:2] == pytest.approx([40, 6])
    fitted = shapely.get_coordinates(shapely.oriented_envelope(diamond))
    assert sides[2] == pytest.approx(np.hypot(*np.diff(fitted, axis=0).T).max())
    assert np.isnan(sides[3:]).all()


@pytest.mark.parametrize(
    ("crs", "lonlat", "plane"),
    [
        (3413, (-40.0, 89.2), "a plane around the pole"),  # true at 70 degrees, 3 % off here
        (3031, (40.0, -78.0), "UTM zone 37S"),
        (2154, (15.0, 63.0), "UTM zone 33N"),  # of France, and the ground is in Sweden
        (32631, (16.0, 50.0), "UTM zone 33N"),  # two zones away
    ],
)
def test_a_plane_that_is_not_true_to_scale_is_not_taken(
    tmp_path: Path, crs: int, lonlat: tuple[float, float], plane: str
) -> None:
    center = geopandas.points_from_xy([lonlat[0]], [lonlat[1]], crs=4326)
    true = f"+proj=laea +lon_0={lonlat[0]} +lat_0={lonlat[1]} +units=m"
    boxes = [shapely.box(0, 0, 400, 300), shapely.box(3000, 100, 3400, 400)]
    table = geopandas.GeoDataFrame({"score": [0.9, 0.8]}, geometry=boxes, crs=true)
    area = geopandas.GeoDataFrame(geometry=[shapely.box(-500, -500, 4500, 1500)], crs=true)
    tables = [table.to_crs(crs), table.to_crs(crs), area.to_crs(crs)]
    assert tables[0].geometry.distance(center.to_crs(crs)[0]).max() < 5000
    moved, notes = to_metric_plane(tables, [Path(name) for name in ("a.gpkg", "b.gpkg", "c.gpkg")])
    assert [one.geometry.area.tolist() for one in moved[:2]] == [
        pytest.approx([120_000.0] * 2, rel=0.005)
    ] * 2
    assert moved[2].geometry.area[0] == pytest.approx(1e7, rel=0.005)
    assert plane in notes[-1]


def test_ground_too_wide_for_a_plane_is_told_where_its_own_is_off() -> None:
    lon = np.linspace(-10.0, 10.0, 401)
    points = geopandas.points_from_xy(lon, np.full(len(lon), 82.0), crs=4326).to_crs(3413)
    table = geopandas.GeoDataFrame({"score": 0.5}, geometry=points, index=range(len(lon)))
    _, notes = to_metric_plane([table, table], [Path("a.gpkg"), Path("b.gpkg")])
    assert notes[0].startswith("compared in a plane around the pole")
    low = geopandas.points_from_xy(lon, np.full(len(lon), 55.0), crs=4326).to_crs(3413)
    table = table.set_geometry(low)
    moved, notes = to_metric_plane([table, table], [Path("a.gpkg"), Path("b.gpkg")])
    assert moved[0].crs == table.crs
    assert "more than 1% off those on this ground" in notes[0]
