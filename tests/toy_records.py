"""Tests of made-up models, as they are kept and compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from windhover.evaluation.model_test import TestRecord
from windhover.metrics.ground_truth import GroundTruth

SCENES = [f"s{k:02d}" for k in range(40)]


def evaluated(skill: float, seed: int, ground_seed: int = 0, threshold: float = 0.5) -> TestRecord:
    """A model that finds each object with the chance `skill`, and scores alarms low."""
    world, rng = np.random.default_rng(ground_seed), np.random.default_rng(seed)
    rows, objects = [], []
    for scene in SCENES:
        number = int(world.integers(0, 8))
        objects += [(scene, "jet")] * number
        found = rng.random(number) < skill
        rows += [(scene, "jet", float(score), True) for score in rng.beta(6, 3, found.sum())]
        rows += [
            (scene, "jet", float(score), False) for score in rng.beta(3, 6, rng.integers(0, 5))
        ]
    scenes = pd.DataFrame({"scene": SCENES, "place": SCENES, "km2": 0.5})
    matches = pd.DataFrame(rows, columns=["scene", "class", "score", "is_tp"]).sort_values(
        "score", ascending=False
    )
    ground_truth = GroundTruth(
        scenes,
        pd.DataFrame(objects, columns=["scene", "class"]),
        pd.DataFrame({"scene": [], "geometry": []}),
    )
    return TestRecord(
        f"model-{seed}", matches.assign(ignored=False), ground_truth, {"jet": threshold}
    )


def save(model: TestRecord, folder: Path) -> Path:
    folder.mkdir()
    model.matches.drop(columns="ignored").to_parquet(folder / "matches.parquet")
    counts = (
        model.ground_truth.objects.groupby(["scene", "class"])
        .size()
        .rename("objects")
        .reset_index()
    )
    rows = model.ground_truth.scenes.merge(counts, on="scene", how="left")
    rows.assign(objects=rows["objects"].fillna(0).astype(int)).to_parquet(
        folder / "ground_truth.parquet"
    )
    points = {name: {"threshold": {"value": value}} for name, value in model.thresholds.items()}
    (folder / "metrics.json").write_text(
        json.dumps({"model": model.model, "operating_point": points})
    )
    return folder


def model_of_places(name: str, objects: np.ndarray, seed: int, *, skill: float = 0.8) -> TestRecord:
    """A model whose recall and false alarms differ from place to place, by one law."""
    rng = np.random.default_rng(seed)
    scenes = [f"s{k:02d}" for k in range(len(objects))]
    rows = []
    for scene, number in zip(scenes, objects, strict=True):
        found = rng.random(number) < rng.beta(10 * skill, 10 * (1 - skill))
        alarms = rng.poisson(rng.gamma(1.0, 1.5))
        rows += [(scene, "jet", float(score), True) for score in rng.beta(5, 2, found.sum())]
        rows += [(scene, "jet", float(score), False) for score in rng.beta(2, 5, alarms)]
    matches = pd.DataFrame(rows, columns=["scene", "class", "score", "is_tp"])
    table = pd.DataFrame({"scene": scenes, "place": scenes, "km2": 1.0})
    there = pd.DataFrame({"scene": np.repeat(scenes, objects), "class": "jet"})
    ground_truth = GroundTruth(table, there, pd.DataFrame({"scene": [], "geometry": []}))
    return TestRecord(name, matches.assign(ignored=False), ground_truth, {"jet": 0.4})
