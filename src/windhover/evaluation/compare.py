"""The `windhover compare` flow: two evaluated models on the same scenes, and their differences.

Both are resampled over the same places at once (paired bootstrap), so what places have in common
cancels out. The interval of a difference is Student's over places, and the verdicts on all metrics
are judged together (Holm 1979), so that two equal models are called different by any metric in at
most 5 % of comparisons. With fewer than `MIN_PLACES` places there is no verdict. Models that were
tested on different scenes are not compared. The folds of a cross-validation are pooled: each place
is judged once, by the model that has not seen it. What a fold's model owes to the chance of its
training is shared by all its places, so a difference must also show between the folds: of the two
tests, over places and over four or more folds, the less sure one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    resample,
    standard_error,
)
from windhover.metrics.detection_metrics import WeightedMetrics, weighted_metrics
from windhover.metrics.place_intervals import (
    degrees_of_freedom,
    jackknife_error,
    student_quantile,
)

N_BOOTSTRAP = 2000
# chance that two equal models are called different by any metric
FAMILY_ERROR = 0.05
# fewer show too little of the chance of trainings
MIN_FOLDS = 4
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
    metrics = [_metrics_of(record, sample) for record in (first, second)]
    first_values, second_values = (of(np.ones((len(sample.names), 1))) for of in metrics)
    over_places = _paired_differences(metrics, sample.weights)
    over_folds = _paired_differences(metrics, _weights_without_a_fold(first, second, sample))
    rows = []
    for name, (label, _) in COMPARED.items():
        first_value = float(first_values[name][0])
        second_value = float(second_values[name][0])
        difference = second_value - first_value
        row = {
            "metric": label,
            "first": first_value,
            "second": second_value,
            "difference": difference,
            "low": np.nan,
            "high": np.nan,
            "p_value": np.nan,
        }
        if sample.has_enough_places:
            row |= _less_sure_test(
                difference, over_places[name], over_folds.get(name), n_places=len(sample.names)
            )
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(verdict=_verdicts(table, sample), bootstrap_unit=sample.unit)


def _paired_differences(metrics: Sequence[WeightedMetrics], weights: Floats) -> dict[str, Floats]:
    """Return (D,) differences of each metric, second minus first, under (G, D) weights."""
    first, second = (bootstrap_values(of, weights, of.n_rows) for of in metrics)
    return {name: second[name] - first[name] for name in first}


def _weights_without_a_fold(
    first: TestRecord, second: TestRecord, sample: BootstrapSample
) -> Floats:
    """Return (G, K) weights of the groups: in each column the places of a fold are left out."""
    group_of = pd.Series(sample.group, index=first.ground_truth.scenes["scene"])
    folds = first.folds or second.folds
    weights = np.ones((len(sample.names), len(folds)))
    for column, fold in enumerate(folds):
        weights[group_of[fold.ground_truth.scenes["scene"]].to_numpy(), column] = 0
    return weights


def _less_sure_test(
    difference: float, over_places: Floats, over_folds: Floats | None, *, n_places: int
) -> dict[str, float]:
    """Return the test over places, or over folds where there are enough and they are less sure."""
    error = standard_error(over_places, n_places)
    by_places = _difference_test(difference, error, n_places)
    if over_folds is None or len(over_folds) < MIN_FOLDS:
        return by_places
    by_folds = _difference_test(difference, jackknife_error(over_folds), len(over_folds))
    if by_folds.get("p_value", 0.0) > by_places.get("p_value", np.inf):
        return by_folds
    return by_places


def _difference_test(difference: float, error: float | None, n_groups: int) -> dict[str, float]:
    """Return `low`, `high` and `p_value` of a difference: Student's t over groups."""
    if error is None or not np.isfinite(difference):
        return {}
    half_width = student_quantile(n_groups) * error
    p_value = 1.0
    if difference != 0:
        p_value = 0.0
        if error > 0:
            p_value = float(2 * stdtr(degrees_of_freedom(n_groups), -abs(difference) / error))
    return {"low": difference - half_width, "high": difference + half_width, "p_value": p_value}


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


def holm_rejections(p_values: Floats) -> Bools:
    """Return which of several hypotheses (N,) are rejected by the procedure of Holm (1979).

    The chance of any wrong rejection is at most `FAMILY_ERROR`.

    Args:
        p_values: (N,); NaN, which is not tested, is not rejected.
    """
    rejected = np.zeros(len(p_values), bool)
    order = np.argsort(p_values)  # NaN last
    n_left = int(np.isfinite(p_values).sum())
    for index in order[:n_left]:
        if p_values[index] > FAMILY_ERROR / n_left:
            break
        rejected[index] = True
        n_left -= 1
    return rejected


def _metrics_of(record: TestRecord, sample: BootstrapSample) -> WeightedMetrics:
    """Return the metrics of a test as a function of the weights of its groups."""
    return weighted_metrics(
        record.matches,
        record.ground_truth,
        record.thresholds_by_group(sample),
        sample=sample,
        per_scene=record.counts_by_scene(),
    )


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
