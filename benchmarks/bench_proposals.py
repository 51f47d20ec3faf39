"""What `windhover init` proposes, against the defaults and against values set by hand.

    python benchmarks/bench_proposals.py FOLDER [--minutes 1.5] [--only WORLD]

Worlds of `crowd_world` that differ in size and density. Each is trained with what is proposed, with
the repository's defaults at the scenes' own GSD, and with values that a person who knows the
parameters would set. AP by centre, as in `bench_crowds`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import geopandas
from bench_crowds import figures_of, run, search, truth_of
from crowd_world import GSD_M, Style, make_crowd_world
from measuring import RESULTS, save

N_SCENES = 8
SEED = 40
WORLDS = {
    "small, apart": Style((14.0, 30.0), (1.0, 3.0), 600),
    "small, crowded": Style((10.0, 22.0), (0.0, 0.5), 500),
    "large": Style((70.0, 150.0), (0.3, 2.0), 1800),
}
DEFAULTS = [
    f"scenes.gsd_m={GSD_M}",
    "patches.positive_radius_px=8.0",
    "patches.ignore_radius_px=15.0",
    "evaluate.stride_px=8",
    "evaluate.peak_tta=recenter",
    "evaluate.merge_distance=0.5",
    "evaluate.merge_iou=0.3",
    "evaluate.scales=[1.0]",
]
BY_HAND = {
    "small, apart": ["scenes.gsd_m=0.3", "evaluate.stride_px=4", "evaluate.peak_tta=d4"],
    "small, crowded": [
        "scenes.gsd_m=0.15",
        "patches.positive_radius_px=4.5",
        "patches.ignore_radius_px=8.0",
        "evaluate.stride_px=4",
        "evaluate.merge_distance=0.3",
        "evaluate.merge_iou=0.6",
    ],
    "large": ["scenes.gsd_m=0.9", "evaluate.peak_tta=d4"],
}


def measure(folder: Path, name: str, settings: list[str], minutes: float) -> dict[str, float]:
    """Return the figures of one project of a world."""
    project = folder / name
    words = ["windhover.cli.app", "init", str(project), "--minutes", str(minutes)]
    words += ["--scenes", str(folder / "scenes"), "--labels", str(folder / "labels.gpkg")]
    run(folder, *words)
    if settings:
        run(project, "windhover.cli.app", "set", *settings)
    run(project, "dvc", "repro", "evaluate")
    found, scenes = search(project, folder)
    figures = figures_of(found, truth_of(geopandas.read_file(folder / "labels.gpkg"), scenes))
    chosen = ("ap_car", "ap_boat", "recall_car", "recall_boat")
    return {key: figures[key] for key in chosen}


def main() -> None:
    """Measure every world, or one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--only", choices=tuple(WORLDS))
    asked = parser.parse_args()
    path = RESULTS / "proposals.json"
    worlds = json.loads(path.read_text(encoding="utf-8"))["worlds"] if path.is_file() else {}
    for world, style in WORLDS.items():
        if asked.only not in (None, world):
            continue
        folder = asked.folder.resolve() / world.replace(", ", "-")
        make_crowd_world(folder, N_SCENES, SEED, style)
        rows = {}
        for name, settings in (
            ("proposed", []),
            ("defaults", DEFAULTS),
            ("by hand", BY_HAND[world]),
        ):
            rows[name] = measure(folder, name.replace(" ", "_"), settings, asked.minutes)
        worlds[world] = {"minutes": asked.minutes, **rows}
        save("proposals", {"worlds": worlds}, "proposed is no worse than by hand minus 0.02")


if __name__ == "__main__":
    main()
