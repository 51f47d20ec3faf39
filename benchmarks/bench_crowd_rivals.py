"""Objects side by side, found by a rival that is trained on the same scenes of `crowd_world`.

    python benchmarks/bench_crowds.py FOLDER --minutes 6 --name NAME
    python benchmarks/bench_crowd_rivals.py FOLDER/project-NAME --minutes 6 10 [--seed 0]

The rival is trained from scratch on the project's `train` scenes for as many minutes of one
processor's time, with the places, scales, turns and changes of colour that Windhover's crops get,
both classes at once. It sees them at the GSD of `--gsd`, resampled as for Windhover. Of its two
heads, the second of which needs no merging, and the overlaps above which boxes are merged, what
has the best mean AP, or recall, on the `val` scenes is judged on `test`: in the plane and by the
matching of `bench_crowds.py`. Needs .venv-rivals (requirements-rivals.txt).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
from crowd_figures import CLASSES, figures_of, keep_row, truth_of
from rival_jobs import changes_of_color, run_job, write_resampled

from windhover.dataset.catalog import load_catalog
from windhover.params import read_yaml
from windhover.training.choose_radiometry import FOR_SEVERAL_CLASSES

RECIPE = {"learning_rate": 2e-3, "batch": 8, "side_px": 320, "weight_decay": 0.05}
REACH_M = 4.0  # from the middle of the longest object to its farthest corner


def corners_of(labels: geopandas.GeoDataFrame, raster: Path, gsd_m: float) -> list[list[float]]:
    """Return upright boxes of a scene's objects, xyxy px at a GSD."""
    with rasterio.open(raster) as file:
        left, top = file.transform.c, file.transform.f
    bounds = labels.geometry.bounds
    columns = [bounds["minx"] - left, top - bounds["maxy"], bounds["maxx"] - left]
    table = np.column_stack([*columns, top - bounds["miny"]]) / gsd_m
    corners: list[list[float]] = table.round(2).tolist()
    return corners


def job_of(
    asked: argparse.Namespace, minutes: float, labels: geopandas.GeoDataFrame, folder: Path
) -> dict[str, Any]:
    """Return the job of a rival, its scenes resampled."""
    catalog = load_catalog(asked.project / "data/scenes")
    names = {
        split: catalog.split(split).scenes["scene"].tolist() for split in ("train", "val", "test")
    }
    rasters = asked.project.parent / "scenes"
    scenes = {
        name: write_resampled(rasters / f"{name}.tif", folder / f"{name}.tif", asked.gsd, None)
        for name in chain(*names.values())
    }
    trained = []
    for name in names["train"]:
        objects = labels[labels["scene"] == name]
        boxes = corners_of(objects, rasters / f"{name}.tif", asked.gsd)
        kinds = [CLASSES.index(kind) for kind in objects["class"]]
        trained.append({"path": str(scenes[name]), "boxes": boxes, "classes": kinds, "ignored": []})
    written = read_yaml(asked.project / "params.yaml")["train"]["batch_augment"]
    return {
        **RECIPE,
        **asked.recipe,
        "rival": asked.rival,
        "n_classes": len(CLASSES),
        "cpu_s": 60 * minutes,
        "seed": asked.seed,
        "margin_px": round(REACH_M / asked.gsd),
        "colours": changes_of_color(written, FOR_SEVERAL_CLASSES),
        "train": trained,
        "searched": names,
        "search": [str(scenes[name]) for split in ("val", "test") for name in names[split]],
    }


def read_found(path: Path, asked: argparse.Namespace) -> pd.DataFrame:
    """Return the detections of a job, metres of the scenes' plane."""
    found = pd.read_csv(path, dtype={"scene": str})
    corner = {}
    for name in found["scene"].unique():
        with rasterio.open(asked.project.parent / "scenes" / f"{name}.tif") as file:
            corner[name] = (file.transform.c, file.transform.f)
    lefts, tops = np.array([corner[name] for name in found["scene"]]).reshape(-1, 2).T
    columns = {"way": found["way"], "scene": found["scene"], "score": found["score"]}
    return pd.DataFrame(
        {
            **columns,
            "class": [CLASSES[number] for number in found["class"]],
            "x_m": lefts + found["col"] * asked.gsd,
            "y_m": tops - found["row"] * asked.gsd,
            "longer_m": np.nan,
        }
    )


def judged(
    found: pd.DataFrame, labels: geopandas.GeoDataFrame, scenes: dict[str, list[str]]
) -> dict[str, Any]:
    """Return the figures on `test` of the way of merging that is best on `val`."""
    parts = {}
    for split in ("val", "test"):
        truth = truth_of(labels, scenes[split])
        of_split = found[found["scene"].isin(scenes[split])]
        if of_split.empty:
            raise SystemExit(f"The rival found nothing on {split}: train it for longer.")
        parts[split] = {
            way: figures_of(part.reset_index(drop=True), truth)
            for way, part in of_split.groupby("way")
        }
    best = {
        key: max(
            parts["val"], key=lambda way: sum(parts["val"][way][f"{key}_{k}"] for k in CLASSES)
        )
        for key in ("ap", "recall")
    }
    keys = [f"{key}_{kind}" for key in ("ap", "recall") for kind in CLASSES]
    short = {
        split: {way: [one[key] for key in keys] for way, one in ways.items()}
        for split, ways in parts.items()
    }
    by_ap, by_recall = ({"merging": way, **parts["test"][way]} for way in best.values())
    return {**by_ap, "best_recall_on_val": by_recall, "all_ways": {"columns": keys, **short}}


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path, help="made by bench_crowds.py, at least its catalog")
    parser.add_argument("--rival", default="yolo26n", help="a model of ultralytics")
    parser.add_argument("--minutes", type=float, nargs="+", default=[6.0])
    parser.add_argument("--gsd", type=float, default=0.1, help="that the rival sees, m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps jobs, weights and detections")
    parser.add_argument(
        "--recipe", type=json.loads, default={}, help='changes of a pilot, such as {"batch": 4}'
    )
    parser.add_argument("--pilot", action="store_true", help="prints, saves nothing")
    return parser.parse_args()


def main() -> None:
    """Train, search and judge for each budget."""
    asked = read_options()
    asked.project = asked.project.resolve()
    labels = geopandas.read_file(asked.project.parent / "labels.gpkg")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        resampled = folder / f"scenes-{asked.gsd:g}"
        resampled.mkdir(parents=True, exist_ok=True)
        for minutes in asked.minutes:
            name = f"{asked.rival}_{minutes:g}_minutes_seed{asked.seed}"
            job = job_of(asked, minutes, labels, resampled)
            figures = run_job("rival_crowds.py", job, folder / f"{name}.json", threads=1)
            found = read_found(folder / f"{name}.csv", asked)
            row = {"minutes": minutes, "gsd_m": asked.gsd, "recipe": RECIPE | asked.recipe}
            row |= figures | judged(found, labels, job["searched"])
            if asked.pilot:
                print(name, json.dumps(row, indent=1))
            else:
                keep_row(name, row)


if __name__ == "__main__":
    main()
