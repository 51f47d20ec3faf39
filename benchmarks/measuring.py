"""What every benchmark needs: a network worth timing, a raster to search, the machine's name, and a
results file.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "tests"))  # fake_models.py: bundles of random weights


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    import torch

    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def save(name: str, figures: dict[str, Any], target: str) -> None:
    """Write one benchmark's figures beside the others and print them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {"benchmark": name, "must_reach": target, **figures, "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"benchmark": name, "must_reach": target, **figures}, indent=2))


# a process counts the memory of the one that starts it, so a small one stands between
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
_, status, usage = os.wait4(process.pid, 0)
code = os.waitstatus_to_exitcode(status)
print(json.dumps([code, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime]))
"""


def measure_process(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run a program in a folder; return its peak memory in MiB, and its seconds."""
    began = time.monotonic()
    log = folder / "log.txt"
    command = [sys.executable, "-S", "-c", LAUNCHER, *arguments]
    with log.open("a", encoding="utf-8") as stream:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=stream, check=True
        )
    code, peak_mib, cpu_s = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{arguments}: {log.read_text(encoding='utf-8')[-3000:]}")
    seconds = time.monotonic() - began
    return {
        "peak_mib": round(peak_mib),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_s, 1),
    }


def best_of(action: Callable[[], Any], repeats: int) -> float:
    """Return the seconds of the fastest of several runs: others on the machine can only slow one
    down.
    """
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def interleaved(actions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the fastest seconds of each action, run in turns: a busy minute slows all alike."""
    seconds: dict[str, float] = {}
    for _ in range(repeats):
        for name, action in actions.items():
            seconds[name] = min(best_of(action, 1), seconds.get(name, float("inf")))
    return seconds


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (3, H, W) uint8: blurred noise, so that it compresses about as a scene does."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 200, (3, height // 16 + 2, width // 16 + 2)).astype(np.int16)
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return np.clip(smooth + rng.integers(-12, 13, (1, height, width)), 0, 255).astype(np.uint8)


def rgb_profile(height: int, width: int) -> dict[str, Any]:
    """Return how the rasters of the benchmarks are written: tiled, deflated RGB at 1.25 m."""
    from rasterio.transform import Affine

    return {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32631",
        "transform": Affine(1.25, 0, 400_000, 0, -1.25, 5_000_000),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
        "predictor": 2,
        "photometric": "rgb",
        "bigtiff": "if_safer",
    }


def write_raster(path: Path, height: int, width: int) -> Path:
    """Write a tiled, deflated RGB GeoTIFF at 1.25 m, strip by strip."""
    import rasterio
    from rasterio.windows import Window

    profile = rgb_profile(height, width)
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, height, 512):
            strip = picture(min(512, height - row), width, row)
            dataset.write(strip, window=Window(0, row, width, strip.shape[1]))
    return path


class PeakMemory:
    """Peak resident memory of this process while a block runs, above what it was before; MiB."""

    def __enter__(self) -> PeakMemory:
        self._process, self._stop = psutil.Process(), threading.Event()
        self.before = self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)

    @property
    def added_mib(self) -> float:
        return (self.peak - self.before) / 2**20
