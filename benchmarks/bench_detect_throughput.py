"""Whole `detect` from a tiled, deflated RGB file against the bare network on blocks already in
memory.

Both by the clock and by the processor's seconds: on a machine that others use, the second is the
steadier.
"""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import picture, save, write_raster

from fake_models import random_weights, write_bundle
from windhover.inference.detector import Detector
from windhover.inference.multi_scale import BLOCK_PX
from windhover.models.bundle import load_bundle
from windhover.models.layer_fusion import fold_batch_norms

SIDE = int(os.environ.get("SIDE", "8000"))
WIDTH = os.environ.get("WIDTH", "base")
TURNS = 2


def bare(network: torch.nn.Module, normalizer: torch.nn.Module, blocks: list[np.ndarray]) -> None:
    """Run the plain folded network, channels last, over blocks in memory."""
    with torch.inference_mode():
        for block in blocks:
            network(
                normalizer(torch.from_numpy(block)[None]).contiguous(
                    memory_format=torch.channels_last
                )
            )


def speeds_of(action: Callable[[], Any], mpx: float) -> tuple[float, float]:
    """Return Mpx a second by the clock and by the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    action()
    return mpx / (time.perf_counter() - clock), mpx / (time.process_time() - processor)


def main() -> None:
    """Time both in turns: blocks before, the file, blocks after."""
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    with tempfile.TemporaryDirectory() as folder:
        widths = {"small": 16, "base": 32}
        write_bundle(
            Path(folder) / "m", 0.99, random_weights(width=widths[WIDTH]), width=widths[WIDTH]
        )
        raster = write_raster(Path(folder) / "big.tif", SIDE, SIDE)
        detector = Detector.from_bundle(Path(folder) / "m")
        bundle = load_bundle(Path(folder) / "m")
        network = fold_batch_norms(bundle.network()).to(memory_format=torch.channels_last)
        sides = {f"bare network, blocks of {side} px": side for side in (512, BLOCK_PX)}
        speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in [*sides, "detect"]}
        profile = cProfile.Profile()
        for turn in range(TURNS):
            for name, side in sides.items():
                blocks = [picture(side, side, seed) for seed in range(max(8_000_000 // side**2, 1))]
                mpx = len(blocks) * side**2 / 1e6
                speeds[name].append(
                    speeds_of(lambda blocks=blocks: bare(network, bundle.normalizer(), blocks), mpx)
                )
            search = (
                (lambda: profile.runcall(detector.detect, raster))
                if turn == 0
                else (lambda: detector.detect(raster))
            )
            speeds["detect"].append(speeds_of(search, SIDE**2 / 1e6))
    lines = io.StringIO()
    pstats.Stats(profile, stream=lines).strip_dirs().sort_stats("tottime").print_stats(8)
    figures: dict[str, Any] = {"raster_px": SIDE, "network": f"valid64 {WIDTH}", "turns": TURNS}
    for number, kind in enumerate(("mpx_per_s", "mpx_per_cpu_s")):
        best = {
            name: max(values[number] for values in measured) for name, measured in speeds.items()
        }
        figures[kind] = {name: round(value, 3) for name, value in best.items()}
        figures[f"ratio_by_{kind}"] = {
            name: round(best["detect"] / best[name], 3) for name in sides
        }
    figures["profile"] = [line.strip() for line in lines.getvalue().splitlines() if line.strip()][
        4:14
    ]
    save(
        f"detect_throughput_{WIDTH}",
        figures,
        "0.85 of the bare network's own Mpx/s on blocks in memory",
    )


if __name__ == "__main__":
    main()
