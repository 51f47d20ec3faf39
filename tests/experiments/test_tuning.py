"""Search of parameters: axes parsed, the better value found, a stopped study continued."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from toy_patches import learning_folders, train_params
from windhover.errors import DataError, FormatError, ParameterError
from windhover.experiments import tuning
from windhover.experiments.tuning import SearchAxis, parse_axis
from windhover.params import read_yaml
from windhover.params.parameter_sets import set_parameters
from windhover.tracking.mlflow_client import EXPERIMENT
from windhover.training import train
from windhover.training.training_data import TrainingFolders

pytestmark = pytest.mark.usefixtures("mlflow_tables")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> TrainingFolders:
    return learning_folders(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("train.learning_rate=log:1e-4:1e-2", SearchAxis("learning_rate", "log", 1e-4, 1e-2)),
        (
            "train.batch_augment.contrast=0:0.5",
            SearchAxis("batch_augment.contrast", "float", 0.0, 0.5),
        ),
        ("train.batch_size=int:16:64", SearchAxis("batch_size", "int", 16, 64)),
        ("train.loss=bce,focal", SearchAxis("loss", "choice", choices=("bce", "focal"))),
        (
            "train.balance_classes=true,false",
            SearchAxis("balance_classes", "choice", choices=(True, False)),
        ),
        ("train.ema_decay=0,0.9", SearchAxis("ema_decay", "choice", choices=(0, 0.9))),
    ],
)
def test_axes_are_parsed(text: str, axis: SearchAxis) -> None:
    assert parse_axis(text) == axis


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate=1:2",
        "scenes.seed=1:2",
        "train.seed",
        "train.seed=",
        "train.seed=2:1",
        "train.seed=a:b",
        "train.seed=lin:1:2",
        "train.learning_rate=log:0:1",
        "train.loss=bce",
        "train.loss=[a,b",
        "train.loss={a: 1},b",
    ],
)
def test_what_is_no_axis_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"must read train\.KEY=LOW:HIGH"):
        parse_axis(text)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == tuning.__name__]


def runs() -> list[Any]:
    import mlflow

    found = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    return sorted(found, key=lambda run: run.info.start_time)


@pytest.mark.slow
def test_a_study_finds_the_better_value_and_goes_on_after_a_kill(
    folders: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = [
        parse_axis("train.learning_rate=1e-7,0.003"),
        parse_axis("train.batch_augment.contrast=0.05:0.2"),
    ]
    given: list[Any] = []
    original = train.train_detector

    def killed(params: Any, *others: Any, **named: Any) -> Any:
        given.append(params)
        if len(given) == 2:
            raise KeyboardInterrupt
        return original(params, *others, **named)

    monkeypatch.setattr(tuning, "train_detector", killed)
    params = train_params(epochs=2)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        tuning.tune(params, folders, axes, n_trials=3, name="s")
    best = tuning.tune(params, folders, axes, n_trials=3, name="s")
    assert given[0] == params, "the parameters as they are come first"
    assert given[2] == given[1], "the trial that was killed comes next"
    assert len(given) == 4
    assert given[3].batch_augment.contrast not in (
        given[0].batch_augment.contrast,
        given[1].batch_augment.contrast,
    )
    parent, *children = runs()
    assert parent.info.status == "FINISHED"
    assert [run.data.tags["mlflow.runName"].rpartition("-")[0] for run in children] == [
        "trial-0",
        "trial-2",
        "trial-3",
    ]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    aps = [run.data.metrics["validation/kept_ap"] for run in children]
    assert parent.data.metrics["validation/best_ap"] == pytest.approx(max(aps))
    written = read_yaml(best)["train"]
    assert written["learning_rate"] == 0.003
    assert set(written) == {"learning_rate", "batch_augment.contrast"}
    assert pd.read_csv(tuning.WORK / "s.csv")["state"].tolist() == [
        "COMPLETE",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]
    assert tuning.tune(params, folders, axes, n_trials=3, name="s") == best
    assert len(given) == 4, "as many trials as wanted were held"
    with pytest.raises(
        ParameterError, match=r"study 's' .* was about other parameters, data or code"
    ):
        tuning.tune(train_params(epochs=3), folders, axes, n_trials=3, name="s")


def test_the_best_of_a_study_can_be_laid_over_the_parameters(tmp_path: Path) -> None:
    train = read_yaml(Path(__file__).parents[2] / "params.yaml")["train"]
    best = {"batch_augment.contrast": 0.2, "options.depth": 2, "momentum": 0.5}
    path = tuning._write_best(tmp_path / "best.yaml", train_params(**train), best)
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    changed = set_parameters(tmp_path / "params.yaml", [], path)
    assert sorted(changed) == ["train.batch_augment.contrast", "train.momentum", "train.options"]
    expected = train | {"momentum": 0.5, "options": train["options"] | {"depth": 2}}
    expected["batch_augment"] = train["batch_augment"] | {"contrast": 0.2}
    assert read_yaml(tmp_path / "params.yaml")["train"] == expected


def test_a_hopeless_trial_is_ended_early(
    folders: TrainingFolders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    epochs: list[int] = []

    def training_of(quality: float) -> Any:
        def train(params: Any, _folders: Any, name: str, should_stop: Any) -> Any:
            for epoch in range(params.epochs):
                epochs[-1] = epoch + 1
                if should_stop({"val_ap": quality, "epoch": float(epoch)}):
                    break
            return type("Trained", (), {"kept_ap": quality})

        return train

    caplog.set_level(logging.INFO, tuning.__name__)
    trainings = iter([training_of(quality) for quality in (0.8, 0.82, 0.84, 0.86, 0.1, 0.9)])

    def train_next(*given: Any, **named: Any) -> Any:
        epochs.append(0)
        return next(trainings)(*given, **named)

    monkeypatch.setattr(tuning, "train_detector", train_next)
    axes = [parse_axis("train.momentum=0:0.5")]
    for n_trials in (4, 6):
        tuning.tune(train_params(epochs=6), folders, axes, n_trials=n_trials, name="s")
    assert epochs == [6, 6, 6, 6, 2, 6], "after the first epoch that is judged"
    assert next(line for line in messages(caplog) if "ended early" in line).startswith(
        "trial 4: AP 0.1000"
    )
    assert messages(caplog)[-1] == "best: trial 5, AP 0.9000"


def test_a_trial_that_cannot_be_trained_is_logged_and_not_tried_again(
    folders: TrainingFolders, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[float] = []

    def train(params: Any, *_given: Any, **_named: Any) -> Any:
        tried.append(params.momentum)
        if len(tried) == 2:
            raise ParameterError("no such network. Take another.")
        if len(tried) == 3:
            raise torch.OutOfMemoryError
        return type("Trained", (), {"kept_ap": 0.7})

    monkeypatch.setattr(tuning, "train_detector", train)
    caplog.set_level(logging.INFO, tuning.__name__)
    tuning.tune(train_params(), folders, [parse_axis("train.momentum=0:0.9")], n_trials=4, name="s")
    assert len(tried) == 4
    assert messages(caplog)[1:3] == [
        "trial 1: no such network. Take another.",
        "trial 2: needs more memory than there is",
    ]
    assert messages(caplog)[-1].startswith("best: trial 0, AP 0.7")

    def never(*_given: Any, **_named: Any) -> Any:
        raise ParameterError("no such network. Take another.")

    monkeypatch.setattr(tuning, "train_detector", never)
    with pytest.raises(DataError, match="study 'other': no trial could be trained"):
        tuning.tune(
            train_params(),
            folders,
            [parse_axis("train.momentum=0:0.9")],
            n_trials=2,
            name="other",
        )


def test_a_trial_that_was_killed_thrice_is_not_repeated(
    folders: TrainingFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def train(params: Any, *_given: Any, **_named: Any) -> Any:
        tried.append(params.momentum)
        if tried.count(params.momentum) <= 5 and params.momentum == tried[0]:
            raise KeyboardInterrupt
        return type("Trained", (), {"kept_ap": 0.7})

    monkeypatch.setattr(tuning, "train_detector", train)
    axes = [parse_axis("train.momentum=0:0.9")]
    for _ in range(tuning.MAX_KILLS):
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            tuning.tune(train_params(), folders, axes, n_trials=1, name="s")
    tuning.tune(train_params(), folders, axes, n_trials=1, name="s")
    assert tried[:3] == [tried[0]] * 3
    assert len(tried) == 4


def test_without_validation_patches_there_is_no_comparison(
    folders: TrainingFolders, tmp_path: Path
) -> None:
    import shutil

    import numpy as np

    shutil.copytree(folders.patches, tmp_path / "patches")
    np.save(tmp_path / "patches" / "val.npy", np.load(tmp_path / "patches" / "val.npy")[:0])
    index = pd.read_parquet(next((tmp_path / "patches").glob("*.parquet")))
    index[index["split"] == "train"].to_parquet(next((tmp_path / "patches").glob("*.parquet")))
    with pytest.raises(DataError, match="no validation patches to compare trials on"):
        tuning.tune(
            train_params(),
            replace(folders, patches=str(tmp_path / "patches")),
            [SearchAxis("seed", "int", 0, 9)],
            n_trials=1,
            name="s",
        )


@pytest.mark.parametrize("content", [b"not a database " * 80, b"other", b"older"])
def test_a_damaged_study_is_one_sentence(folders: TrainingFolders, content: bytes) -> None:
    path = tuning.WORK / "sick.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    if content in (b"other", b"older"):
        path.unlink()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE studies (a)")
            if content == b"older":
                database.execute("CREATE TABLE version_info (version_info_id, schema_version)")
                database.execute("INSERT INTO version_info VALUES (1, 3)")
    axes = [parse_axis("train.learning_rate=log:1e-4:1e-2")]
    with pytest.raises(FormatError, match=r"sick\.db: cannot be read as a study \(.+give another"):
        tuning.tune(train_params(), folders, axes, n_trials=1, name="sick")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a?mode=ro"])
def test_a_study_whose_name_is_no_files_is_refused(folders: TrainingFolders, name: str) -> None:
    axes = [parse_axis("train.learning_rate=log:1e-4:1e-2")]
    with pytest.raises(ParameterError, match="--study names a file in"):
        tuning.tune(train_params(), folders, axes, n_trials=1, name=name)
    assert not tuning.WORK.exists()


def test_an_axis_that_is_no_parameter_is_an_error(folders: TrainingFolders) -> None:
    with pytest.raises(
        ParameterError, match=r"`train\.learning_rte` .* Did you mean `train\.learning_rate`"
    ):
        tuning.tune(
            train_params(),
            folders,
            [SearchAxis("learning_rte", "float", 0, 1)],
            n_trials=1,
            name="s",
        )
