"""What is counted of mapped scenes and of patches, against brute force over px."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fake_models import Identity, make_card
from toy_coverage import GSD_M, BrightNetwork, cloud_mask, coverage_catalog, write_scenes
from windhover.dataset.catalog import Catalog
from windhover.evaluation.coverage_calibration import calibrate_coverage
from windhover.evaluation.map_splits import (
    MappedScene,
    calibration_samples,
    count_patches,
    count_scenes,
    map_labeled_scenes,
    scored,
)
from windhover.inference.coverage_map import to_px
from windhover.inference.torch_scorer import TorchScorer
from windhover.metrics.coverage_curves import coverage_curve
from windhover.metrics.coverage_metrics import classes_at
from windhover.models.apply_calibration import Calibration

CARD = make_card(
    classes=("cloud",), gsd_m=GSD_M, task="coverage", bands=("band1", "band2", "band3")
)
SHAPE = (157, 221)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("coverage")
    return coverage_catalog(write_scenes(folder / "raw", n_scenes=4, shape_hw=SHAPE))


@pytest.fixture(scope="module")
def mapped(catalog: Catalog) -> list[MappedScene]:
    scorer = TorchScorer(BrightNetwork(), Identity())
    card = CARD.model_copy(update={"bands": tuple(catalog.bands)})
    by_split = map_labeled_scenes(scorer, catalog, card, splits=["train", "val", "test"])
    return [scene for part in by_split.values() for scene in part]


def test_every_labeled_scene_is_mapped(mapped: list[MappedScene]) -> None:
    assert sorted(scene.row.scene for scene in mapped) == ["s0", "s1", "s2", "s3"]


def test_counts_are_those_of_the_px(mapped: list[MappedScene]) -> None:
    scenes = [scored(scene, Calibration()) for scene in mapped]
    counts = count_scenes(scenes, CARD, [0.5])
    assert counts.shares is not None
    for number, scene in enumerate(scenes):
        truth = cloud_mask(SHAPE, int(scene.row.scene[1:]))
        found = to_px(classes_at(scene.values, [0.5]), scene.lattice) == 1
        expected = [
            [(~truth & ~found).sum(), (~truth & found).sum()],
            [(truth & ~found).sum(), (truth & found).sum()],
        ]
        np.testing.assert_array_equal(counts.matrices[number], expected)
        row = counts.shares.iloc[number]
        assert row["true_share"] == pytest.approx(truth.mean())
        assert row["predicted_share"] == pytest.approx(found.mean())
    curve = coverage_curve(counts.histograms["cloud"])
    at = curve.iloc[(curve["threshold"] - 0.5).abs().argmin()]
    assert at["tp"] == sum(matrix[1, 1] for matrix in counts.matrices)
    assert at["fp"] == sum(matrix[0, 1] for matrix in counts.matrices)


def test_a_network_that_sees_the_ground_is_right(mapped: list[MappedScene]) -> None:
    logits, is_class = calibration_samples(mapped, CARD)
    calibration, notes = calibrate_coverage(logits, is_class, CARD.classes)
    assert notes == []
    counts = count_scenes([scored(scene, calibration) for scene in mapped], CARD, [0.5])
    total = np.sum(counts.matrices, axis=0)
    assert np.trace(total) / total.sum() > 0.93  # cells of 8 px on curved borders


def test_calibrated_scores_have_the_share_of_the_class() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 2))
    shown = rng.random((4000, 2)) < 1 / (1 + np.exp(-(logits / 2 - 1)))
    calibration, _ = calibrate_coverage(logits, shown, ["cloud", "shadow"])
    np.testing.assert_allclose(calibration.window_temperature, 2, atol=0.3)
    np.testing.assert_allclose(calibration.window_bias, -1, atol=0.2)


def test_a_class_that_val_lacks_is_told() -> None:
    logits = np.linspace(-3, 3, 50)[:, None]
    calibration, notes = calibrate_coverage(logits, np.zeros((50, 1), bool), ["cloud"])
    assert calibration.window_temperature == (1.0,)
    assert len(notes) == 1
    assert "cloud: val holds 0 samples of it and 50 without it" in notes[0]


def test_patches_are_counted_scene_by_scene() -> None:
    index = pd.DataFrame(
        {
            "scene": ["a", "a", "b", "b", "b"],
            "place": ["p", "p", "q", "q", "q"],
            "class": ["cloud", "", "cloud", "", ""],
        }
    )
    values = np.array([[254], [200], [10], [0], [255]], np.uint8)
    counts = count_patches(values, index, CARD, thresholds=[0.5])
    assert counts.places == ["p", "q"]
    np.testing.assert_array_equal(counts.matrices, [[[0, 1], [0, 1]], [[1, 0], [1, 0]]])
