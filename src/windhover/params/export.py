"""Parameters of the `export` stage."""

from __future__ import annotations

from pydantic import Field

from windhover.params import StageParams
from windhover.params.allowed_values import MapFormat


class ExportParams(StageParams):
    """Files for a map."""

    formats: tuple[MapFormat, ...] = Field(
        default=("gpkg", "parquet", "geojson"),
        min_length=1,
        description="files written to data/map/: gpkg, parquet, geojson, csv",
    )
