"""Parameters of the `export` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windhover.params import StageParams


class ExportParams(StageParams):
    """What files the map is made of."""

    formats: tuple[Literal["gpkg", "parquet", "geojson", "csv"], ...] = Field(
        ..., min_length=1, description="files written to data/map/"
    )
