"""Assessing a million detections against 100,000 objects: seconds and peak memory, by centre and by
IoU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import shapely
from measuring import save

SIDE_M, TRUTH, FOUND, HITS = 40_000.0, 100_000, 1_000_000, 80_000
CHILD = """
import json, resource, sys, time
from pathlib import Path
from windhover.evaluation.evaluate_vectors import VectorRequest, assess_files
folder = Path(sys.argv[1])
started, used = time.perf_counter(), time.process_time()
request = VectorRequest(
    folder / "found.gpkg", folder / "truth.gpkg", match_by=sys.argv[2], output=folder / "out.json"
)
assess_files(request)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
seconds = {
    "seconds": round(time.perf_counter() - started, 1),
    "processor_seconds": round(time.process_time() - used, 1),
}
print(json.dumps(seconds | {"peak_gib": round(peak, 2)}))
"""


def write(folder: Path) -> None:
    """Write both files: four objects in five are found a few metres off, all other detections lie
    anywhere.
    """
    rng = np.random.default_rng(0)
    origin = (4e5, 5e6)
    there, size = rng.uniform(0, SIDE_M, (TRUTH, 2)) + origin, rng.uniform(15, 60, (TRUTH, 2))
    near = there[:HITS] + rng.normal(0, 4, (HITS, 2))
    anywhere = rng.uniform(0, SIDE_M, (FOUND - HITS, 2)) + origin
    boxes = np.concatenate(
        [size[:HITS] * rng.uniform(0.8, 1.2, (HITS, 2)), rng.uniform(15, 60, (FOUND - HITS, 2))]
    )
    scores = np.r_[rng.beta(6, 2, HITS), rng.beta(2, 6, FOUND - HITS)]
    order = rng.permutation(FOUND)
    for name, xy, sides, more in (
        ("truth", there, size, {}),
        ("found", np.concatenate([near, anywhere])[order], boxes[order], {"score": scores[order]}),
    ):
        corners = (*(xy - sides / 2).T, *(xy + sides / 2).T)
        table = geopandas.GeoDataFrame(
            {"class": np.full(len(xy), "aircraft"), **more},
            geometry=shapely.box(*corners),
            crs=32631,
        )
        table.to_file(folder / f"{name}.gpkg")


def main() -> None:
    """Assess them in a process each, reading of the files included."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for match in ("centre", "iou", "oriented-iou"):
            command = [sys.executable, "-c", CHILD, folder, match]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            figures[match] = json.loads(done.stdout.splitlines()[-1])
    save("assess", {"detections": FOUND, "objects": TRUTH, **figures}, "under 30 s, under 2 GiB")


if __name__ == "__main__":
    main()
