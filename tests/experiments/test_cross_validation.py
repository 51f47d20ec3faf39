"""k-fold: every place tested once, children under one parent, mean and spread, and nothing finished
is run again.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from project import ROOT
from run_stages import QUICK_SETTINGS
from test_flow import PLACES, make_raw
from windhover.errors import DataError, ParameterError
from windhover.evaluation.compare import compare_runs
from windhover.evaluation.model_test import find_test_record
from windhover.experiments import cross_validation
from windhover.metrics.kfold_record import CrossValidationResult, FoldMetrics
from windhover.tracking.mlflow_client import EXPERIMENT
from windhover.training import train


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_raw(tmp_path / "data" / "raw")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def runs() -> tuple[Any, list[Any]]:
    import mlflow

    found = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    parents = [run for run in found if run.data.tags["mlflow.runName"] == "kfold"]
    assert len(parents) == 1
    return parents[0], [run for run in found if run is not parents[0]]


@pytest.mark.slow
def test_folds_are_children_of_one_run_and_a_killed_one_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, cross_validation.__name__)
    trained: list[str] = []
    original = train.train_detector

    def killed(*given: Any, name: str) -> Any:
        if name == "fold-2" and "fold-2" not in trained:
            trained.append(name)
            raise KeyboardInterrupt
        trained.append(name)
        return original(*given, name=name)

    monkeypatch.setattr(train, "train_detector", killed)
    params = cross_validation.load_flow(QUICK_SETTINGS)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        cross_validation.run_folds(params, 3)
    result = cross_validation.run_folds(params, 3)
    assert trained == ["fold-0", "fold-1", "fold-2", "fold-2"], "finished folds are not run again"
    assert sorted(place for fold in result.folds for place in fold.places) == sorted(PLACES)
    parent, children = runs()
    assert parent.info.status == "FINISHED"
    assert sorted(run.data.tags["mlflow.runName"].rpartition("-")[0] for run in children) == [
        "fold-0",
        "fold-1",
        "fold-2",
    ]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert all("headline/1_ap" in run.data.metrics for run in children), (
        "train and evaluate are one run"
    )
    aps = [fold.ap for fold in result.folds if fold.ap is not None]
    assert parent.data.metrics["kfold/ap_mean"] == pytest.approx(np.mean(aps))
    assert parent.data.params["train.epochs"] == "1"
    lines = [one.message for one in caplog.records if one.name == cross_validation.__name__]
    assert [line.split()[0] for line in lines[-6:-1]] == ["fold", "fold", "fold", "mean", "spread"]
    assert lines[-1].startswith("to compare: windhover compare .windhover/kfold/")
    written = next(cross_validation.WORK.glob("*/kfold.json")).read_text()
    assert CrossValidationResult.model_validate_json(written) == result
    assert not list(cross_validation.WORK.glob("*/*/train")), "what is large is not kept"
    folder = next(cross_validation.WORK.iterdir())
    by_folder = find_test_record(str(folder))
    assert sorted(by_folder.ground_truth.scenes["place"].unique()) == sorted(PLACES)
    for name in (str(folder / "kfold.json"), parent.info.run_id):
        by_run = find_test_record(name)
        assert by_run.model == by_folder.model
        pd.testing.assert_frame_equal(by_run.matches, by_folder.matches)
    assert "AP" in "\n".join(compare_runs(str(folder), parent.info.run_id))
    assert not (project / "data" / "train").exists(), "the project's own data stay as they are"


def test_too_few_places_and_wrong_settings_are_said(project: Path) -> None:
    with pytest.raises(DataError, match="4 places cannot make 5 folds"):
        cross_validation.run_folds(cross_validation.load_flow(QUICK_SETTINGS), 5)
    with pytest.raises(
        ParameterError, match=r"folds must be at least 3 where one is val, got 2: set fold_val"
    ):
        cross_validation.run_folds(cross_validation.load_flow(QUICK_SETTINGS), 2)
    with pytest.raises(ParameterError, match="--folds must be 2 or more, got 0"):
        cross_validation.run_folds(cross_validation.load_flow(QUICK_SETTINGS), 0)
    with pytest.raises(ParameterError, match=r"Did you mean `train\.epochs`"):
        cross_validation.load_flow(["train.epoch=3"])
    with pytest.raises(ParameterError, match="must begin with a stage: scenes, patches"):
        cross_validation.load_flow(["epochs=3"])


@pytest.mark.parametrize("key", ["train.start_from", "train.teacher", "evaluate.second_stage"])
def test_a_model_that_may_know_the_tested_places_is_refused(project: Path, key: str) -> None:
    with pytest.raises(
        ParameterError, match=rf"`{key}` is data/model, which may have .*: {key}=null"
    ):
        cross_validation.run_folds(
            cross_validation.load_flow([*QUICK_SETTINGS, f"{key}=data/model"]), 3
        )
    with pytest.raises(ParameterError, match=r"`train\.devices` must be 1 for kfold"):
        cross_validation.run_folds(
            cross_validation.load_flow([*QUICK_SETTINGS, "train.devices=2"]), 3
        )


def test_every_file_that_a_parameter_names_makes_the_key(project: Path) -> None:
    settings = {
        "scenes.labels": "../more/*.csv",
        "scenes.areas": "../areas.gpkg",
        "patches.npz": "given.npz",
        "train.start_from": "old",
        "train.options": "{weights: start.pth}",
    }
    named = [
        project / "data" / "more" / "a.csv",
        project / "data" / "areas.gpkg",
        project / "given.npz",
    ]
    named += [
        project / "old" / "weights.safetensors",
        project / "start.pth",
        project / "data" / "raw" / "new.tif",
    ]
    params = cross_validation.load_flow([f"{name}={value}" for name, value in settings.items()])
    keys = [cross_validation.flow_key(params, 3)]
    for path in named:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        keys.append(cross_validation.flow_key(params, 3))
    assert len(set(keys)) == len(keys)
    assert cross_validation.flow_key(params, 3) == keys[-1]


def fold_metrics(value: float | None) -> FoldMetrics:
    """Return a fold whose metrics all have one value."""
    values = dict.fromkeys(cross_validation.HEADLINE_METRICS, value)
    return FoldMetrics(fold=0, model="0123", places=("fir",), **values)


def test_mean_and_spread_are_those_of_the_folds_that_are_defined() -> None:
    folds = [fold_metrics(value) for value in (0.5, 0.7, None, 0.9)]
    ap = cross_validation.summarize(folds)["ap"]
    assert (ap.mean, ap.sd) == (pytest.approx(0.7), pytest.approx(0.2))
    assert (ap.min, ap.max, ap.folds) == (0.5, 0.9, 3.0)
    assert cross_validation.summarize([fold_metrics(None)] * 3) == {}
