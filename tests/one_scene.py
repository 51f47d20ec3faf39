"""A catalog of one scene of squares, for mining and for large patches."""

from __future__ import annotations

from typing import Any

import geopandas
import pandas as pd
from shapely.geometry import box

from fake_models import squares
from windhover.dataset.catalog import Catalog, empty_areas
from windhover.dataset.catalog_report import CatalogReport
from windhover.imagery.rasters import inspect_scene

SHAPE = (300, 420)
# centers x, y of squares of 10 px
OBJECT = (100.0, 90.0)
LOOKALIKE = (300.0, 200.0)
IGNORED_OBJECT = (330.0, 80.0)
MISSED = (200.0, 250.0)  # labeled and black

# areas after which the look-alike lies on ground that is not completely labeled
AREAS = [
    ("ignore", box(250, 150, 400, 260)),
    ("positive_only", box(250, 150, 400, 260)),
    ("complete", box(0, 0, 200, 150)),
]


def one_scene_catalog(make_scene: Any) -> Catalog:
    """Return one scene with a detected object, a missed one, a look-alike, and an ignored one."""
    path = make_scene(shape_hw=SHAPE, data=squares(SHAPE, [OBJECT, LOOKALIKE, IGNORED_OBJECT]))
    info = inspect_scene(path)
    scenes = pd.DataFrame(
        [
            {
                "scene": info.name,
                "path": str(path),
                "width_px": SHAPE[1],
                "height_px": SHAPE[0],
                "bands": list(info.bands),
                "dtype": "uint8",
                "nodata": None,
                "crs": info.crs,
                "transform": list(info.transform)[:6],
                "gsd_x_m": 1.25,
                "gsd_y_m": 1.25,
                "place": "here",
                "split": "train",
                "labeled": True,
                "footprint_wkt_4326": None,
            }
        ]
    )
    labels = pd.DataFrame(
        [
            {
                "scene": info.name,
                "class": name,
                "role": role,
                "col": x,
                "row": y,
                "left": x - 5,
                "top": y - 5,
                "right": x + 5,
                "bottom": y + 5,
            }
            for name, role, (x, y) in (
                ("square", "object", OBJECT),
                ("square", "object", MISSED),
                ("part", "ignore", IGNORED_OBJECT),
            )
        ]
    )
    shapes = [box(*row) for row in labels[["left", "top", "right", "bottom"]].to_numpy()]
    report = CatalogReport(training_gsd_m=1.25, bands=list(info.bands))
    return Catalog(scenes, geopandas.GeoDataFrame(labels, geometry=shapes), empty_areas(), report)


def with_area(catalog: Catalog, role: str, shape: Any) -> Catalog:
    """Return the catalog with one area of a role."""
    area = geopandas.GeoDataFrame(
        [{"scene": catalog.scenes["scene"][0], "role": role, "split": None}], geometry=[shape]
    )
    return Catalog(catalog.scenes, catalog.labels, area, catalog.report)
