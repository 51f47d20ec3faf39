"""The raster as delivered of a scene: a spatial block is a window of it, in a file of its own."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

import rasterio
from rasterio.errors import RasterioError

from windhover.dataset.spatial_blocks import BLOCK_SEPARATOR
from windhover.export.detection_summary import SceneSummary


class DeliveredRaster(NamedTuple):
    """What other programs know a picture by."""

    name: str  # of its file
    width_px: int
    height_px: int


def delivered_raster(scene: SceneSummary) -> DeliveredRaster:
    """Return the raster of a scene; of a spatial block that which it was cut from.

    Where that cannot be opened any more, the smallest raster that the block fits into.
    """
    if BLOCK_SEPARATOR in scene.scene and scene.path.endswith(f"{scene.scene}.vrt"):
        try:
            with rasterio.open(scene.path) as block, rasterio.open(block.files[1]) as raster:
                return DeliveredRaster(
                    PurePosixPath(block.files[1]).name, raster.width, raster.height
                )
        except (RasterioError, OSError, IndexError):
            pass
    name = PurePosixPath(scene.path).name or scene.scene
    first_col, first_row = scene.origin_px
    return DeliveredRaster(name, first_col + scene.width_px, first_row + scene.height_px)
