"""Processes that share a training: the same weights as one; rank 0 plans, mines and writes."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from toy_patches import learning_folders, train_params
from windhover.errors import FormatError, ParameterError
from windhover.models.bundle import load_bundle
from windhover.params.train import TrainParams
from windhover.training import distributed, training_data
from windhover.training.callbacks import hard_negative_mining
from windhover.training.distributed import (
    count_processes,
    process_rank,
    rank_zero_output,
    require_one_process,
)

STILL = dict.fromkeys(("brightness", "contrast"), 0.0) | {"d4": False}
SCRIPT = """
import logging, os, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from windhover.training import train, training_data
from windhover.training.callbacks import hard_negative_mining
from windhover.training.mined_patches import MinedPatches
from windhover.params.train import TrainParams
from windhover.patches.patch_store import load_patches

folders = training_data.TrainingFolders(*sys.argv[2:])


class Scenes(list):
    gsd_m = 1.0


class ToOutput(logging.Handler):
    def emit(self, record):
        print(record.getMessage())


def mine(*_, **__):
    (Path("mined") / str(os.getpid())).touch(exist_ok=False)
    table = load_patches(folders.patches, "train").index
    index = table[table["kind"] == "random"].head(8).assign(origin="mined-1", kind="lookalike")
    return MinedPatches(np.full((8, 64, 64, 3), 77, np.uint8), index.reset_index(drop=True))


log = logging.getLogger("windhover")
log.setLevel(logging.INFO)
log.handlers = [ToOutput()]
row = SimpleNamespace(labeled=True, area_m2=90.0 * 70.0)
training_data.load_catalog = lambda _: SimpleNamespace(split=lambda _: Scenes([row]))
hard_negative_mining.mine_hard_negatives = mine
params = TrainParams.model_validate_json(Path(sys.argv[1]).read_text())
train.train_detector(params, folders, track=False)
log.handlers = []
print("written")
"""


def run_here(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a script in this process, what it changes put back; return its output."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", command)
        patch.setattr(training_data, "load_catalog", training_data.load_catalog)
        mine = hard_negative_mining.mine_hard_negatives
        patch.setattr(hard_negative_mining, "mine_hard_negatives", mine)
        runpy.run_path(command[0])
    return capsys.readouterr().out


def run_apart(command: list[str], folder: Path) -> str:
    """Run a script as a person would, so that it can be started again for the second process."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_processes_come_to_the_weights_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = learning_folders(tmp_path / "data")
    (tmp_path / "script.py").write_text(SCRIPT)
    params = train_params(
        epochs=3,
        max_minutes=5.0,
        sampler="none",
        batch_augment=STILL,
        hard_negative_mining={"after": [0.5]},
        offset_weight=0.0,
        size_weight=0.0,
        options={"width": 4, "stem": "strided", "batch_norm": False},
    )
    weights = []
    for devices in (1, 2):
        work = tmp_path / f"{devices}"
        (work / "mined").mkdir(parents=True)
        (work / "params.json").write_text(
            params.model_copy(update={"devices": devices}).model_dump_json()
        )
        where = replace(folders, out=str(work / "train"))
        command = [str(tmp_path / "script.py"), str(work / "params.json"), *astuple(where)]
        output = run_here(command, work, capsys) if devices == 1 else run_apart(command, work)
        assert output.count("written") == 1, "the second process ends with the training"
        assert output.count("mining round 1: 8 false alarms") == 1
        assert len(list((work / "mined").iterdir())) == 1, "the first process mines"
        history = json.loads((work / "train" / "history.json").read_text())["epochs"]
        assert len(history) == 3
        bundle = load_bundle(work / "train")
        assert bundle.card.training["mined"] == 16
        weights.append(bundle.state_dict())
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-4), name


@pytest.mark.parametrize(
    ("gpus", "wanted", "count"), [(0, 0, 1), (0, 1, 1), (0, 2, 2), (4, 0, 4), (4, 1, 1), (4, 3, 3)]
)
def test_there_are_as_many_as_are_asked_for_or_as_there_are_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus: int, wanted: int, count: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert count_processes(train_params(devices=wanted)) == count


@pytest.mark.parametrize(
    ("gpus", "changes", "sentence"),
    [
        (2, {"devices": 3}, r"`train\.devices` is 3, and there are 2 GPUs"),
        (0, {"devices": 17}, "17 processes cannot share 16 images of a step"),
        (
            4,
            {"devices": 4, "large_patches": {"per_batch": 3}},
            "4 processes cannot share 3 images",
        ),
    ],
)
def test_more_than_can_share_are_an_error(
    monkeypatch: pytest.MonkeyPatch, gpus: int, changes: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ParameterError, match=sentence):
        count_processes(train_params(**changes))


def test_many_trainings_one_after_another_have_one_process() -> None:
    require_one_process(train_params(devices=0), "tune")
    with pytest.raises(ParameterError, match=r"`train\.devices` must be 1 for tune, got 2"):
        require_one_process(train_params(devices=2), "tune")


def test_a_process_alone_has_rank_zero_for_any_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(distributed.RANK_VARIABLE, "1")
    assert (process_rank(1), process_rank(2)) == (0, 1)
    monkeypatch.delenv(distributed.RANK_VARIABLE)
    assert process_rank(2) == 0


@pytest.mark.parametrize(("error", "code"), [(None, 0), (FormatError("a broken file"), 1)])
def test_another_process_prints_errors_alone(
    capsys: pytest.CaptureFixture[str], error: Exception | None, code: int
) -> None:
    def work() -> None:
        print("here")
        print("there", file=sys.stderr)
        if error is not None:
            raise error

    with pytest.raises(SystemExit, match=rf"^{code}$"), rank_zero_output(1):
        work()
    assert capsys.readouterr() == ("", "process 1: a broken file\n" if code else "")
    with rank_zero_output(0):
        print("here")
    assert capsys.readouterr().out == "here\n"


def test_parameters_survive_their_way_to_a_script() -> None:
    params = train_params(devices=2)
    assert TrainParams.model_validate_json(params.model_dump_json()) == params
