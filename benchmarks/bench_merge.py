"""Merging a million candidate peaks, scattered and crowded."""

from __future__ import annotations

import time

import numpy as np
from measuring import PeakMemory, save

from windhover.geometry.boxes import merge_duplicates, to_xyxy


def main() -> None:
    """Merge a million candidates in two densities."""
    rng = np.random.default_rng(0)
    count = 1_000_000
    figures = {}
    for name, side in (("one every 16 px", 16_000.0), ("crowded: 9 px2 each", 3_000.0)):
        center, size = (
            rng.uniform(0, side, (2, count)),
            np.exp(rng.normal(np.log(30), 0.4, (2, count))),
        )
        boxes, scores, labels = (
            to_xyxy(*center, *size),
            rng.normal(size=count),
            np.zeros(count, int),
        )
        with PeakMemory() as memory:
            started = time.perf_counter()
            kept = merge_duplicates(boxes, scores, labels, center_distance=0.5, iou_threshold=0.3)
            seconds = time.perf_counter() - started
        figures[name] = {
            "kept": len(kept),
            "seconds": round(seconds, 2),
            "added_mib": round(memory.added_mib),
        }
    save("merge", {"candidates": count, **figures}, "under 10 s, under 1 GiB")


if __name__ == "__main__":
    main()
