"""Every command that writes holds the lock of its output: a second run is refused at the door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from windhover.cli import training as training_commands
from windhover.dataset.import_labels import ImportOptions, import_labels
from windhover.errors import ParameterError
from windhover.evaluation.evaluate_vectors import VectorRequest, evaluate_and_write
from windhover.evaluation.explain import explain_target
from windhover.files import lock_output
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


@pytest.mark.parametrize("run", [run_import, run_assess, run_explain, run_training, run_kfold])
def test_a_second_run_into_one_output_is_refused(
    tmp_path: Path, run: Callable[[Path], None]
) -> None:
    output = tmp_path / "out"
    message = "/out: another run is writing this file or folder"
    with lock_output(output), pytest.raises(ParameterError, match=message):
        run(output)
    assert not output.exists()
