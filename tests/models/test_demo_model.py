"""The model that the package carries: small, complete, and never taken for more than it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import MakeScene
from windhover.cli.app import app
from windhover.models.bundle import load_bundle
from windhover.models.demo_model import DEMO_FOLDER, is_demo, model_path
from windhover.models.weights_file import read_weights

MAX_BYTES = 1_000_000


def test_it_is_small_whole_and_states_what_it_is() -> None:
    assert sum(path.stat().st_size for path in DEMO_FOLDER.rglob("*")) <= MAX_BYTES
    bundle = load_bundle(DEMO_FOLDER)
    assert bundle.operating_point is not None
    assert bundle.card.description is not None
    assert bundle.card.description.limits[0].startswith("A demonstration")
    text = (DEMO_FOLDER / "README.md").read_text(encoding="utf-8")
    assert "A demonstration" in text


def test_half_precision_is_read_as_single() -> None:
    weights = read_weights(DEMO_FOLDER)
    assert not any(array.dtype == np.float16 for array in weights.values())
    assert any(array.dtype == np.float32 for array in weights.values())


def test_its_name_stands_for_its_folder_unless_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_demo(model_path(Path("demo")))
    (tmp_path / "demo").mkdir()
    assert not is_demo(model_path(Path("demo")))
    assert model_path(Path("data/model")) == Path("data/model")


def test_a_search_with_it_says_that_it_is_a_demonstration(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_scene("scene.tif", (200, 270))
    arguments = ["detect", "scene.tif", "--model", "demo", "-o", "x.gpkg", "--runtime", "torch"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "demonstration model" in done.stderr
    assert (tmp_path / "x.gpkg").is_file()
