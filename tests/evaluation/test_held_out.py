"""What a cross-validation held out: pooled, read again, and fitted on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.evaluation.evaluate_model import _add_held_out, _notes_on_folds
from windhover.evaluation.fit_operating_point import choose_scene_thresholds
from windhover.evaluation.held_out import (
    FOLDS,
    check_held_out_files,
    held_out_files,
    load_held_out,
    pool_held_out,
    save_fold,
)
from windhover.metrics.bootstrap import resample
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.threshold_rule import ThresholdRule
from windhover.params.evaluate import EvaluateParams


def fold(number: int, logits: list[float], is_tp: list[bool], n_objects: int) -> Any:
    """Return what a fold's model leaves of one scene; its last detection is ignored."""
    scene = f"scene{number}"
    matches = pd.DataFrame(
        {
            "scene": scene,
            "class": "boat",
            "logit": [*logits, 9.0],
            "score": 0.5,
            "is_tp": [*is_tp, False],
            "ignored": [False] * len(logits) + [True],
        }
    )
    objects = pd.DataFrame({"scene": [scene] * n_objects, "class": "boat"})
    scenes = pd.DataFrame({"scene": [scene, f"{scene}b"], "place": f"p{number}", "km2": 0.5})
    nothing = pd.DataFrame({"scene": [], "geometry": []})
    return SimpleNamespace(matches=matches, ground_truth=GroundTruth(scenes, objects, nothing))


def pooled(folder: Path) -> Path:
    folds = [fold(0, [3.0, 1.0, -2.0], [True, True, False], 3), fold(1, [2.0], [False], 0)]
    paths = []
    for number, one in enumerate(folds):
        paths.append(folder / f"fold-{number}" / "held_out")
        paths[-1].parent.mkdir()
        save_fold(one, paths[-1])
    output = folder / "kfold.json"
    output.write_text(json.dumps({"folds": [{}, {}], "summary": {}}))
    pool_held_out(paths, output)
    return output


def test_folds_are_pooled_by_raw_logit_and_what_does_not_count_is_left_out(tmp_path: Path) -> None:
    held_out = load_held_out(pooled(tmp_path))
    assert held_out is not None
    assert held_out.matches["score"].tolist() == [3.0, 2.0, 1.0, -2.0]
    assert held_out.matches["is_tp"].tolist() == [True, False, True, False]
    assert not held_out.matches["ignored"].any()
    truth = held_out.ground_truth
    assert truth.scenes["scene"].tolist() == ["scene0", "scene0b", "scene1", "scene1b"]
    assert truth.scenes["km2"].sum() == 2.0
    assert truth.objects["scene"].tolist() == ["scene0"] * 3


def test_the_threshold_is_the_one_that_brute_force_finds_on_the_pool(tmp_path: Path) -> None:
    held_out = load_held_out(pooled(tmp_path))
    assert held_out is not None
    matches = held_out.matches.assign(score=1 / (1 + np.exp(-held_out.matches["score"])))
    sample = resample(held_out.ground_truth.scenes, 100, 0)
    chosen = choose_scene_thresholds(
        matches,
        held_out.ground_truth,
        sample,
        classes=("boat",),
        rule=ThresholdRule("max_fbeta", 1.0),
    )["boat"]
    best = {}
    for score in matches["score"]:
        kept = matches[matches["score"] >= score]
        best[score] = 2 * kept["is_tp"].sum() / (len(kept) + 3)
    winner = max(best, key=lambda score: best[score])
    assert chosen.f1 == pytest.approx(best[winner])
    assert (matches["score"] >= chosen.threshold).sum() == (matches["score"] >= winner).sum()


def test_the_pool_takes_the_place_of_training_scenes(tmp_path: Path) -> None:
    params = EvaluateParams(cross_validation=str(pooled(tmp_path)))
    windows: dict[str, Any] = {"train": "windows of train"}
    searched: dict[str, Any] = {"train": SimpleNamespace(inference_precision="fp32")}
    assert _add_held_out(params, ("boat",), windows, searched=searched) == FOLDS
    assert windows[FOLDS] == "windows of train"
    assert len(searched[FOLDS].matches) == 4
    sentence, fitted, few = _notes_on_folds(params, searched[FOLDS].ground_truth)
    assert "2 models" in sentence
    assert "pooled: 3 objects in 4 scenes" in fitted
    assert "2 places" in few
    with pytest.raises(FormatError, match=r"know classes that this one does not \(boat\)"):
        _add_held_out(params, ("car",), windows, searched=searched)


def test_without_tables_training_scenes_are_fitted_on(tmp_path: Path) -> None:
    path = tmp_path / "kfold.json"
    assert load_held_out(path) is None
    for params in (EvaluateParams(), EvaluateParams(cross_validation=str(path))):
        assert _add_held_out(params, ("boat",), {}, searched={}) == "train"
    held_out_files(pooled(tmp_path))[1].unlink()
    with pytest.raises(MissingFileError, match=r"kfold_ground_truth\.parquet: no such file"):
        load_held_out(path)


def test_tables_of_others_are_not_overwritten(tmp_path: Path) -> None:
    output = pooled(tmp_path)
    check_held_out_files(output)
    pd.DataFrame({"mine": [1]}).to_parquet(held_out_files(output)[0])
    with pytest.raises(ParameterError, match="was not written by this command"):
        check_held_out_files(output)
