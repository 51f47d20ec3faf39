"""The `windhover compare` flow: two evaluated models on the same scenes, and their differences.

Both are resampled over the same places at once (paired bootstrap), so what places have in common
cancels out. The interval of a difference is Student's over places, and the verdicts on all metrics
are judged together (Holm 1979), so that two equal models are called different by any metric in at
most 5 % of comparisons. With fewer than `MIN_PLACES` places there is no verdict. Models that were
tested on different scenes are not compared. The folds of a cross-validation are pooled: each place
is judged once, by the model that has not seen it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr

from windhover.errors import DataError
from windhover.evaluation.model_test import TestRecord, find_test_record
from windhover.geometry.arrays import Bools, Floats
from windhover.metrics.bootstrap import (
    MIN_PLACES,
    TOO_FEW_PLACES,
    BootstrapSample,
    bootstrap_values,
    difference_interval,
    resample,
    standard_error,
)
from windhover.metrics.detection_metrics import weighted_metrics

N_BOOTSTRAP = 2000
# chance that two equal models are called different by any metric
FAMILY_ERROR = 0.05
# metric -> label, and 1 where more is better, -1 where less is; AP, which decides, is the first
COMPARED = {
    "ap": ("AP", 1),
    "f1": ("F1", 1),
    "precision": ("precision", 1),
    "recall": ("recall", 1),
    "recall_at_1_per_km2": ("recall at 1 false alarm per km2", 1),
    "false_alarms_per_km2": ("false alarms per km2", -1),
    "count_error": ("count error per scene", -1),
}


def compare(first: TestRecord, second: TestRecord) -> pd.DataFrame:
    """Return each metric of both, the difference (second minus first) with interval, the verdict.

    Returns:
        `metric, first, second, difference, low, high, p_value, verdict, bootstrap_unit`; AP is the
        first row. Interval and p-value are of the metric alone, the verdict of all together.

    Raises:
        DataError: they were tested on different scenes, or against different labels.
    """
    _check_same_ground_truth(first, second)
    sample = resample(first.ground_truth.scenes, N_BOOTSTRAP, seed=0)
    first_values, first_resampled = _metrics_of(first, sample)
    second_values, second_resampled = _metrics_of(second, sample)
    rows = []
    for name, (label, _) in COMPARED.items():
        first_value = float(first_values[name][0])
        second_value = float(second_values[name][0])
        row = {
            "metric": label,
            "first": first_value,
            "second": second_value,
            "difference": second_value - first_value,
            "low": np.nan,
            "high": np.nan,
            "p_value": np.nan,
        }
        if sample.has_enough_places:
            resampled = second_resampled[name] - first_resampled[name]
            difference = second_value - first_value
            row |= _difference_test(difference, resampled, n_places=len(sample.names))
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(verdict=_verdicts(table, sample), bootstrap_unit=sample.unit)


def _difference_test(difference: float, resampled: Floats, *, n_places: int) -> dict[str, float]:
    """Return `low`, `high` and `p_value` of a difference: Student's t over places."""
    interval = difference_interval(difference, resampled, n_groups=n_places)
    error = standard_error(resampled, n_places)
    if interval is None or error is None:
        return {}
    p_value = 1.0
    if difference != 0:
        p_value = 0.0
        if error > 0:
            p_value = float(2 * stdtr(n_places - 1, -abs(difference) / error))
    return {"low": interval[0], "high": interval[1], "p_value": p_value}


def _verdicts(table: pd.DataFrame, sample: BootstrapSample) -> list[str]:
    """Return what each difference shows, all metrics judged together."""
    if not sample.has_enough_places:
        return ["too few places"] * len(table)
    is_shown = holm_rejections(table["p_value"].to_numpy(np.float64))
    signs = [sign for _, sign in COMPARED.values()]
    verdicts = []
    for p_value, shown, difference, sign in zip(
        table["p_value"], is_shown, table["difference"], signs, strict=True
    ):
        verdict = "no difference shown"
        if np.isnan(p_value):
            verdict = "unknown"
        elif shown:
            verdict = "second is better" if difference * sign > 0 else "first is better"
        verdicts.append(verdict)
    return verdicts


