"""Processor time of a whole `windhover detect` of one 512 px raster, by each runtime in turns.

    python benchmarks/bench_detect_start.py [--model FOLDER] [--runs 5]

From the start of the process to its GeoPackage: most of it is what a program loads before the first
pixel. The first run of each runtime is left out (it warms the disk).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import save, write_raster

SIDE_PX = 512
RUNTIMES = ("openvino", "onnx", "torch")
START = "from windhover.cli.app import main; main()"


def processor_s(raster: Path, model: str, runtime: str) -> float:
    """Return the processor seconds of one process."""
    options = ["--model", model, "--runtime", runtime, "-o", str(raster.parent / "found.gpkg")]
    command = [sys.executable, "-c", START, "detect", str(raster), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"detect by {runtime} ended with status {status}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run all runtimes in turns; save medians, ranges and ratios to torch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="folder with graphs, or demo")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    seconds: dict[str, list[float]] = {runtime: [] for runtime in RUNTIMES}
    with tempfile.TemporaryDirectory() as folder:
        raster = write_raster(Path(folder) / "scene.tif", SIDE_PX, SIDE_PX)
        for run in range(asked.runs + 1):
            for runtime in RUNTIMES:
                taken = processor_s(raster, asked.model, runtime)
                if run > 0:
                    seconds[runtime].append(taken)
    torch = statistics.median(seconds["torch"])
    figures = {
        runtime: {
            "median_s": round(statistics.median(taken), 2),
            "range_s": [round(min(taken), 2), round(max(taken), 2)],
            "of_torch": round(statistics.median(taken) / torch, 2),
        }
        for runtime, taken in seconds.items()
    }
    save("detect_start", {"runs": asked.runs, "runtimes": figures}, "at most 2 s without torch")


if __name__ == "__main__":
    main()
