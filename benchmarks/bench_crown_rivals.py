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
from measuring import save
from rasterio.windows import Window
from rival_jobs import changes_of_color, run_job

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.params import read_yaml
from windhover.training.choose_radiometry import FOR_ONE_CLASS_IN_COLOR

RECIPE = {"learning_rate": 2e-3, "batch": 8, "side_px": 192, "weight_decay": 0.05}
MARGIN_PX = 45  # from the middle of the largest crown to its farthest corner
PRECISION = 0.9
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
    return {"path": str(path), "boxes": inside.round(2).tolist(), "ignored": []}


def matched(found: pd.DataFrame, boxes: np.ndarray) -> pd.DataFrame:
    """Return detections, best first, with whether each is the first at a crown."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = CENTER * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    order = found.sort_values("score", ascending=False, kind="stable")
    is_free = np.ones(len(boxes), bool)
    is_tp = []
    for point in order[["col", "row"]].to_numpy():
        distance = np.hypot(*(centers - point).T) / reach
        nearest = int(np.where(is_free, distance, np.inf).argmin())
        is_tp.append(bool(is_free[nearest] and distance[nearest] <= 1))
        is_free[nearest] &= not is_tp[-1]
    return order.assign(is_tp=is_tp)


def figures(order: pd.DataFrame, n_objects: int) -> dict[str, float]:
    """Return AP and recall at a precision of 0.9 of detections, best first."""
    hits = order["is_tp"].to_numpy(bool).cumsum()
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / n_objects
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    reached = recall[precision >= PRECISION]
    return {
        "ap": round(float((np.diff(recall, prepend=0.0) * envelope).sum()), 4),
        "recall": round(float(reached.max(initial=0.0)), 4),
    }


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
    boxes = np.array(blocks[number]["boxes"])
    ways = [
        {"merging": way, **figures(matched(part, boxes), len(boxes))}
        for way, part in found.groupby("way")
    ]
    return max(ways, key=lambda one: one["ap"])


def fold_of_windhover(project: Path, number: int, blocks: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of the project's own fold that tested a block."""
    for path in project.glob(".windhover/kfold/*/fold-*/reports"):
        truth = pd.read_parquet(path / "ground_truth.parquet")
        if truth["place"].iloc[0].endswith(f"~b{number}"):
            matches = pd.read_parquet(path / "matches.parquet")
            counted = matches[~matches["ignored"]].sort_values("score", ascending=False)
            n_objects = int(truth["objects"].sum())
            if n_objects != len(blocks[number]["boxes"]):
                raise SystemExit(f"block {number}: {n_objects} crowns, and not as many as here")
            return figures(counted, n_objects)
    raise SystemExit(f"{project}: no fold tested block {number}")


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
            row["windhover"] = fold_of_windhover(asked.project, number, blocks)
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