def holm_rejections(p_values: Floats, level: float = FAMILY_ERROR) -> Bools:
    """Return which of several hypotheses are rejected, at most `level` wrongly in all (Holm 1979).

    Args:
        p_values: (N,); NaN, which is not tested, is not rejected.
        level: chance of any wrong rejection.
    """
    rejected = np.zeros(len(p_values), bool)
    order = np.argsort(p_values)  # NaN last
    n_left = int(np.isfinite(p_values).sum())
    for index in order[:n_left]:
        if p_values[index] > level / n_left:
            break
        rejected[index] = True
        n_left -= 1
    return rejected


def _metrics_of(
    record: TestRecord, sample: BootstrapSample
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the metrics of the data, and of every resample."""
    metrics = weighted_metrics(
        record.matches,
        record.ground_truth,
        record.thresholds_by_group(sample),
        sample=sample,
        per_scene=record.counts_by_scene(),
    )
    values = metrics(np.ones((len(sample.names), 1)))
    return values, bootstrap_values(metrics, sample.weights, metrics.n_rows)


def _check_same_ground_truth(first: TestRecord, second: TestRecord) -> None:
    first_scenes = set(first.ground_truth.scenes["scene"])
    second_scenes = set(second.ground_truth.scenes["scene"])
    if first_scenes != second_scenes:
        other = min(first_scenes ^ second_scenes)
        raise DataError(
            f"the two were tested on different scenes ({other} is in one only). "
            "Evaluate both on the same data."
        )
    if _objects_by_scene(first) != _objects_by_scene(second):
        raise DataError(
            "the two were tested against different labels of the same scenes. "
            "Evaluate both on the same data."
        )


def _objects_by_scene(record: TestRecord) -> dict[Any, int]:
    """Return the number of objects by scene and class."""
    return record.ground_truth.objects.groupby(["scene", "class"]).size().to_dict()


def compare_runs(first: str, second: str) -> list[str]:
    """Compare two evaluated models, or two cross-validations; return the table as lines.

    Args:
        first: a folder of reports or of a cross-validation, `kfold.json`, or an MLflow run's id,
            name or model key.
        second: the same.

    Raises:
        windhover.errors.WindhoverError: a run or file is missing, or they cannot be compared.
    """
    first_record = find_test_record(first)
    second_record = find_test_record(second)
    table = compare(first_record, second_record)
    return comparison_lines(table, first_record, second_record, names=(first, second))


def comparison_lines(
    table: pd.DataFrame, first: TestRecord, second: TestRecord, *, names: tuple[str, str]
) -> list[str]:
    """Return a comparison as lines.

    Args:
        table: from `compare`.
        first: that was compared.
        second: that was compared.
        names: of both, as the user wrote them.
    """
    n_scenes = len(first.ground_truth.scenes)
    unit = table["bootstrap_unit"].iloc[0]
    n_places = first.ground_truth.scenes["place"].nunique()
    resampled = f"{n_places} places: {TOO_FEW_PLACES} or a verdict ({MIN_PLACES} at least)"
    if not table["p_value"].isna().all():
        resampled = (
            f"paired bootstrap over {unit}, {N_BOOTSTRAP} resamples, 95 % intervals of {n_places} "
            f"places; verdicts on all metrics together (Holm, {FAMILY_ERROR:.0%})"
        )
    lines = [
        f"first   {names[0]} ({first.description})",
        f"second  {names[1]} ({second.description})",
        f"{n_scenes} test scenes; {resampled}",
        "",
        f"  {'':34s}{'first':>8s}{'second':>9s}   second - first",
    ]
    return lines + [_comparison_line(row) for row in table.to_dict("records")]


def _comparison_line(row: dict[Any, Any]) -> str:
    interval = "no interval"
    if not np.isnan(row["low"]):
        interval = f"[{row['low']:+.3f}, {row['high']:+.3f}]"
    values = f"{row['first']:8.3f}{row['second']:9.3f}   {row['difference']:+.3f}"
    return f"  {row['metric']:34s}{values}  {interval}  {row['verdict']}"
