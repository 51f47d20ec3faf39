"""Parameters of the `export` stage."""

from __future__ import annotations

from pydantic import Field

from windhover.params import StageParams
from windhover.params.allowed_values import MapFormat


class ExportParams(StageParams):
    """Files for a map."""

    formats: tuple[MapFormat, ...] = Field(
        default=("gpkg", "parquet", "geojson", "html"),
        min_length=1,
        description="files written to data/map/: gpkg, parquet, geojson, fgb, csv, coco, "
        "label-studio, pmtiles, html (a map page), stac, counts",
    )
    areas: str | None = Field(
        default=None,
        description="vector file of polygons in which objects are counted (with format counts)",
    )
