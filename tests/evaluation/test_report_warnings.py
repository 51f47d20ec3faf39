"""What the report warns of: short trainings, few objects, lacking classes, overlaps, nearness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import shapely

from toy_evaluation import CLASSES, ground_truth
from windhover.errors import FormatError
from windhover.evaluation.report_warnings import (
    FEW_OBJECTS,
    nearness_warnings,
    object_warnings,
    read_history,
    scene_warnings,
    training_warnings,
)
from windhover.files import write_json
from windhover.metrics.ground_truth import GroundTruth
from windhover.patches.patch_summary import Leakage


def history(losses: list[float]) -> list[dict[str, float]]:
    return [{"epoch": float(epoch), "val_loss": loss} for epoch, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("n_done", "n_planned", "is_told"),
    [(2, 40, True), (9, 18, True), (2, 2, False), (9, 12, False), (30, 400, False)],
)
def test_a_training_cut_to_few_epochs_is_told(n_done: int, n_planned: int, is_told: bool) -> None:
    training = {"epochs": n_done, "planned_epochs": n_planned}
    warnings = training_warnings(training, history([0.2] * n_done))
    assert bool(warnings) == is_told
    if is_told:
        assert f"Only {n_done} epochs fitted" in warnings[0]
        assert "`train.max_minutes`" in warnings[0]


@pytest.mark.parametrize(
    ("losses", "is_falling"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], True),
        ([0.9, 0.4, 0.3, 0.29, 0.29, 0.28], False),
        ([0.3, 0.3, 0.3, 0.4, 0.5, 0.6], False),
        ([0.9, 0.1], False),
    ],
)
def test_a_loss_that_still_falls_is_told(losses: list[float], is_falling: bool) -> None:
    warnings = training_warnings({"epochs": len(losses)}, history(losses))
    assert bool(warnings) == is_falling
    assert all("still fell by" in warning for warning in warnings)


def test_models_of_earlier_versions_have_no_plan_and_no_warning() -> None:
    assert training_warnings({}, []) == []
    assert training_warnings({"epochs": 2}, []) == []


def test_a_history_is_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    rows = history([0.5, 0.4])
    write_json(tmp_path / "history.json", {"epochs": rows, "rounds": []})
    assert read_history(tmp_path) == rows
    write_json(tmp_path / "history.json", {"epochs": 3})
    with pytest.raises(FormatError, match=r"history\.json: `epochs` must be a list"):
        read_history(tmp_path)


def truth_of(n_objects: int, classes: tuple[str, ...] = CLASSES) -> GroundTruth:
    truth = ground_truth(4, classes, 0)
    return replace(truth, objects=truth.objects.sort_values("x_m").iloc[:n_objects])


def test_few_objects_are_told_once_with_their_number_in_each_split() -> None:
    splits = {"train": truth_of(15), "val": truth_of(5), "test": truth_of(FEW_OBJECTS["test"])}
    (warning,) = object_warnings(splits, CLASSES)
    assert "15 in train (30 are few), 5 in val (20 are few)." in warning
    assert "in test" not in warning
    many = {split: truth_of(40) for split in splits}
    assert object_warnings(many, CLASSES) == []


def test_a_split_without_a_class_is_told_and_one_without_scenes_is_not() -> None:
    both = truth_of(48)
    one = replace(both, objects=both.objects[both.objects["class"] == "aircraft"])
    empty = GroundTruth(both.scenes.iloc[:0], both.objects.iloc[:0], both.ignored)
    splits = {"train": both, "val": empty, "test": one}
    (warning,) = object_warnings(splits, CLASSES)
    assert "No object of helicopter in test: it is not tested." in warning
    assert object_warnings({"test": one}, ("aircraft",)) == []


def scene_table(lefts: list[float], side_px: int, splits: list[str]) -> pd.DataFrame:
    """Scenes of 1 m per px near the equator, their left sides in degrees."""
    side = side_px / 111_320
    rows = []
    for number, (left, split) in enumerate(zip(lefts, splits, strict=True)):
        row = {"scene": f"s{number}", "split": split, "labeled": True}
        row |= {"width_px": side_px, "height_px": side_px + 40, "gsd_x_m": 1.0, "gsd_y_m": 1.0}
        row["footprint_wkt_4326"] = shapely.box(left, 0, left + side, side).wkt
        rows.append(row)
    return pd.DataFrame(rows)


def test_overlapping_scenes_are_told_and_adjoining_ones_are_not() -> None:
    side = 500 / 111_320
    scenes = scene_table([0, side / 2, 3 * side], 500, ["test", "test", "test"])
    (warning,) = scene_warnings(scenes, gsd_m=1.0, window_px=64)
    assert "s0 and s1, both of test, overlap: what lies in both counts twice" in warning
    three = scene_table([0, side / 2, side], 500, ["test", "test", "test"])
    (warning,) = scene_warnings(three, gsd_m=1.0, window_px=64)
    assert "2 pairs of scenes of test overlap, such as s0 and s1: what" in warning
    adjoining = scene_table([0, side, 2 * side], 500, ["test", "test", "test"])
    assert scene_warnings(adjoining, gsd_m=1.0, window_px=64) == []
    unplaced = scenes.assign(footprint_wkt_4326=None)
    assert scene_warnings(unplaced, gsd_m=1.0, window_px=64) == []
    training = scenes.assign(split="train")
    assert scene_warnings(training, gsd_m=1.0, window_px=64) == []


@pytest.mark.parametrize(("side_px", "is_told"), [(63, True), (64, False)])
def test_scenes_into_which_no_window_fits_are_told(side_px: int, is_told: bool) -> None:
    scenes = scene_table([0, 1], side_px, ["train", "test"])
    warnings = scene_warnings(scenes, gsd_m=1.0, window_px=64)
    assert bool(warnings) == is_told
    if is_told:
        assert "No window of 64 px = 64 m fits into 2 scenes, such as s0" in warnings[0]
    unlabeled = scenes.assign(labeled=False)
    assert scene_warnings(unlabeled, gsd_m=1.0, window_px=64) == []


@pytest.mark.parametrize(
    ("distance_m", "is_told"), [(80.0, True), (999.0, True), (1000.0, False), (None, False)]
)
def test_splits_near_each_other_are_told(distance_m: float | None, is_told: bool) -> None:
    leakage = Leakage(smallest_distance_m=distance_m, between=("a", "b"))
    warnings = nearness_warnings(leakage)
    assert bool(warnings) == is_told
    assert all("a and b are in two splits" in warning for warning in warnings)
