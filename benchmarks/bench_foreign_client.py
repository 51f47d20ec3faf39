"""The exported detector in GeoDeep, the detector inside WebODM, beside `windhover detect`.

    python benchmarks/bench_foreign_client.py MODEL FOLDER-OF-RASTERS

Rasters at another GSD than the model's are left out; the others need a coordinate system. The
model's graph in fp32 is compared. Needs `.venv-rivals` (requirements-rivals.txt), or RIVALS=path of
its Python.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from measuring import ROOT, save

from windhover.geometry.objects import Objects
from windhover.inference.detector import Detector
from windhover.model_export.export_model import DETECTOR, export_model
from windhover.model_export.parity import BORDER_PX, add_parities, compare_objects, detect_objects

RIVALS = Path(os.environ.get("RIVALS", ROOT / ".venv-rivals/bin/python"))
CLIENT = ROOT / "benchmarks" / "rival_geodeep.py"


def foreign_objects(model: Path, rasters: list[str]) -> dict[str, Objects]:
    """Return what GeoDeep finds in each raster."""
    command = [str(RIVALS), str(CLIENT), str(model), *rasters]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for raster, rows in json.loads(done.stdout).items():
        boxes = np.array(rows, np.float64).reshape(-1, 5)
        zeros = np.zeros(len(boxes), np.int64)
        found[raster] = Objects.from_xyxy(boxes[:, :4], zeros, scores=boxes[:, 4])
    return found


def rasters_at_gsd(folder: Path, gsd_m: float) -> list[str]:
    """Return the rasters of a folder at a GSD; GeoDeep shrinks others by a whole number."""
    rasters = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as dataset:
            if math.isclose(dataset.transform.a, gsd_m, rel_tol=0.01):
                rasters.append(str(path))
    return rasters


def main(model: str, folder: str) -> None:
    """Compare the two on every raster of a folder."""
    detector = Detector.from_bundle(model, runtime="torch", inference_precision="fp32")
    rasters = rasters_at_gsd(Path(folder), detector.bundle.card.gsd_m)
    with tempfile.TemporaryDirectory() as temporary:
        exported = Path(temporary) / "exported"
        export_model(detector, exported)
        by_client = foreign_objects(exported / DETECTOR, rasters)
    parities = []
    for raster in rasters:
        with detector.open(raster) as scene:
            by_detect = detect_objects(detector, scene, detector.thresholds())
            parities.append(compare_objects(by_client[raster], by_detect, scene.shape_hw))
            print(Path(raster).name, parities[-1].line(), file=sys.stderr)
    totals: dict[str, Any] = {**add_parities(parities).model_dump(), "border_px": BORDER_PX}
    inside = totals["both"] + totals["differing_inside"]
    totals["share_alike_inside"] = round(1 - totals["differing_inside"] / max(inside, 1), 4)
    save("foreign_client", totals, "share_alike_inside of at least 0.98")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
