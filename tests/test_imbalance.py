"""Choices against imbalance: each changes what it should and nothing else; promises are kept at any
rarity.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import MakeScene
from fake_models import make_card
from toy_catalog import CENTERS, catalog_of, cut, write_labels
from toy_patches import learning_folders, train_params
from windhover.dataset.catalog import Catalog
from windhover.evaluation.fit_calibration import calibrate
from windhover.evaluation.score_windows import WindowLogits
from windhover.metrics.bootstrap import percentile_interval
from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import load_bundle
from windhover.training import train

OBJECTS = np.array([CENTERS[0], CENTERS[1], CENTERS[3]])


@pytest.fixture
def catalog(tmp_path: Path, make_scene: MakeScene) -> Catalog:
    """Three places with three objects each and one to be ignored."""
    for number in range(3):
        scene = make_scene(
            f"raw/s{number}.tif", shape_hw=(210, 400), origin=(4e5 + 1e4 * number, 5e6), seed=number
        )
        write_labels(
            tmp_path / f"raw/s{number}.gpkg", scene, CENTERS, ["plane", "tug", "cut", "plane"]
        )
    return catalog_of(tmp_path)


def index_of(catalog: Catalog, folder: Path, **changes: Any) -> pd.DataFrame:
    cut(catalog, folder, **changes)
    return pd.read_parquet(folder / "index.parquet")


def nearest(index: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return by window the larger of |dx| and |dy| to its nearest object, and the distance."""
    offset = OBJECTS[None] - (index[["left_px", "top_px"]].to_numpy() + 32)[:, None]
    return np.abs(offset).max(2).min(1), np.hypot(*offset.transpose(2, 0, 1)).min(1)


@pytest.mark.parametrize("kind", ["random", "offcenter", "lookalike"])
def test_each_kind_of_negative_has_a_ratio_of_its_own(
    catalog: Catalog, tmp_path: Path, kind: str
) -> None:
    ratios = {"random": 2.0, "offcenter": 1.0, "lookalike": 1.0}
    all_kinds = index_of(catalog, tmp_path / "all", negatives_per_positive=ratios)
    without = index_of(catalog, tmp_path / "without", negatives_per_positive={**ratios, kind: 0.0})
    expected = all_kinds["kind"].value_counts().drop(kind)
    counts = without["kind"].value_counts()
    assert set(counts.index) == set(expected.index)
    assert (counts - expected).abs().max() <= 2, (
        "a draw that hits a window already taken is left out"
    )
    positives = [
        table[table["kind"] == "positive"].drop(columns="patch") for table in (all_kinds, without)
    ]
    key = ["scene", "left_px", "top_px"]
    first, second = (table.sort_values(key).reset_index(drop=True) for table in positives)
    pd.testing.assert_frame_equal(first, second)


def test_positives_per_object_and_objects_per_scene_are_counted(
    catalog: Catalog, tmp_path: Path
) -> None:
    few = index_of(catalog, tmp_path / "few", positives_per_object=2)
    many = index_of(catalog, tmp_path / "many", positives_per_object=6)
    counts = [(table["kind"] == "positive").sum() for table in (few, many)]
    assert counts == pytest.approx([3 * 3 * 2, 3 * 3 * 6], abs=2)
    capped = index_of(catalog, tmp_path / "capped", positives_per_object=2, max_objects_per_scene=1)
    positives = capped[capped["kind"] == "positive"]
    assert positives["scene"].value_counts().tolist() == [2, 2, 2]
    centers = positives.assign(
        x=positives["left_px"] + positives["dx_px"], y=positives["top_px"] + positives["dy_px"]
    )
    assert (centers.round(1).groupby("scene")[["x", "y"]].nunique() == 1).all(axis=None)
    assert nearest(capped[capped["kind"] != "positive"])[0].min() > 15, (
        "objects left out are no background"
    )


def test_the_courses_rule_is_the_central_32_px(catalog: Catalog, tmp_path: Path) -> None:
    summary = cut(
        catalog,
        tmp_path / "p",
        positive_radius_m=20.0,
        ignore_radius_m=20.0,
        positives_per_object=24,
    )
    index = pd.read_parquet(tmp_path / "p" / "index.parquet")
    positive = index["kind"] == "positive"
    assert 14 < nearest(index[positive])[0].max() <= 16
    assert nearest(index[~positive])[0].min() > 16
    assert summary.positive_radius_px == summary.ignore_radius_px == 16
    assert all(prior.true == prior.true_central_32_px for prior in summary.prior.values())


def test_a_circle_holds_less_than_its_square_and_meters_are_meters(
    catalog: Catalog, tmp_path: Path
) -> None:
    square = index_of(catalog, tmp_path / "square", positives_per_object=24)
    circle = index_of(catalog, tmp_path / "circle", positives_per_object=24, radius_shape="circle")
    within = [nearest(table[table["kind"] == "positive"]) for table in (square, circle)]
    assert within[0][0].max() <= 8 < within[0][1].max()
    assert 7 < within[1][1].max() <= 8
    assert nearest(circle[circle["kind"] != "positive"])[1].min() > 15
    coarse = catalog_of(tmp_path, gsd_m=2.5)
    assert cut(coarse, tmp_path / "coarse").positive_radius_px == 8, "px, at every GSD"
    in_meters = cut(coarse, tmp_path / "in_meters", positive_radius_m=10.0)
    assert in_meters.positive_radius_px == 4, "10 m, at every GSD"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> train.Folders:
    return learning_folders(tmp_path_factory.mktemp("imbalance"))


def weights(folders: train.Folders, out: Path, **changes: Any) -> dict[str, torch.Tensor]:
    where = replace(folders, out=str(out))
    train.train_detector(train_params(epochs=1, **changes), where, track=False)
    return load_bundle(out).state_dict()


