"""Whole `detect` from a tiled, deflated RGB file against the bare network on blocks already in memory."""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measuring import picture, save, write_raster

from planted import random_weights, write_bundle
from windhover.bundles import load_bundle
from windhover.dense import fold_batch_norms
from windhover.detector import BLOCK_PX, Detector

SIDE = int(os.environ.get("SIDE", "8000"))
WIDTH = os.environ.get("WIDTH", "base")


def bare(network: torch.nn.Module, normalizer: torch.nn.Module, blocks: list[np.ndarray]) -> float:
    """Return Mpx/s of the plain folded network, channels last, over blocks in memory."""
    started = time.perf_counter()
    with torch.inference_mode():
        for block in blocks:
            network(normalizer(torch.from_numpy(block)[None]).contiguous(memory_format=torch.channels_last))
    return sum(block.shape[1] * block.shape[2] for block in blocks) / 1e6 / (time.perf_counter() - started)


def main() -> None:
    """Time both in turns: blocks before, the file, blocks after."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        widths = {"small": 16, "base": 32}
        write_bundle(Path(folder) / "m", 0.99, random_weights(width=widths[WIDTH]), width=widths[WIDTH])
        raster = write_raster(Path(folder) / "big.tif", SIDE, SIDE)
        detector = Detector.from_bundle(Path(folder) / "m")
        bundle = load_bundle(Path(folder) / "m")
        network = fold_batch_norms(bundle.network()).to(memory_format=torch.channels_last)
        sides = {"512": 512, str(BLOCK_PX): BLOCK_PX}
        speeds: dict[str, list[float]] = {name: [] for name in [*sides, "scorer", "detect"]}
        for turn in range(3):
            for name, side in sides.items():
                blocks = [picture(side, side, seed) for seed in range(max(4_000_000 // side**2, 2))]
                speeds[name].append(bare(network, bundle.normalizer(), blocks))
            started = time.perf_counter()
            for seed in range(2):
                detector.scorer.score(picture(BLOCK_PX, BLOCK_PX, seed))
            speeds["scorer"].append(2 * BLOCK_PX**2 / 1e6 / (time.perf_counter() - started))
            if turn < 2:
                profile = cProfile.Profile()
                started = time.perf_counter()
                found = profile.runcall(detector.detect, raster)
                speeds["detect"].append(SIDE**2 / 1e6 / (time.perf_counter() - started))
    lines = io.StringIO()
    pstats.Stats(profile, stream=lines).sort_stats("tottime").print_stats(8)
    median = {name: float(np.median(values)) for name, values in speeds.items()}
    reference = max(median[name] for name in sides)
    figures = {
        "raster_px": SIDE,
        "network": f"valid64 {WIDTH}",
        "objects": len(found),
        "mpx_per_s": {name: [round(value, 3) for value in values] for name, values in speeds.items()},
        "ratio_to_bare_network_on_blocks_of_its_own_size": round(median["detect"] / median[str(BLOCK_PX)], 3),
        "ratio_to_bare_network_at_its_best": round(median["detect"] / reference, 3),
        "profile": [line.strip() for line in lines.getvalue().splitlines() if line.strip()][4:14],
    }
    save(f"detect_throughput_{WIDTH}", figures, "0.85 of the bare network's own Mpx/s on blocks in memory")


if __name__ == "__main__":
    main()
