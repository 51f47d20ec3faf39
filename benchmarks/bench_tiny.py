"""Tiny objects that stand apart, at the scenes' own GSD and at half of it.

    PYTHONPATH=benchmarks/processor_time python benchmarks/bench_tiny.py FOLDER [--minutes 2]

Draws a `crowd_world` of few objects of 4 to 10 px in FOLDER and trains what `windhover init`
proposes at both GSDs, two seeds each. Prints and keeps AP of the project's own report, and of each
class by centre as in `bench_crowds`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import geopandas
from bench_crowds import figures_of, run, search, truth_of
from crowd_world import GSD_M, Style, make_crowd_world
from measuring import save

N_SCENES = 8
SEED = 41
TINY = Style(length_px=(4.0, 10.0), gap=(2.0, 6.0), side_px=900, occupied=0.04)


def measure(folder: Path, gsd_m: float, seed: int, minutes: float) -> dict[str, Any]:
    """Return the figures of one training."""
    project = folder / f"gsd-{gsd_m:g}-seed-{seed}"
    words = ["windhover.cli.app", "init", str(project), "--minutes", str(minutes)]
    words += ["--scenes", str(folder / "scenes"), "--labels", str(folder / "labels.gpkg")]
    run(folder, *words)
    run(project, "windhover.cli.app", "set", f"scenes.gsd_m={gsd_m}", f"train.seed={seed}")
    run(project, "dvc", "repro", "evaluate")
    found, scenes = search(project, folder)
    figures = figures_of(found, truth_of(geopandas.read_file(folder / "labels.gpkg"), scenes))
    metrics = json.loads((project / "reports/metrics.json").read_text(encoding="utf-8"))
    return {
        "gsd_m": gsd_m,
        "seed": seed,
        "ap": metrics["scenes"]["test"]["ap"]["value"],
        **{key: figures[key] for key in ("ap_car", "ap_boat")},
    }


def main() -> None:
    """Measure both GSDs with two seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    make_crowd_world(folder, N_SCENES, SEED, TINY)
    rows = [
        measure(folder, gsd_m, seed, asked.minutes)
        for seed in (0, 1)
        for gsd_m in (GSD_M, GSD_M / 2)
    ]
    save("tiny", {"minutes": asked.minutes, "rows": rows}, "half the GSD is no worse")


if __name__ == "__main__":
    main()
