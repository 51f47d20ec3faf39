"""The `windhover compare` flow: two evaluated models on the same scenes; is their difference more
than chance?

Both are drawn over the same places or scenes at once (paired bootstrap), so what scenes have in
common cancels out. Refuses to compare models that were tested on different scenes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from windhover.errors import DataError, MissingFileError
from windhover.metrics.bootstrap import bootstrap, interval
from windhover.metrics.detection_metrics import Drawn, draw, figures_of, scene_table
from windhover.metrics.ground_truth import Ground
from windhover.metrics.score_curve import Floats

DRAWS = 2000
COMPARED = {
    "ap": ("AP", 1), "f1": ("F1", 1), "precision": ("precision", 1), "recall": ("recall", 1),
    "recall_at_1_per_km2": ("recall at 1 false alarm per km2", 1), "false_alarms_per_km2": ("false alarms per km2", -1),
    "count_error": ("count error per scene", -1),
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """What is kept of a model's test: every detection judged, the ground, and its thresholds."""

    model: str
    judged: pd.DataFrame
    ground: Ground
    thresholds: dict[str, float]


def load_record(folder: Path) -> Record:
    """Read the test of a model from its reports.

    Raises:
        MissingFileError: a file is not there.
        DataError: the model was tested on no scene, as with ready-made patches alone.
    """
    for name in ("judged.parquet", "ground.parquet", "metrics.json"):
        if not (folder / name).is_file():
            raise MissingFileError(
                f"{folder / name}: no such file. Run evaluate again with this version of windhover."
            )
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    judged, rows = (
        pd.read_parquet(folder / "judged.parquet"),
        pd.read_parquet(folder / "ground.parquet"),
    )
    if rows.empty:
        raise DataError(
            f"{folder}: this model was tested on patches alone, and models are compared on scenes. Give it labelled "
            "scenes in `test` and evaluate again, or look at `dvc metrics diff` for its figures on windows."
        )
    scenes = rows.drop_duplicates("scene")[["scene", "place", "km2"]].sort_values(
        "scene", ignore_index=True
    )
    there = rows.loc[rows.index.repeat(rows["objects"]), ["scene", "class"]].reset_index(drop=True)
    points = metrics["operating_point"]
    thresholds = {name: float(point["threshold"]["value"]) for name, point in points.items()}
    ground = Ground(scenes, there, pd.DataFrame({"scene": [], "geometry": []}))
    return Record(str(metrics["model"]), judged.assign(free=False), ground, thresholds)


def compare(first: Record, second: Record) -> pd.DataFrame:
    """Return each figure of both, the difference (second minus first) with its 95 % interval, and
    the verdict.

    Raises:
        DataError: they were tested on different scenes, or against different truth.
    """
    _check_same_ground(first, second)
    drawn = draw(first.ground.scenes, DRAWS, 0)
    values = [_figures(tested, drawn) for tested in (first, second)]
    rows = []
    for name, (label, good) in COMPARED.items():
        once = [float(figures[name][0]) for figures, _ in values]
        difference = values[1][1].get(name, np.zeros(0)) - values[0][1].get(name, np.zeros(0))
        low, high = interval(difference) or (np.nan, np.nan)
        rows.append((label, *once, once[1] - once[0], low, high, _verdict(low * good, high * good)))
    columns = ["figure", "first", "second", "difference", "low", "high", "verdict"]
    return pd.DataFrame(rows, columns=columns).assign(drawn_over=drawn.over)


def _figures(record: Record, drawn: Drawn) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the figures once, and under every draw."""
    table = scene_table(record.judged, record.ground, record.thresholds)
    figures, rows = figures_of(record.judged, record.ground, record.thresholds, drawn, table)
    return figures(np.ones((len(drawn.names), 1))), bootstrap(figures, drawn.weights, rows)


def _verdict(low: float, high: float) -> str:
    """Say what an interval of the difference says, turned so that more is better."""
    if np.isnan(low) or np.isnan(high):
        return "unknown"
    low, high = min(low, high), max(low, high)
    if low > 0:
        return "second is better"
    return "first is better" if high < 0 else "no difference shown"


def _check_same_ground(first: Record, second: Record) -> None:
    counts = [
        tested.ground.objects.groupby(["scene", "class"]).size().to_dict()
        for tested in (first, second)
    ]
    scenes = [set(tested.ground.scenes["scene"]) for tested in (first, second)]
    if scenes[0] != scenes[1]:
        other = sorted(scenes[0] ^ scenes[1])[0]
        raise DataError(
            f"the two were tested on different scenes ({other} is in one only). Evaluate both on the same data."
        )
    if counts[0] != counts[1]:
        raise DataError(
            "the two were tested against different labels of the same scenes. Evaluate both on the same data."
        )


def compare_runs(first: str, second: str) -> list[str]:
    """Compare two runs, or two folders of reports; return the table, one line an item.

    Args:
        first: a folder, or an MLflow run's id, name or model key.
        second: the same.

    Raises:
        windhover.errors.WindhoverError: a run or file is missing, or they cannot be compared.
    """
    tested = [load_record(_folder(name)) for name in (first, second)]
    table = compare(*tested)
    scenes = len(tested[0].ground.scenes)
    lines = [
        f"first   {first} (model {tested[0].model})",
        f"second  {second} (model {tested[1].model})",
        f"{scenes} test scenes; paired bootstrap over {table['drawn_over'].iloc[0]}, {DRAWS} draws, 95 % intervals",
        "",
        f"  {'':34s}{'first':>8s}{'second':>9s}   second - first",
    ]
    for row in table.to_dict("records"):
        span = "no interval" if np.isnan(row["low"]) else f"[{row['low']:+.3f}, {row['high']:+.3f}]"
        change = f"{row['difference']:+.3f}  {span}"
        lines.append(
            f"  {row['figure']:34s}{row['first']:8.3f}{row['second']:9.3f}   {change}  {row['verdict']}"
        )
    return lines


def _folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from windhover.tracking.runs import run_files

    return run_files(name, "evaluation")
