"""`detect` of one raster by two checkouts of the project, in alternating pairs.

Arguments: the older checkout, a raster, a model folder, then any options of `detect`. Prints
processor time and peak memory of every run and the ratio of the medians, new to old. The first
run of each is left out (it warms the disk).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PAIRS = 5
START = "from windhover.cli.app import main; main()"
HERE = Path(__file__).resolve().parents[1]


def detect_once(checkout: Path, arguments: list[str], output: Path) -> tuple[float, float]:
    """Run `detect` with the code of a checkout and return processor seconds and peak MiB."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", START, "detect", *arguments, "-o", str(output)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"detect of {checkout} ended with status {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    older, raster, model, *options = sys.argv[1:]
    checkouts = {"old": Path(older).resolve(), "new": HERE}
    arguments = [raster, "--model", model, *options]
    runs: dict[str, list[tuple[float, float]]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(PAIRS + 1):
            order = ["old", "new"] if pair % 2 == 0 else ["new", "old"]
            for name in order:
                figures = detect_once(checkouts[name], arguments, Path(folder) / f"{name}.csv")
                if pair > 0:
                    runs[name].append(figures)
                    print(f"{pair} {name}: {figures[0]:.2f} s of processor, {figures[1]:.0f} MiB")
    for index, figure in enumerate(("processor time", "peak memory")):
        medians = {n: statistics.median(run[index] for run in runs[n]) for n in runs}
        print(f"{figure}: new {medians['new'] / medians['old']:.3f} times old")


if __name__ == "__main__":
    main()
