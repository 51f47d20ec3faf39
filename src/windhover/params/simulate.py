"""Parameters of `simulate`: how much world, how fine, and what the sensor adds. What an airport
looks like is code.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from windhover.params import StageParams


class SimulateParams(StageParams):
    """The built-in world."""

    seed: int = Field(ge=0, description="the same seed gives the same bytes")
    bands: Literal[3, 4] = Field(description="3 = red, green, blue; 4 = with near infrared")
    dtype: Literal["uint8", "uint16"] = Field(
        description="uint16 = reflectance times 10,000, 0 is nodata"
    )
    nodata_border: float = Field(
        ge=0, le=0.3, description="largest slanted nodata border, share of the width"
    )
    gsd_m: float = Field(ge=0.3, le=3, description="m per pixel")
    fine_gsd_m: float = Field(ge=0.3, le=3, description="m per pixel of the fine scenes")
    train_places: int = Field(ge=1, le=6, description="airports to learn from, one scene each")
    val_places: int = Field(
        ge=1, le=3, description="airports to choose thresholds on, one scene each"
    )
    test_places: int = Field(ge=1, le=5, description="airports that share the search set")
    scene_width_px: int = Field(ge=200, le=4096, description="px of the scenes of train and val")
    scene_height_px: int = Field(ge=200, le=4096, description="px of the scenes of train and val")
    aircraft_per_scene: int = Field(
        ge=0, le=200, description="in a scene of train or val, give or take a third"
    )
    fine_scenes: int = Field(ge=0, le=9, description="further scenes at the fine GSD")
    fine_width_px: int = Field(ge=200, le=4096, description="px of the fine scenes")
    fine_height_px: int = Field(ge=200, le=4096, description="px of the fine scenes")
    search_tiles: int = Field(
        ge=1, le=180, description="square tiles of the search set, over all test places"
    )
    search_tile_px: int = Field(ge=128, le=2048, description="px a side of a search tile")
    search_empty: int = Field(
        ge=0, le=180, description="search tiles that hold no aircraft, at most `search_tiles`"
    )
    search_aircraft: int = Field(ge=0, le=2000, description="aircraft in the whole search set")
    haze: float = Field(ge=0, le=0.5, description="strongest haze, share of light")
    cloud: float = Field(ge=0, le=1, description="strongest thin cloud, share of light")
    blur_px: float = Field(
        ge=0.3, le=2, description="sensor blur, sigma in px, give or take a fifth"
    )
    noise_dn: float = Field(ge=0, le=20, description="strongest sensor noise, 8-bit counts")
