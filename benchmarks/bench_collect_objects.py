"""Memory and time of collecting many objects: made-up scenes that overlap, no network.

    python benchmarks/bench_collect_objects.py [OBJECTS ...]

Scenes of 1.25 km stand in rows that overlap by a quarter, 100 objects in each; each object is found
in every scene that holds it, 1 m off. Each size runs in a process of its own, whose peak resident
memory is that of the whole program.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measuring import save

import toy_collection as toy
from windhover.collection.write_collection import write_collection

SIZES = (10_000, 100_000, 1_000_000)
STEP_M = 937.5
SHAPE_HW = (2500, 2500)
PER_SCENE = 64  # distinct objects for each scene, since a quarter of each side is seen twice


def scenes(count: int) -> Iterator[Any]:
    """Yield the scenes of a square region with some number of objects."""
    n_side = max(round((count / PER_SCENE) ** 0.5), 1)
    for line in range(n_side):
        for number in range(n_side):
            x = 300_000 + STEP_M * number
            y = 5_000_000 - STEP_M * line
            places = []
            for east in (0, 1):
                for south in (0, 1):
                    places += _objects(number + east, line + south)
            name = f"s{line:04d}_{number:04d}"
            yield toy.scene(name, places, origin=(x, y), shape_hw=SHAPE_HW)


def _objects(number: int, line: int) -> list[tuple[float, float, float]]:
    """Return the objects of one square of the region, 100 m apart, the same for each scene."""
    rng = np.random.default_rng([number, line])
    places = []
    for row in range(8):
        for col in range(8):
            shift = rng.uniform(-1, 1, 2)
            x = 300_000 + STEP_M * number + 117 * col + 50 + shift[0]
            y = 5_000_000 - STEP_M * line - 117 * row - 50 + shift[1]
            places.append((x, y, float(rng.uniform(0.5, 1))))
    return places


def collect(count: int) -> None:
    """Collect and print objects, detections, seconds and peak memory."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        manifest = write_collection(scenes(count), toy.HEADER, Path(name) / "out")
    seconds = time.perf_counter() - started
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    found = manifest.found
    print(found.objects, found.detections, manifest.searched.scenes, round(seconds, 1), peak_mib)


def main() -> None:
    """Collect each number of objects in a process of its own."""
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        collect(int(sys.argv[2]))
        return
    figures: dict[str, Any] = {}
    for count in [int(text) for text in sys.argv[1:]] or SIZES:
        command = [sys.executable, __file__, "--one", str(count)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        objects, detections, n_scenes, seconds, peak_mib = map(float, output.split())
        figures[str(count)] = {
            "objects": int(objects),
            "detections": int(detections),
            "scenes": int(n_scenes),
            "seconds": seconds,
            "seconds_per_1000_detections": round(1000 * seconds / detections, 3),
            "peak_mib": round(peak_mib),
        }
    save("collect_objects", {"sizes": figures}, "1,000,000 objects under 1.5 GiB, time linear")


if __name__ == "__main__":
    main()
