"""Every command that writes holds the lock of its output: a second run is refused at the door."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_models import write_bundle
from toy_patches import learning_folders, train_params
from windhover.cli import training as training_commands
from windhover.dataset.import_labels import ImportOptions, import_labels
from windhover.errors import ParameterError
from windhover.evaluation.evaluate_vectors import VectorRequest, evaluate_and_write
from windhover.evaluation.explain import explain_target
from windhover.experiments import tuning
from windhover.experiments.sanity_checks import run_sanity_checks
from windhover.experiments.tuning import parse_axis
from windhover.files import lock_output
from windhover.inference.detector import Detector
from windhover.model_export.export_model import export_model
from windhover.params.train import TrainParams
from windhover.training.train import train_detector
from windhover.training.training_data import TrainingFolders


def run_import(output: Path) -> None:
    labels = output.parent / "labels.csv"
    labels.write_text("image,xmin,ymin,xmax,ymax,class\n")
    scenes = output.parent / "scenes"
    scenes.mkdir()
    import_labels(labels, scenes, output, options=ImportOptions(), report=print)


def run_assess(output: Path) -> None:
    files = {"detections": output.parent / "d.gpkg", "truth": output.parent / "t.gpkg"}
    evaluate_and_write(VectorRequest(**files, output=output))


def run_explain(output: Path) -> None:
    explain_target(f"{output.parent}/s.tif:3,4", output.parent / "model", output)


def run_training(output: Path) -> None:
    train_detector(TrainParams(), TrainingFolders("scenes", "patches", "augmented", str(output)))


def run_kfold(output: Path) -> None:
    training_commands.kfold(output=output)


def run_rate_range(output: Path) -> None:
    parameters = Path(__file__).parents[1]
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(parameters / name, output.parent)
    run_sanity_checks(None, True, output.parent / "patches", figure_path=output)


def run_model_export(output: Path) -> None:
    write_bundle(output.parent / "model")
    export_model(Detector.from_bundle(output.parent / "model", device="cpu"), output)


@pytest.mark.parametrize(
    "run",
    [
        run_import,
        run_assess,
        run_explain,
        run_training,
        run_kfold,
        run_rate_range,
        run_model_export,
    ],
)
def test_a_second_run_into_one_output_is_refused(
    tmp_path: Path, run: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / ("out.png" if run is run_explain else "out")
    message = f"/{output.name}: another run is writing this file or folder"
    with lock_output(output), pytest.raises(ParameterError, match=message):
        run(output)
    assert not output.exists()


def test_a_second_search_of_one_study_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = learning_folders(tmp_path)
    axes = [parse_axis("train.learning_rate=log:1e-4:1e-2")]
    message = "/tune/one: another run is writing this file or folder"
    with lock_output(tuning.WORK / "one"), pytest.raises(ParameterError, match=message):
        tuning.tune(train_params(), folders, axes, n_trials=1, name="one")
    assert not (tuning.WORK / "one.db").exists()
