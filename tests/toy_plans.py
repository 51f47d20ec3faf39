"""Small plans: a model of random weights, rasters of noise, and the tasks over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine

from fake_models import write_bundle
from windhover.batch.make_plan import PlanOutcome, PlanRequest, make_plan
from windhover.batch.run_task import run_tasks_here
from windhover.detection.detect_request import DetectRequest

SIDES = ((330, 470), (150, 210), (157, 211))
BLOCK_PX = 160
STATED = {"mpx_per_second": 0.02, "minutes_per_task": 0.04}  # 0.05 Mpx a task


def write_raster(path: Path, shape_hw: tuple[int, int], seed: int, **profile: Any) -> Path:
    """Write a raster of noise; those of other seeds stand elsewhere."""
    data = np.random.default_rng(seed).integers(1, 255, (3, *shape_hw)).astype(np.uint8)
    place = {
        "crs": "EPSG:32631",
        "transform": Affine(1.25, 0, 4e5 + 3000 * seed, 0, -1.25, 5e6),
    }
    shape = {"height": shape_hw[0], "width": shape_hw[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place | profile) as dataset:
        dataset.write(data)
    return path


def write_world(folder: Path) -> list[str]:
    """Write a model and some rasters; return the rasters' paths."""
    write_bundle(folder / "model", threshold=0.6)
    rasters = []
    for seed, shape_hw in enumerate(SIDES):
        rasters.append(str(write_raster(folder / f"scene{seed}.tif", shape_hw, seed)))
    return rasters


def request_of(folder: Path, rasters: list[str], **search: Any) -> DetectRequest:
    """Return a request over rasters by the model of a folder, in small blocks."""
    values: dict[str, Any] = {"output": folder / "plan", "block_px": BLOCK_PX, **search}
    return DetectRequest(scenes=rasters, model=folder / "model", **values)


def plan_world(folder: Path, rasters: list[str], **options: Any) -> PlanOutcome:
    """Plan the search of rasters in small tasks; a speed is stated, so nothing is measured."""
    how = {name: options.pop(name, value) for name, value in STATED.items()}
    return make_plan(PlanRequest(request_of(folder, rasters, **options), **how))


def run_all(outcome: PlanOutcome) -> None:
    """Run every task of a plan, the last first."""
    run_tasks_here(outcome.folder, range(outcome.record.tasks - 1, -1, -1))
