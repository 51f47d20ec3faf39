"""Ground truth in metres: non-square pixels, ignored labels, and areas without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import geopandas
import numpy as np
import pandas as pd
import pytest
from shapely import Polygon, box

from windhover.dataset.catalog import Catalog, SceneRow, empty_areas
from windhover.dataset.catalog_report import CatalogReport
from windhover.dataset.catalog_tables import AREA_COLUMNS, LABEL_COLUMNS
from windhover.metrics.ground_truth import ground_truth_of


def label(
    col: float,
    row: float,
    w: float,
    h: float,
    role: str = "object",
    geometry: Polygon | None = None,
) -> dict:
    edges = (col - w / 2, row - h / 2, col + w / 2, row + h / 2)
    named = dict(zip(("left", "top", "right", "bottom"), edges, strict=True))
    return {
        "scene": "a",
        "class": "jet",
        "role": role,
        "col": col,
        "row": row,
        **named,
        "length_m": np.nan,
        "width_m": np.nan,
        "source": "",
        "geometry": geometry or box(*edges),
    }


def catalog(
    labels: list[dict], areas: Sequence[tuple[str, Polygon]] = (), labeled: bool = True
) -> Catalog:
    scene = SceneRow(
        scene="a",
        path="a.tif",
        width_px=200,
        height_px=100,
        bands=("pan",),
        dtype="uint8",
        nodata=None,
        crs=None,
        transform=(0.5, 0.0, 0.0, 0.0, -2.0, 0.0),
        gsd_x_m=0.5,
        gsd_y_m=2.0,
        place="p",
        split="test",
        labeled=labeled,
        footprint_wkt_4326=None,
    )
    scenes = pd.DataFrame([asdict(scene)])
    table = geopandas.GeoDataFrame(
        pd.DataFrame(labels, columns=list(LABEL_COLUMNS)), geometry="geometry"
    )
    rows = [("a", role, None, shape) for role, shape in areas]
    zones = (
        geopandas.GeoDataFrame(rows, columns=list(AREA_COLUMNS), geometry="geometry")
        if rows
        else empty_areas()
    )
    return Catalog(scenes, table, zones, CatalogReport(training_gsd_m=1.0))


def test_px_become_meters_axis_by_axis() -> None:
    truth = ground_truth_of(catalog([label(100, 20, 40, 8)]))
    one = truth.objects.iloc[0]
    assert (one["x_m"], one["y_m"], one["longer_m"]) == (50.0, 40.0, 20.0)
    assert one["geometry"].bounds == (40.0, 32.0, 60.0, 48.0)
    assert truth.scenes["km2"].tolist() == [pytest.approx(100 * 200 / 1e6)]


def test_polygons_keep_their_outline_and_points_have_no_size() -> None:
    diamond = Polygon([(100, 16), (120, 20), (100, 24), (80, 20)])
    truth = ground_truth_of(catalog([label(100, 20, 40, 8, geometry=diamond), label(10, 10, 0, 0)]))
    assert truth.objects["geometry"].iloc[0].area == pytest.approx(diamond.area)
    assert np.isnan(truth.objects["longer_m"].iloc[1])


def test_ignored_labels_are_ignore_regions_not_objects() -> None:
    truth = ground_truth_of(catalog([label(100, 20, 40, 8), label(30, 50, 10, 10, role="ignore")]))
    assert len(truth.objects) == 1
    assert [shape.bounds for shape in truth.ignored["geometry"]] == [(12.5, 90.0, 17.5, 110.0)]


def test_ignore_areas_hold_no_objects_and_no_km2() -> None:
    truth = ground_truth_of(
        catalog([label(100, 20, 40, 8), label(150, 80, 4, 4)], [("ignore", box(0, 0, 120, 100))])
    )
    assert truth.objects["x_m"].tolist() == [75.0]
    assert truth.scenes["km2"].iloc[0] == pytest.approx(80 * 0.5 * 200 / 1e6)


def test_outside_complete_areas_nothing_counts() -> None:
    truth = ground_truth_of(
        catalog(
            [label(100, 20, 40, 8), label(150, 80, 4, 4)], [("complete", box(140, 70, 180, 90))]
        )
    )
    assert truth.objects["x_m"].tolist() == [75.0]
    assert truth.scenes["km2"].iloc[0] == pytest.approx(20 * 40 / 1e6)


def test_in_positive_only_areas_objects_count_and_false_alarms_do_not() -> None:
    truth = ground_truth_of(
        catalog([label(100, 20, 40, 8)], [("positive_only", box(0, 0, 200, 100))])
    )
    assert len(truth.objects) == 1
    assert truth.ignored["geometry"].iloc[0].area == pytest.approx(100 * 200)
    assert truth.scenes["km2"].iloc[0] == pytest.approx(0)


def test_scenes_without_labels_are_left_out_and_empty_ones_are_not() -> None:
    assert len(ground_truth_of(catalog([label(1, 1, 1, 1)], labeled=False)).scenes) == 0
    truth = ground_truth_of(catalog([]))
    assert (len(truth.scenes), len(truth.objects), len(truth.ignored)) == (1, 0, 0)


def test_the_longer_side_is_that_of_the_ground_not_of_the_picture() -> None:
    """A label that is wider in px is taller in metres, where a px is taller than wide."""
    truth = ground_truth_of(catalog([label(100, 50, 40, 16), label(30, 50, 8, 30)]))
    assert truth.objects["longer_m"].tolist() == [32.0, 60.0]
