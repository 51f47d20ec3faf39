"""Small scenes with class rasters, and a network that finds bright ground exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog, write_catalog
from windhover.models.networks import Outputs
from windhover.params.scenes import ScenesParams

GSD_M = 10.0
SHAPE = (150, 210)
CRS = "EPSG:32633"
CLOUD = 4  # in the class rasters
SHADOW = 2
IGNORED = 255
VALUES = {0: "background", CLOUD: "cloud"}
BRIGHT = 200  # of cloud; ground is at most half as bright


def cloud_mask(shape_hw: tuple[int, int] = SHAPE, seed: int = 0) -> NDArray[np.bool_]:
    """Return blobs that cover about a third of a scene."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape_hw), 14, mode="wrap")
    return np.asarray(field > 0.4 * field.std())


def picture_of(mask: NDArray[Any], seed: int = 0, bands: int = 3) -> NDArray[np.uint8]:
    """Return (bands, H, W) pixels: bright where the mask is, darker ground elsewhere."""
    noise = np.random.default_rng(seed).integers(1, 100, (bands, *mask.shape))
    return np.where(mask, BRIGHT + noise % 40, noise).astype(np.uint8)


def write_raster(path: Path, data: NDArray[Any], **profile: Any) -> Path:
    """Write (C, H, W) or (H, W) data as a GeoTIFF."""
    data = data if data.ndim == 3 else data[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "driver": "GTiff",
        "count": len(data),
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype,
        "crs": CRS,
        "transform": place(0),
        **profile,
    }
    with rasterio.open(path, "w", **values) as dataset:
        dataset.write(data)
    return path


def place(number: int) -> Affine:
    """Return the transform of a scene far from the others."""
    return Affine(GSD_M, 0, 400_000.0 + 20_000 * number, 0, -GSD_M, 5_000_000.0)


def write_scenes(raw: Path, n_scenes: int = 3, shape_hw: tuple[int, int] = SHAPE) -> Path:
    """Write scenes and their class rasters in `tiles` and `masks`; return the folder."""
    for number in range(n_scenes):
        mask = cloud_mask(shape_hw, number)
        at = place(number)
        write_raster(raw / f"tiles/s{number}.tif", picture_of(mask, number), transform=at)
        classes = np.where(mask, CLOUD, 0).astype(np.uint8)
        write_raster(raw / f"masks/s{number}.tif", classes, transform=at)
    return raw


def coverage_params(raw: Path, **changes: Any) -> ScenesParams:
    """Return the parameters of a folder of scenes with class rasters."""
    values: dict[str, Any] = {
        "task": "coverage",
        "raw": str(raw),
        "gsd_m": GSD_M,
        "mask_values": VALUES,
        "mask_ignore": [IGNORED],
        "groups": None,
    }
    return ScenesParams(**(values | changes))


def coverage_catalog(raw: Path, **changes: Any) -> Catalog:
    """Return the catalog of a folder, written beside it."""
    folder = raw.parent / "catalog"
    folder.mkdir(exist_ok=True)
    catalog = build_catalog(coverage_params(raw, **changes), folder, folder)
    write_catalog(catalog, folder)
    return catalog


class BrightNetwork(nn.Module):
    """Scores the brightness in the middle 8 px of a window: dense and exact."""

    window_px, stride_px, dense = 64, 8, True

    def __init__(self, n_bands: int = 3) -> None:
        super().__init__()
        kernel = torch.zeros(1, n_bands, 64, 64)
        kernel[:, :, 28:36, 28:36] = 1 / (64 * n_bands)
        self.kernel = nn.Parameter(kernel, requires_grad=False)

    def forward(self, inputs: Tensor) -> Outputs:
        mean = nn.functional.conv2d(inputs, self.kernel.to(inputs.dtype), stride=8)
        logits = (mean - 140.0) / 10
        zeros = torch.zeros_like(logits).repeat(1, 2, 1, 1)
        return Outputs(logits, zeros, zeros)
