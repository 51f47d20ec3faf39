"""`detect` of many small tiles against their mosaic: processor seconds per px, in turns.

Processor time (user and system) of a warm process, since other work on a machine changes the clock.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import rasterio
from measuring import picture, rgb_profile, save
from rasterio.transform import Affine

from fake_models import random_weights, write_bundle
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest

SIDE = int(os.environ.get("SIDE", "2560"))
TILE_SIDES = (128, 256, 512)
TURNS = int(os.environ.get("TURNS", "3"))


def write(path: Path, pixels: object, transform: Affine, side: int) -> None:
    """Write a square RGB raster in tiles of at most 512 px."""
    profile = rgb_profile(side, side) | {"transform": transform}
    if side < 512:
        for name in ("tiled", "blockxsize", "blockysize"):
            profile.pop(name)
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(pixels)


def cpu_seconds(scenes: Path, folder: Path) -> float:
    """Return the processor seconds of one search."""
    started = time.process_time()
    detect_rasters(DetectRequest([str(scenes)], folder / "m", folder / "found.gpkg"))
    return time.process_time() - started


def main() -> None:
    """Search the mosaic and its tiles in turns, and keep each one's least."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(folder / "m", 0.99, random_weights(width=16), width=16)
        pixels = picture(SIDE, SIDE)
        corner = rgb_profile(SIDE, SIDE)["transform"]
        write(folder / "mosaic.tif", pixels, corner, SIDE)
        runs = {"mosaic": folder / "mosaic.tif"}
        for side in TILE_SIDES:
            tiles = folder / str(side)
            tiles.mkdir()
            for row in range(0, SIDE, side):
                for col in range(0, SIDE, side):
                    part = pixels[:, row : row + side, col : col + side]
                    shifted = corner @ Affine.translation(col, row)
                    write(tiles / f"r{row}c{col}.tif", part, shifted, side)
            runs[f"tiles of {side} px"] = tiles
        cpu_seconds(runs["mosaic"], folder)  # what is loaded once is loaded now
        least: dict[str, float] = {}
        for _ in range(TURNS):
            for title, scenes in runs.items():
                seconds = cpu_seconds(scenes, folder)
                least[title] = min(seconds, least.get(title, seconds))
    ratios = {title: round(seconds / least["mosaic"], 2) for title, seconds in least.items()}
    seconds = {title: round(value, 2) for title, value in least.items()}
    figures = {"mosaic_px": SIDE, "turns": TURNS, "cpu_seconds": seconds, "ratio": ratios}
    save("small_tiles", figures, "at most 2 times the mosaic's processor time per px")


if __name__ == "__main__":
    main()
