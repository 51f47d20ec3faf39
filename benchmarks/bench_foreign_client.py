"""The exported detector in GeoDeep, the detector inside WebODM, beside `windhover detect`.

    python benchmarks/bench_foreign_client.py MODEL FOLDER-OF-RASTERS
    python benchmarks/bench_foreign_client.py MODEL --airbus

Rasters at another GSD than the model's are left out; the others need a coordinate system. With
--airbus, the `test` pictures of the fixed division are brought to the model's GSD first, and the AP
of both is measured above the model's threshold, which is all that the client returns. The model's
graph in fp32 is compared, at one scale, as the client searches. Needs `.venv-rivals`
(requirements-rivals.txt), or RIVALS=path of its Python.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from airbus_truth import GSD_M, AirbusScene, airbus_scenes, assess_found
from measuring import ROOT, save

from windhover.geometry.objects import Objects
from windhover.imagery.scenes import open_scene
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


def write_airbus(folder: Path, gsd_m: float) -> dict[str, AirbusScene]:
    """Write the test pictures at a GSD, on a grid of their own; return them by raster."""
    scenes = {}
    for number, picture in enumerate(one for one in airbus_scenes() if one.split == "test"):
        with open_scene(picture.path, gsd_m, GSD_M) as scene:
            pixels, _ = scene.read(0, 0, *scene.shape_hw)
        place = Affine(gsd_m, 0, 4e5 + 5e3 * number, 0, -gsd_m, 5e6)
        path = folder / f"{picture.path.stem}.tif"
        shape = {"height": pixels.shape[1], "width": pixels.shape[2], "count": len(pixels)}
        with rasterio.open(
            path, "w", "GTiff", dtype=pixels.dtype, crs="EPSG:32631", transform=place, **shape
        ) as dataset:
            dataset.write(pixels)
        scenes[str(path)] = picture
    return scenes


def average_precisions(
    found: dict[str, dict[str, Objects]], pictures: dict[str, AirbusScene], gsd_m: float
) -> dict[str, Any]:
    """Return the AP of each program, by the objects that it found in each raster."""
    figures = {}
    for program, by_raster in found.items():
        tables = []
        for raster, objects in by_raster.items():
            col, row = (objects.centers_xy * gsd_m / GSD_M).T
            name = pictures[raster].path.stem
            tables.append(
                pd.DataFrame({"col": col, "row": row, "score": objects.scores, "scene": name})
            )
        table = pd.concat(tables, ignore_index=True)
        figures[program] = assess_found(table, list(pictures.values()))
    return figures


def main() -> None:
    """Compare the two on every raster of a folder, or on the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--airbus", action="store_true")
    asked = parser.parse_args()
    detector = Detector.from_bundle(asked.model, runtime="torch", inference_precision="fp32")
    detector.settings = replace(detector.settings, scales=(1.0,))
    gsd_m = detector.bundle.card.gsd_m
    pictures: dict[str, AirbusScene] = {}
    with tempfile.TemporaryDirectory() as temporary:
        if asked.airbus:
            pictures = write_airbus(Path(temporary), gsd_m)
        rasters = list(pictures) or rasters_at_gsd(asked.folder, gsd_m)
        exported = Path(temporary) / "exported"
        export_model(detector, exported)
        by_client = foreign_objects(exported / DETECTOR, rasters)
        by_detect = {}
        parities = []
        for raster in rasters:
            with detector.open(raster) as scene:
                by_detect[raster] = detect_objects(detector, scene, detector.thresholds())
                parities.append(
                    compare_objects(by_client[raster], by_detect[raster], scene.shape_hw)
                )
                print(Path(raster).name, parities[-1].line(), file=sys.stderr)
    totals: dict[str, Any] = {**add_parities(parities).model_dump(), "border_px": BORDER_PX}
    inside = totals["both"] + totals["differing_inside"]
    totals["share_alike_inside"] = round(1 - totals["differing_inside"] / max(inside, 1), 4)
    name = "foreign_client"
    if asked.airbus:
        name += "_airbus"
        found = {"client": by_client, "detect": by_detect}
        totals |= average_precisions(found, pictures, gsd_m)
    save(name, totals, "share_alike_inside of at least 0.98")


if __name__ == "__main__":
    main()
