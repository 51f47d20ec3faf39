"""What a reviewed row is worth: the closed loop of `windhover review`, an oracle as the person.

    WINDHOVER_REAL_DATA=... python benchmarks/bench_review.py WORK [--minutes 10] [--rounds 3]
        [--budget 50] [--divisions 2] [--seeds 2] [--orders doubt random]

Of the Airbus training scenes four are labelled, the others are searched as if they were not, down
to a score of 0.02: ground where nothing was found is presumed empty. Each round 50 detections of
0.1 and more are reviewed in the file that a person would get, answered from the hidden truth with
5 % wrong answers, applied, and learned from; once in the order asked for and once at random. The
test airports are never reviewed. Every training gets so many minutes of processor time. What was
finished before a stop is kept in WORK, and the same command goes on. Prints AP of every round and
paired comparisons over the places: last round against start, and order against random.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import geopandas
import numpy as np
import pyogrio
import shapely
import torch
from airbus_truth import AirbusScene, airbus_scenes
from measuring import RESULTS, ROOT, machine

from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.evaluation.accept import find_pooled_record
from windhover.evaluation.compare import compare
from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.experiments.cross_validation import (
    INTERMEDIATE,
    FoldFolders,
    load_flow,
    make_catalog,
    make_patches,
)
from windhover.files import write_json
from windhover.params.parameter_sets import set_parameters
from windhover.review.apply_review import ApplyRequest, apply_review
from windhover.review.make_review import ReviewRequest, make_review
from windhover.review.project_params import project_params
from windhover.review.review_record import read_record
from windhover.review.update_labels import nearest_match
from windhover.training.train import train_detector
from windhover.training.training_data import TrainingFolders

N_START = 4  # labelled scenes of the training airports
WRONG_SHARE = 0.05
GSD_M = 0.5
DEEP_SCORE = 0.02  # of the search
LEAST_SCORE = 0.1  # of a row: what the model missed is below its threshold


@dataclass(frozen=True)
class Loop:
    """One loop of rounds.

    Attributes:
        root: its folder, a project of its own.
        order: of the review.
        division: of the airports; 0 is the fixed one.
        seed: of the start scenes, the reviews and the wrong answers.
        minutes: of processor time a training.
        budget: rows a round.
    """

    root: Path
    order: str
    division: int
    seed: int
    minutes: float
    budget: int

    def round_folder(self, number: int) -> FoldFolders:
        """Return the folders of a round; 0 is the start."""
        return FoldFolders(self.root / f"round-{number}")


def start_project(loop: Loop, scenes: list[AirbusScene]) -> None:
    """Write the project of a loop: parameters, and the labels that are known at the start."""
    if (loop.root / "params.yaml").is_file():
        return
    loop.root.mkdir(parents=True, exist_ok=True)
    splits = splits_of_airports(loop.division)
    data = Path(os.environ["WINDHOVER_REAL_DATA"]) / "airbus-aircraft"
    airport_of = {row["image_id"]: row["airport"] for row in _rows(data / "airport_groups.csv")}
    split_of = {scene.path.stem: splits[airport_of[scene.path.name]] for scene in scenes}
    train = sorted(name for name, split in split_of.items() if split == "train")
    rng = np.random.default_rng(loop.seed)
    with_aircraft = [
        name
        for name in train
        if any(scene.boxes["Airplane"] for scene in scenes if scene.path.stem == name)
    ]
    labelled = set(rng.choice(with_aircraft, N_START, replace=False))
    known = labelled | {name for name, split in split_of.items() if split != "train"}
    with (loop.root / "start.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = [row for scene in scenes if scene.path.stem in known for row in scene.rows]
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    write_json(loop.root / "start.json", {"labelled": sorted(labelled), "train": train})
    shutil.copy(ROOT / "dvc.yaml", loop.root / "dvc.yaml")
    shutil.copy(ROOT / "params.yaml", loop.root / "params.new")
    settings = [
        f"scenes.raw={data}",
        "scenes.rasters=images/*.jpg",
        f"scenes.labels={(loop.root / 'start.csv').absolute()}",
        f"scenes.fixed_splits={json.dumps(splits)}",
        f"train.seed={loop.seed}",
        "evaluate.scales=[1.0]",
        "evaluate.peak_tta=recenter",
    ]
    set_parameters(loop.root / "params.new", settings, ROOT / "params/airbus.yaml")
    (loop.root / "params.new").rename(loop.root / "params.yaml")


def splits_of_airports(division: int) -> dict[str, str]:
    """Return airport -> split: the fixed one, or one that tests other airports.

    Division 1 tests as many airports, none of them tested in the fixed one, so that the places of
    both can be pooled.
    """
    fixed = {row["airport"]: row["split"] for row in _rows(ROOT / "benchmarks/airbus_split.csv")}
    if division == 0:
        return fixed
    others = [airport for airport, split in fixed.items() if split != "test"]
    shuffled = np.random.default_rng(division).permutation(others).tolist()
    n_test = sum(split == "test" for split in fixed.values())
    n_val = sum(split == "val" for split in fixed.values())
    splits = dict.fromkeys(fixed, "train")
    splits |= dict.fromkeys(shuffled[:n_test], "test")
    return splits | dict.fromkeys(shuffled[n_test : n_test + n_val], "val")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def train_round(loop: Loop, number: int) -> None:
    """Train and test on the labels that there are now."""
    folders = loop.round_folder(number)
    if (folders.root / "reports/metrics.json").is_file():
        return
    params = load_flow()
    catalog = make_catalog(params.scenes, folders.of_stage("scenes"))
    make_patches(params, catalog, folders)
    if not folders.of_stage("train").is_dir():
        budget = {"max_minutes": loop.minutes, "threads": 1, "epochs": 400}
        trained = params.train.model_copy(update=budget)
        names = ("scenes", "patches", "augmented", "train")
        with mock.patch("time.monotonic", time.process_time):
            train_detector(
                trained, TrainingFolders(*(str(folders.of_stage(n)) for n in names)), track=False
            )
    names = ("scenes", "patches", "train", "model", "reports")
    evaluate(params.evaluate, EvaluationFolders(**{n: folders.of_stage(n) for n in names}))
    for name in INTERMEDIATE:
        shutil.rmtree(folders.of_stage(name), ignore_errors=True)


def review_round(loop: Loop, number: int, scenes: list[AirbusScene]) -> dict[str, Any]:
    """Search the unlabelled scenes with the last model, answer a review, and apply it."""
    folders = loop.round_folder(number)
    done = folders.root / "review.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    start = json.loads((loop.root / "start.json").read_text())
    hidden = {
        scene.path.stem: scene
        for scene in scenes
        if scene.path.stem in set(start["train"]) - set(start["labelled"])
    }
    found = folders.root / "found.parquet"
    if not found.is_file():
        request = DetectRequest(
            scenes=[str(scene.path) for scene in hidden.values()],
            model=folders.of_stage("model"),
            output=found,
            gsd_m=GSD_M,
            threshold=DEEP_SCORE,
        )
        detect_rasters(request)
    output = folders.root / "review.gpkg"
    output.unlink(missing_ok=True)
    asked = ReviewRequest(
        output=output,
        budget=loop.budget,
        n_areas=0,
        order=loop.order,
        least_score=LEAST_SCORE,
        seed=loop.seed + number,
    )
    make_review(found, asked, project_params())
    answered = answer(output, hidden, seed=loop.seed + number)
    lines = apply_review(ApplyRequest([output], project_params(), Path("params.yaml")))
    write_json(done, {**answered, "lines": lines})
    return dict(json.loads(done.read_text()))


def answer(path: Path, hidden: dict[str, AirbusScene], seed: int) -> dict[str, int]:
    """Write verdicts from the hidden truth into a review, some of them wrong."""
    rng = np.random.default_rng([seed, 7])
    rows = {row.id: row for row in read_record(path).rows}
    table = geopandas.GeoDataFrame(pyogrio.read_dataframe(path, layer="review"))
    verdicts = []
    n_true = 0
    for row_id in table["row_id"]:
        row = rows[row_id]
        is_true, is_cut = (
            nearest_match(shapely.box(*row.box), [shapely.box(*b) for b in boxes]) is not None
            for boxes in hidden[row.scene].boxes.values()
        )
        n_true += is_true
        is_wrong = rng.random() < WRONG_SHARE
        if is_cut and not is_true:
            verdicts.append("unsure")  # of an aircraft that the picture's border cuts
        else:
            verdicts.append("object" if is_true != is_wrong else "not an object")
    table["verdict"] = verdicts
    pyogrio.write_dataframe(table, path, layer="review", driver="GPKG", use_arrow=True)
    return {"rows": len(verdicts), "true": n_true}


def run_loop(loop: Loop, rounds: int, scenes: list[AirbusScene]) -> list[dict[str, Any]]:
    """Run the rounds of a loop; return what each found."""
    start_project(loop, scenes)
    os.chdir(loop.root)
    rows = []
    for number in range(rounds + 1):
        first = loop.root.parent / "start"
        if number == 0 and first.is_dir() and not loop.round_folder(0).root.is_dir():
            shutil.copytree(first, loop.round_folder(0).root)  # all orders begin with one model
        train_round(loop, number)
        if number == 0 and not first.is_dir():
            shutil.copytree(loop.round_folder(0).root, first)
        metrics = json.loads((loop.round_folder(number).root / "reports/metrics.json").read_text())
        row = {"round": number, "ap": metrics["scenes"]["test"]["ap"]["value"]}
        if number < rounds:
            row |= review_round(loop, number, scenes)
        rows.append(row)
        print(loop.order, loop.division, loop.seed, json.dumps(row)[:160], flush=True)
    return rows


def compared(first: list[Path], second: list[Path]) -> dict[str, Any]:
    """Return the paired difference of AP over the places of several divisions, pooled."""
    records = [find_pooled_record(",".join(map(str, paths))) for paths in (first, second)]
    row = compare(*records).iloc[0]
    names = ["first", "second", "difference", "low", "high", "verdict"]
    return dict(json.loads(row[names].to_json()))


def main() -> None:
    """Run all loops and write what they show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--divisions", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--orders", nargs=2, default=["doubt", "random"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    scenes = airbus_scenes()
    work = asked.work.absolute()
    document: dict[str, Any] = {"machine": machine(), "asked": vars(asked) | {"work": ""}}
    for seed in range(asked.seeds):
        last: dict[str, list[Path]] = {order: [] for order in asked.orders}
        starts: list[Path] = []
        for division in range(asked.divisions):
            for order in asked.orders:
                root = work / f"division-{division}-seed-{seed}" / order
                loop = Loop(root, order, division, seed, asked.minutes, asked.budget)
                name = f"{order}, division {division}, seed {seed}"
                document[name] = run_loop(loop, asked.rounds, scenes)
                last[order].append(loop.round_folder(asked.rounds).of_stage("reports"))
            starts.append(loop.round_folder(0).of_stage("reports"))
        wanted, rival = (last[order] for order in asked.orders)
        document[f"seed {seed}"] = {
            "against the start": compared(starts, wanted),
            "against random": compared(rival, wanted),
            "random against the start": compared(starts, rival),
        }
        write_json(RESULTS / "review.json", document)
        print(json.dumps(document[f"seed {seed}"], indent=1), flush=True)


if __name__ == "__main__":
    main()
