"""What the tables of a catalog hold, column by column; reads and writes nothing itself."""

from __future__ import annotations

import shapely

from windhover.dataset.splits import SPLITS
from windhover.geometry.georef import parse_crs
from windhover.imagery.rasters import DTYPES
from windhover.table_record import Column, TableSchema

SCENES = TableSchema(
    "scenes",
    {
        "scene": Column("text"),
        "path": Column("text"),
        "width_px": Column("integer", least=1),
        "height_px": Column("integer", least=1),
        "bands": Column("texts"),
        "dtype": Column("text", choices=DTYPES),
        "nodata": Column("number", nullable=True, finite=False),
        "crs": Column("text", nullable=True, check=parse_crs),
        "transform": Column("numbers", length=6),
        "gsd_x_m": Column("number", above=0),
        "gsd_y_m": Column("number", above=0),
        "place": Column("text"),
        "split": Column("text", choices=SPLITS),
        "labeled": Column("flag"),
        "footprint_wkt_4326": Column("text", nullable=True, check=shapely.from_wkt),
    },
)
BOX_COLUMNS = ("left", "top", "right", "bottom")
LABELS = TableSchema(
    "scenes",
    {
        "scene": Column("text"),
        "class": Column("text"),
        "role": Column("text", choices=("object", "ignore")),
        "col": Column("number"),
        "row": Column("number"),
        **dict.fromkeys(BOX_COLUMNS, Column("number")),
        "length_m": Column("number", nullable=True, least=0),
        "width_m": Column("number", nullable=True, least=0),
        "source": Column("text"),
        "geometry": Column("geometry"),
    },
)
AREAS = TableSchema(
    "scenes",
    {
        "scene": Column("text"),
        "role": Column("text", choices=("complete", "positive_only", "ignore")),
        "split": Column("text", nullable=True, choices=("", *SPLITS)),
        "geometry": Column("geometry"),
    },
)
SCENE_COLUMNS = tuple(SCENES.columns)
LABEL_COLUMNS = tuple(LABELS.columns)
AREA_COLUMNS = tuple(AREAS.columns)
