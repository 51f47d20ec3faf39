"""Turned eight ways and turned back: nothing changes where the network has no direction, and no
block matters.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fake_models import Identity, PlantedNetwork, random_weights, squares, write_bundle
from toy_detections import candidate_table
from windhover.errors import ParameterError
from windhover.imagery.scenes import open_scene
from windhover.inference.detector import Detector
from windhover.inference.peak_tta import d4_test_time_augmentation
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import Outputs, build_network
from windhover.params.allowed_values import PeakTta

CENTERS = [(100.3, 60.7), (150, 90), (420.5, 262.5), (200, 33.3), (37, 210), (300.25, 205.5)]
RECENTER = SearchSettings(peak_tta="recenter", rescore_min_logit=-4.0)
D4 = SearchSettings(peak_tta="d4", rescore_min_logit=-4.0)


class Aslant(PlantedNetwork):
    """Finds squares, and errs always to one side: 3 px right, 1 px up, too wide, surer where more
    light is left.
    """

    def forward(self, inputs: torch.Tensor) -> Outputs:
        logits, offsets, sizes = super().forward(inputs)
        side = (
            inputs[:, :1, :, : inputs.shape[3] // 2].mean()
            - inputs[:, :1, :, inputs.shape[3] // 2 :].mean()
        )
        wrong = torch.tensor([3.0, -1.0])[:, None, None]
        wide = torch.tensor([0.4, 0.0])[:, None, None]
        return Outputs(logits + side, offsets + wrong, sizes + wide)


def random_scorer(seed: int = 0, **options: Any) -> TorchScorer:
    network = build_network("valid64", 3, 2, width=4)
    network.load_state_dict(random_weights(3, 2, 4, seed))
    return TorchScorer(network, Normalizer([100.0] * 3, [60.0] * 3), **options)


def search(
    path: Path, scorer: TorchScorer, settings: SearchSettings, min_logit: float, **options: Any
) -> pd.DataFrame:
    with open_scene(path, 1.25) as scene:
        result = search_scene(scorer, scene, settings, min_logit=min_logit, **options)
    table = candidate_table(result.candidates)
    return table.sort_values(["class_index", "row", "col"], ignore_index=True)


def assert_same(one: pd.DataFrame, two: pd.DataFrame, atol: float = 1e-4) -> None:
    assert len(one) == len(two)
    keys = ["logit", "col", "row", "w", "h"]
    assert np.abs(one[keys].to_numpy() - two[keys].to_numpy()).max(initial=0) < atol


def test_a_network_without_a_direction_says_the_same(make_scene: Any) -> None:
    path = make_scene(data=squares((301, 477), CENTERS))
    scorer = TorchScorer(PlantedNetwork(), Identity())
    once, eight = (search(path, scorer, settings, 3.0) for settings in (SearchSettings(), D4))
    assert len(once) == len(CENTERS)
    assert (
        np.abs(once[["col", "row", "w", "h"]] - eight[["col", "row", "w", "h"]]).to_numpy().max()
        < 1e-3
    )
    # its score falls with the distance of the object from the window's middle, and the window is
    # moved there
    assert (eight["logit"] > once["logit"] - 1e-3).all()
    assert eight["logit"].min() > 7.8


class Short(PlantedNetwork):
    """Finds squares, but tells only half of how far they are from the window's middle."""

    def forward(self, inputs: torch.Tensor) -> Outputs:
        logits, offsets, sizes = super().forward(inputs)
        return Outputs(logits, offsets / 2, sizes)


def test_a_window_moved_to_the_object_tells_its_center(make_scene: Any) -> None:
    path = make_scene(data=squares((301, 477), [(101.0, 61.0)]))
    scorer = TorchScorer(Short(), Identity())
    errors = []
    for settings in (SearchSettings(), RECENTER):
        found = search(path, scorer, settings, 3.0)
        errors.append(np.hypot(found["col"][0] - 101.0, found["row"][0] - 61.0))
    assert errors[0] > 1.0
    assert errors[1] < errors[0] / 2


def test_lower_peaks_keep_their_logits(make_scene: Any) -> None:
    path = make_scene(shape_hw=(157, 231))
    low, high = (
        search(
            path, random_scorer(), dataclasses.replace(RECENTER, rescore_min_logit=from_logit), -4.0
        )
        for from_logit in (-100.0, 100.0)
    )
    assert_same(high, search(path, random_scorer(), SearchSettings(), -4.0))
    assert len(low) > 3
    assert sorted(low["logit"]) != sorted(high["logit"])


@pytest.mark.parametrize("peak_tta", ["recenter", "d4"])
def test_a_second_stage_changes_the_scores_of_rescored_peaks_alone(
    make_scene: Any, peak_tta: PeakTta
) -> None:
    path = make_scene(shape_hw=(157, 231))
    apart = SearchSettings(
        merge_distance=0.0, merge_iou=1.0
    )  # so that rows are the same whatever their scores
    never = search(path, random_scorer(), apart, -50.0)
    settings = dataclasses.replace(
        apart, peak_tta=peak_tta, rescore_min_logit=float(never["logit"].median())
    )
    alone = search(path, random_scorer(), settings, -50.0)
    surer = random_scorer()
    surer._network.heads.logits.bias.data += 2.0  # half of it is left in the mean of both
    both = search(path, random_scorer(), settings, -50.0, second_stage=surer)
    seen = ~alone["logit"].isin(never["logit"])
    assert 10 < seen.sum() < len(seen) - 10
    assert (both["logit"] - alone["logit"]).to_numpy() == pytest.approx(
        np.where(seen, 1.0, 0.0), abs=1e-5
    )
    pd.testing.assert_frame_equal(both.drop(columns="logit"), alone.drop(columns="logit"))
    pd.testing.assert_frame_equal(
        alone, search(path, random_scorer(), settings, -50.0, second_stage=random_scorer())
    )


