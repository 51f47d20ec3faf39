"""What the benchmarks that train rivals share: their jobs, their scenes, their changes of colour.

Trains and judges nothing by itself.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import rasterio
from measuring import ROOT
from rasterio.transform import from_origin

from windhover.imagery.scenes import open_scene
from windhover.training.batch_augment import Radiometry

PYTHON = ROOT / ".venv-rivals/bin/python"


def run_job(script: str, job: dict[str, Any], path: Path, threads: int) -> dict[str, Any]:
    """Write a job, run a script of `benchmarks/` on it in the rivals' environment; return the JSON
    it prints last.
    """
    path.write_text(json.dumps(job), encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": str(threads),
        "YOLO_CONFIG_DIR": str(path.parent),
        "OPENCV_LOG_LEVEL": "ERROR",  # it warns of every tag of a GeoTIFF
    }
    command = [str(PYTHON), "-W", "ignore", str(ROOT / "benchmarks" / script), str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def changes_of_color(batch_augment: dict[str, Any], chosen: dict[str, float]) -> dict[str, float]:
    """Return how far Windhover's parameters let pixels be changed, what they leave open chosen."""
    names = [field.name for field in fields(Radiometry)]
    colors = {name: batch_augment[name] for name in names}
    open_keys = [name for name, value in colors.items() if value is None]
    return colors | {name: chosen[name] for name in open_keys}


def write_resampled(source: Path, path: Path, gsd_m: float, native_gsd_m: float | None) -> Path:
    """Write a tiled GeoTIFF of a scene at another GSD, resampled as Windhover does, where there is
    none yet; return its path.
    """
    if path.exists():
        return path
    with open_scene(source, gsd_m, native_gsd_m) as seen:
        pixels, _ = seen.read(0, 0, *seen.shape_hw)
    bands, height, width = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype=pixels.dtype,
        crs="EPSG:32632",
        transform=from_origin(500_000, 5_000_000, gsd_m, gsd_m),
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
        photometric="rgb",
    ) as file:
        file.write(pixels)
    return path
