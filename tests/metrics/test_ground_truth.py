"""The truth in metres: non-square pixels, ignored labels, and areas that nobody labelled."""

from __future__ import annotations

import geopandas
import numpy as np
import pandas as pd
import pytest
from shapely import Polygon, box

from windhover.dataset.catalog import AREA_COLUMNS, LABEL_COLUMNS, Catalog, empty_areas
from windhover.metrics.ground_truth import ground_of


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
    return {"scene": "a", "class": "jet", "role": role, "col": col, "row": row, **named, "length_m": np.nan,
            "width_m": np.nan, "source": "", "geometry": geometry or box(*edges)}  # fmt: skip


def catalog(
    labels: list[dict], areas: list[tuple[str, Polygon]] = [], labeled: bool = True
) -> Catalog:
    scenes = pd.DataFrame({
        "scene": ["a"], "width_px": [200], "height_px": [100], "gsd_x_m": [0.5], "gsd_y_m": [2.0], "place": ["p"],
        "labeled": [labeled],
    })  # fmt: skip
    table = geopandas.GeoDataFrame(
        pd.DataFrame(labels, columns=list(LABEL_COLUMNS)), geometry="geometry"
    )
    rows = [("a", role, None, shape) for role, shape in areas]
    zones = (
        geopandas.GeoDataFrame(rows, columns=list(AREA_COLUMNS), geometry="geometry")
        if rows
        else empty_areas()
    )
    return Catalog(scenes, table, zones)


def test_px_become_meters_by_each_axis_of_its_own() -> None:
    made = ground_of(catalog([label(100, 20, 40, 8)]))
    one = made.objects.iloc[0]
    assert (one["x_m"], one["y_m"], one["longer_m"]) == (50.0, 40.0, 20.0)
    assert one["geometry"].bounds == (40.0, 32.0, 60.0, 48.0)
    assert made.scenes["km2"].tolist() == [pytest.approx(100 * 200 / 1e6)]


def test_polygons_keep_their_outline_and_points_have_no_size() -> None:
    diamond = Polygon([(100, 16), (120, 20), (100, 24), (80, 20)])
    made = ground_of(catalog([label(100, 20, 40, 8, geometry=diamond), label(10, 10, 0, 0)]))
    assert made.objects["geometry"].iloc[0].area == pytest.approx(diamond.area)
    assert np.isnan(made.objects["longer_m"].iloc[1])


def test_ignored_labels_are_areas_not_objects() -> None:
    made = ground_of(catalog([label(100, 20, 40, 8), label(30, 50, 10, 10, role="ignore")]))
    assert len(made.objects) == 1
    assert [shape.bounds for shape in made.ignored["geometry"]] == [(12.5, 90.0, 17.5, 110.0)]


def test_ignored_ground_is_neither_truth_nor_area() -> None:
    made = ground_of(
        catalog([label(100, 20, 40, 8), label(150, 80, 4, 4)], [("ignore", box(0, 0, 120, 100))])
    )
    assert made.objects["x_m"].tolist() == [75.0]
    assert made.scenes["km2"].iloc[0] == pytest.approx(80 * 0.5 * 200 / 1e6)


def test_beyond_what_is_complete_nothing_is_judged() -> None:
    made = ground_of(
        catalog(
            [label(100, 20, 40, 8), label(150, 80, 4, 4)], [("complete", box(140, 70, 180, 90))]
        )
    )
    assert made.objects["x_m"].tolist() == [75.0]
    assert made.scenes["km2"].iloc[0] == pytest.approx(20 * 40 / 1e6)


def test_where_only_objects_are_sure_they_count_and_alarms_do_not() -> None:
    made = ground_of(catalog([label(100, 20, 40, 8)], [("positive_only", box(0, 0, 200, 100))]))
    assert len(made.objects) == 1
    assert made.ignored["geometry"].iloc[0].area == pytest.approx(100 * 200)
    assert made.scenes["km2"].iloc[0] == pytest.approx(0)


def test_scenes_without_labels_are_left_out_and_empty_ones_are_not() -> None:
    assert len(ground_of(catalog([label(1, 1, 1, 1)], labeled=False)).scenes) == 0
    made = ground_of(catalog([]))
    assert (len(made.scenes), len(made.objects), len(made.ignored)) == (1, 0, 0)
