"""Draw the detections of data/map on some of the search tiles: `python docs/images/draw.py` after
`make repro`.
"""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import rasterio
import torch
from PIL import Image
from torchvision.utils import draw_bounding_boxes, make_grid

ROOT = Path(__file__).parents[2]


def tile_with_boxes(path: Path, found: geopandas.GeoDataFrame) -> torch.Tensor:
    """Return a tile (3, H, W) uint8 with its detections, read back from the map through the tile's
    own transform.
    """
    with rasterio.open(path) as tile:
        picture, inverse = tile.read(), ~tile.transform
        mine = found[found["scene"] == path.stem]
        if "scene_crs" in mine:
            mine = mine.to_crs(tile.crs)
    boxes = []
    for polygon in mine.geometry:
        x, y = (np.asarray(values) for values in polygon.exterior.xy)
        cols, rows = (
            inverse.a * x + inverse.b * y + inverse.c,
            inverse.d * x + inverse.e * y + inverse.f,
        )
        boxes.append([cols.min(), rows.min(), cols.max(), rows.max()])
    corners = torch.tensor(boxes).reshape(-1, 4)
    return (
        draw_bounding_boxes(torch.from_numpy(picture), corners, colors="yellow", width=2)
        if boxes
        else torch.from_numpy(picture)
    )


def main() -> None:
    """Write docs/images/detections.jpg: the six tiles with the most detections, but at most two of
    one place.
    """
    found = geopandas.read_parquet(ROOT / "data/map/detections.parquet")
    tiles = {path.stem: path for path in sorted((ROOT / "data/raw").glob("*.tif"))}
    chosen: list[Path] = []
    for scene in found["scene"].value_counts().index:
        path = tiles[scene]
        with rasterio.open(path) as tile:
            fits = tile.shape == (512, 512)
        same_place = sum(
            other.stem.rsplit("-", 1)[0] == scene.rsplit("-", 1)[0] for other in chosen
        )
        if fits and same_place < 2 and len(chosen) < 6:
            chosen.append(path)
    grid = make_grid(
        [tile_with_boxes(path, found) for path in chosen], nrow=3, padding=6, pad_value=255
    )
    Image.fromarray(grid.permute(1, 2, 0).numpy()).convert("RGB").save(
        ROOT / "docs/images/detections.jpg", quality=82
    )


if __name__ == "__main__":
    main()
