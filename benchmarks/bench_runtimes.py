"""The runtimes of a search on a CPU: speed of the network alone, and how far its logits move.

    python benchmarks/bench_runtimes.py MODEL RASTER... [--gsd M]

Blocks of 1,024 px and their margin, runtimes in turns, medians of processor time and wall time; one
thread and all threads by OMP_NUM_THREADS. MODEL must hold graphs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import save

from windhover.inference.detector import Detector
from windhover.inference.scorer import Scorer
from windhover.models.bundle import load_bundle

SIDE_PX = 1024 + 64
ROUNDS = 7
WAYS = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("torch", "int8"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "int8"),
)


def read_blocks(detector: Detector, rasters: list[str], gsd_m: float | None) -> list[np.ndarray]:
    """Return the upper left block of each raster at the model's GSD."""
    blocks = []
    for raster in rasters:
        with detector.open(raster, gsd_m) as scene:
            height, width = scene.shape_hw
            side = min(SIDE_PX, height, width)
            blocks.append(np.ascontiguousarray(scene.read(0, 0, side, side)[0]))
    return blocks


def load_scorers(model: str) -> dict[str, Scorer]:
    """Return the scorers that this machine offers, by name."""
    bundle = load_bundle(model)
    scorers = {}
    for runtime, precision in WAYS:
        try:
            detector = Detector(
                bundle, runtime=runtime, device="cpu", inference_precision=precision
            )
        except Exception as error:  # noqa: BLE001  # a way that this machine does not offer
            print(f"left out: {runtime} {precision}: {error}")
            continue
        scorers[f"{runtime} {precision}"] = detector.scorer
    return scorers


def main() -> None:
    """Time the runtimes in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("rasters", nargs="+")
    parser.add_argument("--gsd", type=float)
    arguments = parser.parse_args()
    scorers = load_scorers(arguments.model)
    detector = Detector.from_bundle(arguments.model, runtime="torch", inference_precision="fp32")
    blocks = read_blocks(detector, arguments.rasters, arguments.gsd)
    mpx = sum(block[0].size for block in blocks) / 1e6
    reference = [scorers["torch fp32"].score(block).logits for block in blocks]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in scorers}
    errors = {}
    for turn in range(ROUNDS):
        for name, scorer in scorers.items():
            wall = time.perf_counter()
            processor = time.process_time()
            logits = [scorer.score(block).logits for block in blocks]
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
            if turn == 0:
                pairs = zip(logits, reference, strict=True)
                errors[name] = float(np.mean([np.abs(a - b).mean() for a, b in pairs]))
    figures: dict[str, Any] = {"rasters": [Path(raster).name for raster in arguments.rasters]}
    for name, taken in times.items():
        wall, processor = np.median(taken[1:], axis=0)
        figures[name] = {
            "mpx_per_s": round(mpx / wall, 2),
            "mpx_per_processor_s": round(mpx / processor, 2),
            "mean_logit_error": round(errors[name], 5),
        }
    save("runtimes", figures, "openvino int8 at least as fast and as accurate as torch int8")


if __name__ == "__main__":
    main()
