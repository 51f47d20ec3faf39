"""An exported detector is measured on test, and the figures are where a user meets them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_models import write_bundle
from toy_catalog import catalog_of, write_labels
from windhover.dataset.catalog import Catalog
from windhover.errors import DataError
from windhover.inference.detector import Detector
from windhover.model_export.export_model import export_evaluated, export_model, read_metadata
from windhover.models.bundle import load_bundle
from windhover.params.evaluate import EvaluateParams

PARAMS = EvaluateParams(min_logit=-1.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "model", threshold=0.7)
    return tmp_path / "model"


@pytest.fixture
def catalog(make_scene: Any, tmp_path: Path, model: Path) -> Catalog:
    """A catalog of one test scene whose labels are two of three objects that `detect` finds."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((3, 420, 610), np.uint8)
    for row in range(60, 330, 90):  # rough patches, away from the border
        for col in range(56, 520, 97):
            pixels[:, row : row + 24, col : col + 30] = rng.integers(0, 256, (3, 24, 30))
    scene = make_scene("raw/a.tif", data=pixels)
    found = Detector.from_bundle(model, runtime="torch").detect(scene)
    assert len(found) > 9
    labels = found[np.arange(len(found)) % 3 > 0]
    centers = list(zip(labels["col"], labels["row"], strict=True))
    write_labels(tmp_path / "raw" / "a.gpkg", scene, centers, ["aircraft"] * len(centers))
    made = catalog_of(tmp_path, split_fractions=[1.0, 0.0, 0.0])
    return replace(made, scenes=made.scenes.assign(split="test"))


def test_ap_on_test_is_in_the_file_the_card_and_the_page(model: Path, catalog: Catalog) -> None:
    before = load_bundle(model).card
    lines = export_evaluated(model, catalog, PARAMS)
    card = load_bundle(model).card
    assert card.model_copy(update={"description": before.description}) == before
    assert card.description is not None
    accuracy = card.description.exported
    assert accuracy is not None
    assert (accuracy.scenes, accuracy.objects) == (1, len(catalog.labels))
    assert accuracy.ap_detect is not None
    assert accuracy.ap_exported is not None
    assert 0.4 < accuracy.ap_detect < 1
    assert abs(accuracy.ap_exported - accuracy.ap_detect) < 0.05
    assert accuracy.alike > 5
    assert accuracy.largest_score_difference < 0.05
    metadata = read_metadata(model / "exported" / "detector.onnx")
    assert metadata["windhover_test"] == accuracy.model_dump()
    assert metadata["det_conf"] == 0.7
    for page in (model / "README.md", model / "exported" / "README.md"):
        assert f"AP {accuracy.ap_exported:.4f}, by `detect` {accuracy.ap_detect:.4f}" in (
            page.read_text(encoding="utf-8")
        )
    assert accuracy.line() in lines
    assert not list((model / "exported").glob(".*"))


def test_without_a_test_scene_nothing_is_written(
    model: Path, catalog: Catalog, tmp_path: Path
) -> None:
    train = replace(catalog, scenes=catalog.scenes.assign(split="train"))
    detector = Detector.from_bundle(model, runtime="torch", inference_precision="fp32")
    with pytest.raises(DataError, match="has no labelled scene in `test`"):
        export_model(detector, tmp_path / "exported", catalog=train)
    assert not list(tmp_path.glob("*exported*"))
