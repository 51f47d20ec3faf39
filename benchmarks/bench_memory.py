"""Peak memory of a search at 10,000, 20,000 and 40,000 px square, as they are and averaged, by a
network of width 4.

A tenth of each raster is textured, the rest of one grey, so that the largest takes little room on
the disk and as much in memory as any.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from measuring import PeakMemory, picture, save

SIDES = (10_000, 20_000, 40_000)
GSDS_M = (1.25, 0.5)  # the model's own, and one that is averaged to it


def write_mostly_grey(path: Path, side: int, gsd_m: float = GSDS_M[0], tile: int = 512) -> None:
    """Write a raster of which a tenth of the blocks are textured."""
    import numpy as np
    import rasterio
    from rasterio.transform import Affine
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32631",
        "tiled": True,
        "blockxsize": tile,
        "blockysize": tile,
        "compress": "deflate",
        "photometric": "rgb",
        "transform": Affine(gsd_m, 0, 400_000, 0, -gsd_m, 5_000_000),
        "bigtiff": "yes",
    }
    textured, grey = picture(tile, tile), np.full((3, tile, tile), 90, np.uint8)
    rng = np.random.default_rng(0)
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, side - tile + 1, tile):
            for col in range(0, side - tile + 1, tile):
                block = textured if rng.random() < 0.1 else grey
                dataset.write(block, window=Window(col, row, tile, tile))


def child(model: str, raster: str) -> None:
    """Search one raster in this process and print the memory that it took above the imports, and
    the seconds.
    """
    import torch

    torch.set_num_threads(2)
    from windhover.inference.detector import Detector
    from windhover.inference.search_results import SearchReport

    detector = Detector.from_bundle(model)
    report = SearchReport()
    started = time.perf_counter()
    with PeakMemory() as memory:
        found = detector.detect(raster, report=report)
    figures = {
        "added_mib": round(memory.added_mib),
        "seconds": round(time.perf_counter() - started, 1),
        "objects": len(found),
        "windows": report.windows_searched,
        "mpx": round(report.mpx),
    }
    print(json.dumps(figures))


def main() -> None:
    """Search each size in a process of its own."""
    from fake_models import write_bundle

    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "model", threshold=0.999)
        for gsd_m, side in product(GSDS_M, SIDES):
            raster = Path(folder) / f"{side}.tif"
            write_mostly_grey(raster, side, gsd_m)
            command = [sys.executable, __file__, str(Path(folder) / "model"), str(raster)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            name = f"{side} px of {gsd_m} m"
            figures[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, figures[name], flush=True)
            raster.unlink()
    for gsd_m in GSDS_M:
        added = [figures[f"{side} px of {gsd_m} m"]["added_mib"] for side in SIDES]
        figures[f"spread of {gsd_m} m"] = round(max(added) / min(added) - 1, 3)
    save("memory", figures, "under 1536 MiB above the imports, equal within 10 % (spread 0.1)")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        child(*sys.argv[1:])
    else:
        main()