@pytest.fixture(scope="module")
def plain(
    folders: train.Folders, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    return weights(folders, tmp_path_factory.mktemp("plain") / "train")


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "weighted_bce"},
        {"loss": "class_balanced"},
        {"loss": "logit_adjusted"},
        {"sampler": "none"},
        {"sampler": "over"},
        {"negatives_per_positive": 1.0},
        {"label_smoothing": 0.1},
        {"offset_weight": 1.0},
        {"size_weight": 1.0},
    ],
)
def test_each_choice_reaches_the_weights(
    folders: train.Folders,
    plain: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = weights(folders, tmp_path / "train", **changes)
    assert not all(torch.equal(changed[name], plain[name]) for name in plain)


def test_a_choice_that_does_not_apply_changes_nothing(
    folders: train.Folders,
    plain: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    same = weights(
        folders,
        tmp_path / "train",
        focal_alpha=0.7,
        focal_gamma=1.0,
        class_balanced_beta=0.5,
        logit_adjustment_tau=0.3,
        mined_fraction=0.1,
        balance_classes=False,
        momentum=0.1,
        patience=5,
        hard_negative_mining={
            "max_per_scene": 3,
            "min_score": 0.9,
            "patches_per_miss": 1,
            "scales": [1.0, 2.0],
        },
        large_patches={
            "side_px": 72,
            "count": 99,
            "object_fraction": 0.1,
            "copy_paste_prob": 0.9,
            "negatives_per_positive": 9.0,
        },
    )
    assert all(torch.equal(same[name], plain[name]) for name in plain)


NO_MATCHES = pd.DataFrame({"class": [], "ignored": [], "score": [], "is_tp": []}).astype(
    {"ignored": bool}
)


def bundle_of(sampled: float, priors: list[float]) -> Any:
    classes = tuple(f"class{number}" for number in range(len(priors)))
    card = make_card(
        classes=classes, sampled_prior=sampled, true_prior=sum(priors), class_priors=tuple(priors)
    )
    return SimpleNamespace(card=card)


@pytest.mark.parametrize("told", [True, False], ids=["each class by itself", "all together"])
def test_classes_of_different_rarity_are_promised_truly(told: bool) -> None:
    rng = np.random.default_rng(1)
    rarities = np.array([10, 100, 1000]) if told else np.full(3, 100)

    def windows(positives: np.ndarray, negatives: int) -> WindowLogits:
        """Log odds, at three classes each as frequent as the others, of windows that show one class
        or none.
        """
        kinds = np.r_[np.repeat(np.arange(3), positives), np.full(negatives, -1)]
        true = kinds[:, None] == np.arange(3)
        x = rng.normal(np.where(true, 1.5, -1.5), 1)
        return WindowLogits(3.0 * x + np.log(1 / 5), true)

    bundle = bundle_of(0.5, (1 / rarities).tolist())
    if not told:
        bundle.card = bundle.card.model_copy(update={"class_priors": None})
    calibration, _ = calibrate(bundle, windows(np.full(3, 3000), 9000), NO_MATCHES)
    test = windows(3_000_000 // rarities, 3_000_000)
    confidence = window_scores(test.logits, calibration).mean(0)
    assert confidence == pytest.approx(test.is_true.mean(0), rel=0.25)
    for index in range(3):
        alone = window_scores(test.logits[:9, index], calibration.of_class(index))
        assert alone == pytest.approx(window_scores(test.logits[:9], calibration)[:, index])


def test_a_class_that_no_window_of_val_shows_is_shifted_as_the_others() -> None:
    true = np.eye(3, dtype=bool)[np.repeat([0, 1], 500)]
    logits = np.random.default_rng(0).normal(np.where(true, 2.0, -2.0), 1)
    bundle = bundle_of(0.5, [0.001, 0.001, 0.001])
    calibration, _ = calibrate(bundle, WindowLogits(logits, true), NO_MATCHES)
    biases = calibration.window_bias
    assert isinstance(biases, tuple)
    assert np.ptp(biases) < 1.0
    assert biases[2] < -4


@pytest.mark.parametrize("rarity", [1, 10, 700])
def test_predicted_precision_lies_within_the_interval_of_the_measured_one(rarity: int) -> None:
    rng = np.random.default_rng(rarity)

    def windows(positives: int, negatives: int) -> WindowLogits:
        """Logits of an overconfident network: 2.5 times the true log odds at 1:3, and off by 2."""
        x = np.r_[rng.normal(2.2, 1, positives), rng.normal(-2.2, 1, negatives)]
        true = np.arange(positives + negatives) < positives
        return WindowLogits((2.5 * (4.4 * x - np.log(3)) + 2)[:, None], true[:, None])

    prior = 1 / (1 + rarity)
    calibration, _ = calibrate(bundle_of(0.25, [prior]), windows(5_000, 15_000), NO_MATCHES)
    test = windows(1_000, 1_000 * rarity)
    score, true = window_scores(test.logits[:, 0], calibration), test.is_true[:, 0]
    raw = 1 / (1 + np.exp(-test.logits[:, 0]))
    for threshold in (0.1, 0.3, 0.5):
        reported = np.flatnonzero(score >= threshold)
        sample = rng.multinomial(
            len(reported), np.full(len(reported), 1 / len(reported)), 1000
        )  # (draws, reported)
        low, high = percentile_interval(sample @ true[reported] / len(reported)) or (1.0, 0.0)
        assert low <= score[reported].mean() <= high
        assert rarity < 700 or not low <= raw[reported].mean() <= high, (
            "as the network says it, the promise is broken"
        )
