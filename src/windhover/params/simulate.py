"""Parameters of `simulate`: the amount of world, its GSD, and the effects of the sensor."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from windhover.params import StageParams
from windhover.params.allowed_values import WorldDtype


class SimulateParams(StageParams):
    """The built-in world, made when you bring no scenes of your own."""

    world: Literal["aircraft", "clouds"] = Field(
        default="aircraft",
        description="aircraft on airports with boxes, or clouds over ground with a mask of classes",
    )
    seed: int = Field(
        default=7, ge=0, description="random seed; the same seed gives the same bytes"
    )
    bands: Literal[3, 4] = Field(
        default=3,
        description="number of bands: 3 = red, green, blue; 4 = with near infrared; clouds have 6",
    )
    dtype: WorldDtype = Field(
        default="uint8",
        description="uint8, or uint16: reflectance times 10,000, 0 is nodata; clouds: or float32",
    )
    nodata_border: float = Field(
        default=0.0,
        ge=0,
        le=0.3,
        description="largest slanted nodata border, fraction of a scene's width; 0 for none",
    )
    gsd_m: float = Field(
        default=1.25,
        ge=0.3,
        le=60,
        description="GSD of all but the fine scenes, m: to 3 for aircraft, 10 to 60 for clouds",
    )
    fine_gsd_m: float = Field(default=0.5, ge=0.3, le=3, description="GSD of the fine scenes, m")
    train_places: int = Field(
        default=5, ge=1, le=6, description="airports for training, one scene each"
    )
    val_places: int = Field(
        default=2, ge=1, le=3, description="airports for choosing thresholds, one scene each"
    )
    test_places: int = Field(
        default=6, ge=1, le=8, description="airports that share the search set; 6 bear an interval"
    )
    scenes_per_place: int = Field(
        default=1,
        ge=1,
        le=100,
        description="scenes of clouds at each place of train and val; aircraft have one",
    )
    scene_width_px: int = Field(
        default=1536, ge=200, le=4096, description="width of the scenes of train and val, px"
    )
    scene_height_px: int = Field(
        default=1408, ge=200, le=4096, description="height of the scenes of train and val, px"
    )
    aircraft_per_scene: int = Field(
        default=9,
        ge=0,
        le=200,
        description="mean number of aircraft in a scene of train or val; varies by a third",
    )
    fine_scenes: int = Field(
        default=3,
        ge=0,
        le=9,
        description="further scenes of train and val at the fine GSD, with a third of the aircraft",
    )
    fine_width_px: int = Field(
        default=1500, ge=200, le=4096, description="width of the fine scenes, px"
    )
    fine_height_px: int = Field(
        default=1400, ge=200, le=4096, description="height of the fine scenes, px"
    )
    search_tiles: int = Field(
        default=36,
        ge=1,
        le=180,
        description="square tiles of the search set, over all test places",
    )
    search_tile_px: int = Field(
        default=512, ge=128, le=2048, description="side of a search tile, px"
    )
    search_empty: int = Field(
        default=12,
        ge=0,
        le=180,
        description="search tiles without aircraft, at most `search_tiles`",
    )
    search_aircraft: int = Field(
        default=40, ge=0, le=2000, description="number of aircraft in the whole search set"
    )
    haze: float = Field(
        default=0.12, ge=0, le=0.5, description="strongest haze, fraction of the light"
    )
    cloud: float = Field(
        default=0.35, ge=0, le=1, description="strongest thin cloud, fraction of the light"
    )
    blur_px: float = Field(
        default=0.6, ge=0.3, le=2, description="sensor blur, sigma in px; varies by a fifth"
    )
    noise_dn: float = Field(
        default=2.0,
        ge=0,
        le=20,
        description="strongest sensor noise, standard deviation in 8-bit counts",
    )

    @model_validator(mode="after")
    def _fits_its_world(self) -> Self:
        """Check what one of the worlds alone can have."""
        lowest, highest = (10.0, 60.0) if self.world == "clouds" else (0.3, 3.0)
        if not lowest <= self.gsd_m <= highest:
            raise ValueError(
                f"`gsd_m` of a world of {self.world} must be {lowest:g} to {highest:g} m, "
                f"got {self.gsd_m:g}"
            )
        dtypes = {"aircraft": ("uint8", "uint16"), "clouds": ("uint16", "float32")}[self.world]
        if self.dtype not in dtypes:
            raise ValueError(
                f"`dtype` of a world of {self.world} must be {' or '.join(dtypes)}, "
                f"got {self.dtype}"
            )
        return self