def test_what_a_network_gets_wrong_in_one_direction_cancels() -> None:
    picture = squares((64, 64), [(34, 30)])
    scorer = TorchScorer(Aslant(), Identity())
    zero = np.zeros(1, np.intp)
    logits, offsets, sizes = d4_test_time_augmentation(scorer, picture, zero, zero)
    assert offsets[:, 0] == pytest.approx([2.0, -2.0], abs=1e-4)
    assert sizes[:, 0] == pytest.approx([np.log(10) + 0.2] * 2)
    assert logits[0, 0] == pytest.approx(8 - np.hypot(2, 2) / 4, abs=1e-3)
    assert np.abs(scorer.score(picture).offsets_px[:, 0, 0] - (5.0, -3.0)).max() < 1e-3


def test_turning_the_picture_turns_the_answer() -> None:
    """Of any network, the mean over the symmetries has no direction of its own."""
    picture = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    scorer, zero = random_scorer(), np.zeros(1, np.intp)
    logits, (dx, dy), (w, h) = d4_test_time_augmentation(scorer, picture, zero, zero)
    turned = np.ascontiguousarray(
        np.rot90(picture, axes=(1, 2))
    )  # a quarter to the left: (x, y) -> (y, -x)
    other = d4_test_time_augmentation(scorer, turned, zero, zero)
    assert np.abs(other[0] - logits).max() < 1e-4
    assert np.abs(other[1] - np.stack([dy, -dx])).max() < 1e-3
    assert np.abs(other[2] - np.stack([h, w])).max() < 1e-4
    plain = [scorer.score(each).logits for each in (picture, turned)]
    assert np.abs(plain[0] - plain[1]).max() > 0.05


@pytest.mark.parametrize("options", [{"block_px": 128}, {"block_px": 200}])
@pytest.mark.parametrize("other", [None, random_scorer(seed=1)])
def test_blocks_change_nothing(
    make_scene: Any, options: dict[str, int], other: TorchScorer | None
) -> None:
    path = make_scene(shape_hw=(157, 231), tiled=True, blockxsize=64, blockysize=64)
    settings = dataclasses.replace(D4, rescore_min_logit=-3.0)
    whole = search(path, random_scorer(), settings, -3.0, second_stage=other)
    assert len(whole) > 20
    assert set(whole["class_index"]) == {0, 1}
    assert_same(whole, search(path, random_scorer(), settings, -3.0, second_stage=other, **options))


@pytest.mark.parametrize("stride", [8, 4])
def test_batches_change_nothing(
    make_scene: Any, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape_hw=(90, 131))
    settings = dataclasses.replace(D4, stride_px=stride)
    whole = search(
        path, random_scorer(stride_px=stride), settings, -4.0, second_stage=random_scorer(seed=1)
    )
    monkeypatch.setattr("windhover.inference.peak_tta.WINDOWS_AT_ONCE", 3)
    few = {"batch_px": 64 * 64 * 5}
    other = random_scorer(seed=1, **few)
    assert_same(
        whole,
        search(path, random_scorer(stride_px=stride, **few), settings, -4.0, second_stage=other),
    )


def test_a_higher_threshold_keeps_the_same_objects(make_scene: Any) -> None:
    """The evaluated curve is that of detection: what is found at a threshold is what was found
    below, cut there.
    """
    path = make_scene(shape_hw=(201, 277))
    low = search(path, random_scorer(), D4, -4.0)
    floor = float(low["logit"].median())
    high, cut = (
        search(path, random_scorer(), D4, floor),
        low[low["logit"] >= floor].reset_index(drop=True),
    )
    assert 3 < len(cut) < len(low)
    assert_same(cut, high)


def test_a_padded_network_is_turned_too(make_scene: Any) -> None:
    network = build_network("shufflenet_v2_x0_5", 3, 2).eval()
    scorer = TorchScorer(network, Normalizer([100.0] * 3, [60.0] * 3))
    path = make_scene(shape_hw=(70, 80))
    found = search(path, scorer, D4, -4.0)
    assert len(found)
    assert_same(found, search(path, scorer, D4, -4.0, block_px=64), 1e-3)
    both = search(path, random_scorer(), D4, -4.0, second_stage=scorer)
    assert len(both)
    assert_same(
        both, search(path, random_scorer(), D4, -4.0, block_px=64, second_stage=scorer), 1e-3
    )


def test_a_detector_turns_windows_where_its_bundle_says_so(make_scene: Any, tmp_path: Path) -> None:
    path = make_scene(shape_hw=(157, 211))
    write_bundle(tmp_path / "m", threshold=0.2)
    bundle = Detector.from_bundle(tmp_path / "m").bundle
    tables = []
    for settings in (SearchSettings(), D4):
        point = bundle.operating_point.model_copy(update={"search": settings.to_json()})
        detector = Detector(dataclasses.replace(bundle, operating_point=point))
        assert detector.settings == settings
        tables.append(detector.detect(path))
    assert len(tables[1]) > 3
    assert sorted(tables[0]["score"]) != sorted(tables[1]["score"])


def test_an_unknown_augmentation_is_an_error() -> None:
    with pytest.raises(
        ParameterError, match="`peak_tta` must be one of none, recenter, d4, got 'd8'"
    ):
        SearchSettings(peak_tta="d8")  # type: ignore[arg-type]
