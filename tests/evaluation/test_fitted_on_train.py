"""A model that learned from every labelled scene: thresholds without figures, and sentences."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from windhover.errors import FormatError
from windhover.evaluation.cross_validation_note import cross_validation_note
from windhover.evaluation.evaluate_model import (
    ACCURACY_UNKNOWN,
    FITTED_WITHOUT_VAL,
    _notes_on_accuracy,
)
from windhover.evaluation.search_splits import split_for_fitting
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.params.evaluate import EvaluateParams


def catalog(*scenes: tuple[str, bool]) -> SimpleNamespace:
    return SimpleNamespace(scenes=pd.DataFrame(scenes, columns=["split", "labeled"]))


def test_train_is_fitted_on_only_where_val_has_no_labels() -> None:
    assert split_for_fitting(catalog(("train", True), ("test", False))) == "train"
    assert split_for_fitting(catalog(("train", True), ("test", True))) == "train"
    assert split_for_fitting(catalog(("train", True), ("val", True))) == "val"
    assert split_for_fitting(catalog(("train", False), ("val", False))) == "val"


def test_a_threshold_of_training_scenes_keeps_no_figure() -> None:
    chosen = ChosenThreshold(0.4, 0.3, 0.5, True, "", 1.0, 0.9, 0.95, 2.0)
    bare = chosen.without_figures()
    assert bare.threshold == 0.4
    assert set(bare[1:3]) | set(bare[5:]) == {None}


def test_without_cross_validation_no_accuracy_is_known(tmp_path: Path) -> None:
    assert _notes_on_accuracy(EvaluateParams()) == [ACCURACY_UNKNOWN]
    path = tmp_path / "kfold.json"
    summary = {"ap": {"mean": 0.61, "min": 0.5, "max": 0.7}}
    path.write_text(json.dumps({"folds": [{}, {}, {}], "summary": summary}))
    assert _notes_on_accuracy(EvaluateParams(), is_measured=True) == [FITTED_WITHOUT_VAL]
    note, _ = _notes_on_accuracy(EvaluateParams(cross_validation=str(path)))
    assert "3 models" in note
    assert "AP 0.610 (0.500 to 0.700)" in note


def test_another_file_is_no_cross_validation(tmp_path: Path) -> None:
    path = tmp_path / "kfold.json"
    path.write_text("[1, 2]")
    with pytest.raises(FormatError, match="is no result of a cross-validation"):
        cross_validation_note(path)
