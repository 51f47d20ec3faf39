"""The rule by which two vector files are matched goes with the sizes of their objects."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from windhover.errors import ParameterError
from windhover.evaluation.evaluate_vectors import VectorRequest, evaluate_vectors

UTM = "EPSG:32631"
ORIGIN = np.array([420_000.0, 5_000_000.0])
N_OBJECTS = 12


def write_pair(
    folder: Path, side_m: float, *, truth_are_points: bool, found_are_points: bool
) -> tuple[Path, Path]:
    """Objects of `side_m` x 0.6 `side_m`; detections 0.3 sides off, the last one 0.8 sides."""
    rng = np.random.default_rng(3)
    centers = ORIGIN + side_m * np.c_[np.arange(N_OBJECTS) * 5.0, rng.uniform(0, 9, N_OBJECTS)]
    off = np.full((N_OBJECTS, 1), 0.3 * side_m)
    off[-1] = 0.8 * side_m
    paths = (folder / "found.gpkg", folder / "truth.gpkg")
    for path, xy, are_points in (
        (paths[0], centers + off * [1, 0], found_are_points),
        (paths[1], centers, truth_are_points),
    ):
        half = np.array([side_m / 2, 0.3 * side_m])
        shapes = shapely.box(*(xy - half).T, *(xy + half).T)
        if are_points:
            shapes = shapely.points(xy)
        geopandas.GeoDataFrame(
            {"class": "tree"}, index=range(N_OBJECTS), geometry=shapes, crs=UTM
        ).to_file(path)
    return paths


def recall_of(found: Path, truth: Path, **options: object) -> tuple[float, str]:
    request = VectorRequest(found, truth, **options)  # type: ignore[arg-type]
    evaluation = evaluate_vectors(request)
    return evaluation.metrics.estimates["recall"].value, "\n".join(evaluation.notes)


@pytest.mark.parametrize("side_m", [0.2, 4.0, 36.0, 250.0])
@pytest.mark.parametrize("match_by", ["size", "distance"])
@pytest.mark.parametrize(("truth_are_points", "found_are_points"), [(0, 0), (0, 1), (1, 0)])
def test_trees_aircraft_and_ships_have_the_same_figures(
    tmp_path: Path, side_m: float, match_by: str, truth_are_points: bool, found_are_points: bool
) -> None:
    found, truth = write_pair(
        tmp_path, side_m, truth_are_points=truth_are_points, found_are_points=found_are_points
    )
    recall, notes = recall_of(found, truth, match_by=match_by)
    assert recall == pytest.approx(11 / 12)
    assert f"{side_m / 2:.3g} m" in notes
    of = "detections" if truth_are_points else "objects"
    assert f"0.5 of the median longer side of the {of}, {side_m:.3g} m" in notes


def test_a_stated_distance_is_absolute(tmp_path: Path) -> None:
    found, truth = write_pair(tmp_path, 36.0, truth_are_points=True, found_are_points=True)
    assert recall_of(found, truth, match_by="distance", match_value=10.0)[0] == 0
    assert recall_of(found, truth, match_by="distance", match_value=30.0)[0] == 1
    assert recall_of(found, truth, match_by="metres", match_value=11.0)[0] == pytest.approx(11 / 12)


@pytest.mark.parametrize("match_by", ["size", "distance"])
def test_points_against_points_need_a_distance(tmp_path: Path, match_by: str) -> None:
    found, truth = write_pair(tmp_path, 36.0, truth_are_points=True, found_are_points=True)
    with pytest.raises(
        ParameterError,
        match=r"neither the objects nor the detections have a size.*--match distance",
    ):
        recall_of(found, truth, match_by=match_by)


@pytest.mark.parametrize("match_by", ["size", "distance", "iou"])
def test_nothing_found_needs_no_distance(tmp_path: Path, match_by: str) -> None:
    found, truth = write_pair(tmp_path, 36.0, truth_are_points=True, found_are_points=True)
    geopandas.read_file(found).iloc[:0].to_file(tmp_path / "none.gpkg")
    assert recall_of(tmp_path / "none.gpkg", truth, match_by=match_by)[0] == 0
