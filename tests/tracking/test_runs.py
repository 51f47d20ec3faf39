"""Tracking: one database at the root, runs joined by the weights' content, the model usable as
kept.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toy_patches import learning_folders, train_params
from windhover.errors import FormatError
from windhover.models.bundle import load_bundle
from windhover.params import flatten
from windhover.tracking.mlflow_client import EXPERIMENT, KEY_TAG
from windhover.tracking.runs import dvc_hashes, resume_run, run_name
from windhover.training import train


def test_nothing_imports_mlflow_before_a_run_begins() -> None:
    code = (
        "import sys, windhover.tracking.runs, windhover.training.train\n"
        "print('mlflow' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_a_run_is_named_by_what_tells_it_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert run_name("valid64", "0123456789abcdef") == {"mlflow.runName": "valid64-01234567"}
    monkeypatch.setenv("DVC_EXP_NAME", "slower")
    assert run_name("valid64", "0123456789abcdef") == {"mlflow.runName": "slower"}


def test_mlflow_finds_nothing_to_warn_of_in_the_kept_model() -> None:
    # in a process of its own: the warning is given once, and pytest would swallow it
    code = (
        "from windhover.tracking.mlflow_client import without_warnings\n"
        "with without_warnings():\n    import windhover.tracking.tracked_model"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_nested_parameters_get_dotted_names() -> None:
    assert flatten({"a": 1, "b": {"c": [1], "d": {"e": None}}, "f": {}}) == {
        "a": 1,
        "b.c": [1],
        "b.d.e": None,
        "f": {},
    }


def test_hashes_come_from_the_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert dvc_hashes(["data/patches"]) == {}
    outs = "    outs:\n    - path: data/patches\n      hash: md5\n      md5: abc.dir\n"
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  patches:\n    cmd: x\n" + outs)
    assert dvc_hashes(["data/patches", "data/raw"]) == {"data/patches": "abc.dir"}


@pytest.mark.parametrize(
    "text",
    [
        "stages: []",
        "stages: 3",
        "stages: {a: 3}",
        "stages: {a: {outs: 3}}",
        "stages: {a: {outs: [{path: [1]}]}}",
        "- 1",
        "stages: {a: [",
        "\0",
    ],
)
def test_a_damaged_lock_file_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(FormatError, match=r"dvc\.lock: .* dvc repro"):
        dvc_hashes(["data/scenes"])


def test_a_training_is_one_run_that_evaluate_finds_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = learning_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    capfd.readouterr()
    trained = train.train_detector(train_params(epochs=2), folders)
    said = capfd.readouterr()
    assert "MLflow" not in said.out + said.err
    assert "Warning" not in said.out + said.err
    with resume_run(trained.card.name) as tracker:
        tracker.log_metrics({"scene_ap": 0.5, "nothing": float("nan")})
        tracker.set_tags({"evaluated": "yes"})
    with resume_run("0123456789abcdef") as tracker:
        tracker.set_tags({"evaluated": "yes"})
    import mlflow

    assert (tmp_path / "root" / "mlflow.db").is_file()
    runs = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    assert len(runs) == 2
    run = next(run for run in runs if "restored" not in run.data.tags)
    restored = next(run for run in runs if run.data.tags.get("restored"))
    assert restored.data.tags[KEY_TAG] == "0123456789abcdef"
    assert (run.info.status, run.data.tags[KEY_TAG]) == ("FINISHED", trained.card.name)
    assert run.data.params["learning_rate"] == "0.003"
    assert run.data.params["batch_augment.contrast"] == "0.1"
    assert {"training/loss", "validation/ap", "validation/loss", "scene_ap"} <= set(
        run.data.metrics
    )
    client = mlflow.MlflowClient()
    assert len(client.get_metric_history(run.info.run_id, "validation/ap")) == 2
    assert {"model", "data_version", "parameter_set"} <= set(run.data.tags)
    assert "Not evaluated on scenes yet" in run.data.tags["mlflow.note.content"]
    assert run.inputs.dataset_inputs[0].dataset.name == "training patches"
    pictures = {
        item.path for item in mlflow.MlflowClient().list_artifacts(run.info.run_id, "pictures")
    }
    assert {"pictures/curves.png", "pictures/contact_sheet.png"} <= pictures
    assert run.info.artifact_uri.startswith("mlartifacts/")
    assert (tmp_path / "root" / run.info.artifact_uri).is_dir()
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert model.metadata.signature is not None
    windows = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3)).astype(np.uint8)
    scores = model.predict(windows)
    assert scores.shape == (3, 1)
    assert ((scores > 0) & (scores < 1)).all()
    assert load_bundle(folders.out).card.name == trained.card.name
