"""Tree crowns of one picture, found by a rival on the same folds as `windhover init`'s.

    python benchmarks/bench_crown_rivals.py PROJECT [--minutes 6] [--folder FOLDER]

PROJECT was made by `windhover init` of one scene and its crowns, and has run: its three folds are
under `.windhover/kfold`. For each fold a YOLO26n learns from scratch from the two other blocks, for
as many minutes of one processor's time, and is judged on the block that both left out, by the
project's rule: the centre within half of the longer side. A fold has no `val`: the way of merging
that is best on the **tested** block is taken, which favours the rival. Needs .venv-rivals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import shapely
from crowd_figures import found_at_precision
from measuring import save
from rasterio.windows import Window
from rival_jobs import changes_of_color, run_job

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.metrics.bootstrap import resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule
from windhover.metrics.score_curve import average_precision
from windhover.params import read_yaml
from windhover.training.choose_radiometry import FOR_ONE_CLASS_IN_COLOR

RECIPE = {"learning_rate": 2e-3, "batch": 8, "side_px": 192, "weight_decay": 0.05}
MARGIN_PX = 45  # from the middle of the largest crown to its farthest corner
CENTER = 0.5  # of an object's longer side
BOX = ["left", "top", "right", "bottom"]


def cut_block(catalog: Catalog, block: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write a block as a raster; return its path and the boxes of its crowns, xyxy px."""
    row = next(iter(catalog))
    window = Window(block["col"], block["row"], block["width"], block["height"])
    path = folder / f"block{block['block']}.tif"
    with rasterio.open(row.path) as source:
        pixels = source.read(window=window)
    height, width = pixels.shape[1:]
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=3, dtype=pixels.dtype
    ) as target:
        target.write(pixels)
    boxes = catalog.labels[BOX].to_numpy(float) - [block["col"], block["row"]] * 2
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
    is_inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    inside = boxes[is_inside].clip(0, [width, height] * 2)
    place = {"number": block["block"], "col": block["col"], "row": block["row"]}
    return {**place, "path": str(path), "boxes": inside.round(2).tolist(), "ignored": []}


def truth_of(boxes: np.ndarray) -> GroundTruth:
    """Return the crowns of a block, in px."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    objects = pd.DataFrame(
        {
            "scene": "block",
            "class": "crown",
            "x_m": centers[:, 0],
            "y_m": centers[:, 1],
            "longer_m": (boxes[:, 2:] - boxes[:, :2]).max(axis=1),
            "geometry": shapely.box(*boxes.T),
        }
    )
    scenes = pd.DataFrame({"scene": ["block"], "place": ["block"], "km2": [1.0]})
    ignored = pd.DataFrame({"scene": [], "geometry": []}, dtype=object)
    return GroundTruth(scenes, objects, ignored)


def figures(found: pd.DataFrame, truth: GroundTruth) -> dict[str, float]:
    """Return AP and recall at a precision of 0.9 of what was found, px of the block."""
    columns = {"scene": "block", "class": "crown", "score": found["score"], "longer_m": np.nan}
    table = pd.DataFrame({**columns, "x_m": found["col"], "y_m": found["row"]})
    matches = match_detections(table, truth, MatchRule("size", CENTER, 1.0))
    curve = class_score_curve(matches, truth, resample(truth.scenes, 1, 0))
    precision = float(np.ravel(average_precision(curve.counts()))[0])
    recall = len(found_at_precision(matches)) / len(truth.objects)
    return {"ap": round(precision, 4), "recall": round(recall, 4)}


def fold_of_rival(
    asked: argparse.Namespace, blocks: list[dict[str, Any]], number: int, folder: Path
) -> dict[str, float]:
    """Train a rival without one block; return its figures there, by its best way of merging."""
    written = read_yaml(asked.project / "params.yaml")["train"]["batch_augment"]
    job = {
        **RECIPE,
        "rival": "yolo26n",
        "n_classes": 1,
        "cpu_s": 60 * asked.minutes,
        "seed": asked.seed,
        "margin_px": MARGIN_PX,
        "colours": changes_of_color(written, FOR_ONE_CLASS_IN_COLOR),
        "train": [block for place, block in enumerate(blocks) if place != number],
        "search": [blocks[number]["path"]],
    }
    run_job("rival_crowds.py", job, folder / f"fold{number}.json", threads=1)
    found = pd.read_csv(folder / f"fold{number}.csv")
    truth = truth_of(np.array(blocks[number]["boxes"]))
    ways = [
        {"merging": way, **figures(part.reset_index(drop=True), truth)}
        for way, part in found.groupby("way")
    ]
    return max(ways, key=lambda one: one["ap"])


def fold_of_windhover(project: Path, block: dict[str, Any]) -> dict[str, float]:
    """Return the figures of what the project's own fold found on the block that it tested."""
    for path in project.glob(".windhover/kfold/*/fold-*/reports"):
        truth = pd.read_parquet(path / "ground_truth.parquet")
        if truth["place"].iloc[0].endswith(f"~b{block['number']}"):
            matches = pd.read_parquet(path / "matches.parquet")
            place = {"col": matches["col"] - block["col"], "row": matches["row"] - block["row"]}
            return figures(matches.assign(**place), truth_of(np.array(block["boxes"])))
    raise SystemExit(f"{project}: no fold tested block {block['number']}")


def main() -> None:
    """Train, search and judge each fold, and save the figures of both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", type=Path)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps jobs, weights and detections")
    asked = parser.parse_args()
    catalog = load_catalog(asked.project / "data/scenes")
    (plan,) = json.loads((asked.project / "blocks.json").read_text())["scenes"].values()
    document: dict[str, Any] = {"minutes": asked.minutes, "recipe": RECIPE}
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        blocks = [cut_block(catalog, block, folder) for block in plan]
        for number, block in enumerate(blocks):
            row = {"crowns": len(block["boxes"])}
            row["windhover"] = fold_of_windhover(asked.project, block)
            print(number, json.dumps(row), flush=True)
            row["yolo26n"] = fold_of_rival(asked, blocks, number, folder)
            document[f"block {number}"] = row
            print(number, json.dumps(row), flush=True)
    for name in ("windhover", "yolo26n"):
        rows = [document[f"block {number}"][name] for number in range(len(blocks))]
        document[name] = {
            key: round(float(np.mean([row[key] for row in rows])), 4) for key in ("ap", "recall")
        }
    save("crown_rivals", document, "AP and recall at precision 0.9, mean of the folds")


if __name__ == "__main__":
    main()
