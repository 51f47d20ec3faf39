"""From an evaluated run to an alias that a search takes: kept files, versions, and what is said
when there are none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fake_models import write_bundle
from windhover.errors import MissingFileError
from windhover.models.bundle import load_bundle
from windhover.models.calibrated_scores import window_scores
from windhover.tracking import runs

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one evaluated run, and one that is not."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("weights.pt", "model.json", "metrics.json"):
        (folder / name).write_text(name)
    with runs.resume_run("0123456789abcdef", folder) as tracker:
        for name in ("weights.pt", "model.json"):
            tracker.file(folder / name, "bundle")
            tracker.file(folder / name, "bundle/second_stage")
        tracker.file(folder / "metrics.json", "evaluation")
    with runs.resume_run("ffffffffffffffff", folder) as tracker:
        tracker.file(folder / "metrics.json", "other")
    return folder


def test_files_of_a_run_are_found_by_the_key_of_its_weights(root: Path) -> None:
    assert (
        runs.run_files("0123456789abcdef", "evaluation", root) / "metrics.json"
    ).read_text() == "metrics.json"


def test_a_promoted_model_is_what_its_alias_names(root: Path) -> None:
    assert runs.promote("0123456789abcdef", "jets", "champion", root) == 1
    folder = runs.fetch_model("models:/jets@champion", root)
    assert {path.name for path in folder.iterdir()} == {"weights.pt", "model.json", "second_stage"}
    assert (folder / "second_stage" / "weights.pt").is_file()
    assert runs.promote("0123456789abcdef", "jets", "champion", root) == 2
    assert (runs.fetch_model("models:/jets/1", root) / "model.json").is_file()


def test_a_promoted_model_says_its_shapes_and_mlflow_loads_it(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", threshold=0.6)
    with runs.resume_run("aaaaaaaaaaaaaaaa", tmp_path) as tracker:
        tracker.bundle(tmp_path / "model", "uint8", (64, 64, 3))
    runs.promote("aaaaaaaaaaaaaaaa", "jets", "champion", tmp_path)
    folder = runs.fetch_model("models:/jets@champion", tmp_path)
    bundle = load_bundle(folder)
    assert bundle.card == load_bundle(tmp_path / "model").card
    import mlflow

    loaded = mlflow.pyfunc.load_model("models:/jets@champion")
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 64, 64, 3)
    windows = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    pixels = bundle.normalizer()(torch.from_numpy(windows).permute(0, 3, 1, 2))
    with torch.inference_mode():
        logits = bundle.network()(pixels).logits[:, :, 0, 0].numpy()
    assert loaded.predict(windows) == pytest.approx(
        window_scores(logits, bundle.calibration), abs=1e-6
    )


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(MissingFileError, match="nobody: no run has this id, name or model key"):
        runs.run_files("nobody", "evaluation", root)
    with pytest.raises(MissingFileError, match="run ffffffffffffffff: keeps no `bundle`"):
        runs.promote("ffffffffffffffff", "jets", "champion", root)
    with pytest.raises(MissingFileError, match=r"models:/jets@nobody: no such registered model"):
        runs.fetch_model("models:/jets@nobody", root)
    with pytest.raises(MissingFileError, match=r"models:/jets: no such registered model"):
        runs.fetch_model("models:/jets", root)
