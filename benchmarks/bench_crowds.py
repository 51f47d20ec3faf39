"""Small objects side by side, found apart: recall at precision 0.9 in car parks and marinas.

    python benchmarks/bench_crowds.py FOLDER [--minutes 3] [--name NAME] [SETTING ...]

Draws `crowd_world` in FOLDER, makes a project by `windhover init`, changes the SETTINGS (as
`windhover set` takes them), trains it and searches the test scenes. A detection is an object's
where its centre is within a quarter of the object's length from the object's own: half of a
boat's width and more. The results file keeps one row for each NAME.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from crowd_figures import LEAST_SCORE, figures_of, keep_row, truth_of
from crowd_world import make_crowd_world

from windhover.dataset.catalog import load_catalog
from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle

N_SCENES = 12
SEED = 11


def run(project: Path, *words: str) -> None:
    """Run a command of the library in a project."""
    subprocess.run([sys.executable, "-m", *words], cwd=project, check=True)


def search(project: Path, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the detections on the test scenes, metres of their plane, and the scenes."""
    detector = Detector(load_bundle(project / "data/model"))
    scenes = load_catalog(project / "data/scenes").split("test").scenes["scene"].tolist()
    parts = []
    for name in scenes:
        path = folder / "scenes" / f"{name}.tif"
        found = detector.detect(path, threshold=LEAST_SCORE)
        centers = found.geometry.centroid
        columns = {"scene": name, "class": found["class"], "score": found["score"]}
        parts.append(
            pd.DataFrame({**columns, "x_m": centers.x, "y_m": centers.y, "longer_m": np.nan})
        )
    return pd.concat(parts, ignore_index=True), scenes


def main() -> None:
    """Draw, train, measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--name", default="proposed")
    parser.add_argument("--finished", type=Path, help="a finished project, which is measured alone")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    if not (folder / "labels.gpkg").is_file():
        make_crowd_world(folder, N_SCENES, SEED)
    project = asked.finished
    if project is None:
        project = folder / f"project-{asked.name}"
        words = ("windhover.cli.app", "init", str(project), "--minutes", str(asked.minutes))
        run(
            folder,
            *words,
            "--scenes",
            str(folder / "scenes"),
            "--labels",
            str(folder / "labels.gpkg"),
        )
        if asked.settings:
            run(project, "windhover.cli.app", "set", *asked.settings)
        run(project, "dvc", "repro", "evaluate")
    found, scenes = search(project, folder)
    labels = geopandas.read_file(folder / "labels.gpkg")
    row = {"minutes": asked.minutes, "settings": asked.settings}
    keep_row(asked.name, row | figures_of(found, truth_of(labels, scenes)))


if __name__ == "__main__":
    main()
