"""What is beyond a scene's border is padded as in training, and nothing is found there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fake_models import Identity, PlantedNetwork, random_weights, squares
from toy_detections import candidate_table
from windhover.evaluation.explain import read_window
from windhover.geometry.lattice import read_padded
from windhover.imagery.scenes import open_scene
from windhover.inference.block_search import PADDED_OUTSIDE_PX, BlockSearch
from windhover.inference.border_views import BorderViews, score_windows_at
from windhover.inference.multi_scale import plan_passes
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network
from windhover.params.allowed_values import PeakTta

SHAPE_HW = (150, 210)
PADDINGS = [None, (90.0, 100.0, 110.0)]


def random_scorer(padding_value: tuple[float, ...] | None) -> TorchScorer:
    network = build_network("valid64", 3, 1, width=4)
    network.load_state_dict(random_weights(3, 1, 4))
    normalizer = Normalizer([100.0] * 3, [60.0] * 3)
    return TorchScorer(network, normalizer, padding_value=padding_value)


def search(
    path: Path,
    scorer: TorchScorer,
    min_logit: float = 0.0,
    *,
    peak_tta: PeakTta = "d4",
    **options: Any,
) -> pd.DataFrame:
    with open_scene(path, 1.25) as scene:
        settings = SearchSettings(peak_tta=peak_tta)
        result = search_scene(scorer, scene, settings, min_logit=min_logit, **options)
    return candidate_table(result.candidates)


def searched_logits(path: Path, scorer: TorchScorer) -> tuple[np.ndarray, Any]:
    """Return the logits of all windows of a scene, and their lattice."""
    with open_scene(path, 1.25) as scene:
        (scale_pass,) = plan_passes(scorer, scene, SearchSettings())
        results = BlockSearch(scorer, 0.0).run(scale_pass, failed=[], keep_logits=True)
        ((_, result),) = results
    assert result.logits is not None
    return result.logits, scale_pass.lattice


def test_windows_wholly_inside_do_not_know_the_padding(make_scene: Any) -> None:
    path = make_scene(shape_hw=SHAPE_HW)
    mirrored, lattice = searched_logits(path, random_scorer(PADDINGS[0]))
    padded, _ = searched_logits(path, random_scorer(PADDINGS[1]))
    rows, cols = (np.arange(*span) * 8 for span in (lattice.rows, lattice.cols))
    is_inside = ((rows >= 0) & (rows + 64 <= SHAPE_HW[0]))[:, None] & (
        (cols >= 0) & (cols + 64 <= SHAPE_HW[1])
    )
    assert is_inside.any()
    assert np.array_equal(mirrored[0][is_inside], padded[0][is_inside])
    assert (mirrored[0][~is_inside] != padded[0][~is_inside]).all()


@pytest.mark.parametrize("padding_value", PADDINGS)
def test_a_window_at_the_border_is_searched_as_it_is_explained(
    make_scene: Any, padding_value: tuple[float, ...] | None
) -> None:
    path = make_scene(shape_hw=SHAPE_HW)
    scorer = random_scorer(padding_value)
    logits, lattice = searched_logits(path, scorer)
    with open_scene(path, 1.25) as scene:
        for row, col in itertools.product((0, 3, logits.shape[1] - 1), (0, logits.shape[2] - 1)):
            x = (lattice.cols[0] + col) * 8 + 32
            y = (lattice.rows[0] + row) * 8 + 32
            if not (x <= SHAPE_HW[1] and y <= SHAPE_HW[0]):
                continue
            window, valid = read_window(scene, x, y, window_px=64, padding_value=padding_value)
            assert valid.all()
            explained = scorer.score_windows(window[None]).logits[0, 0]
            assert explained == pytest.approx(float(logits[0, row, col]), abs=1e-4)


@pytest.mark.parametrize("padding_value", PADDINGS)
@pytest.mark.parametrize("block_px", [64, 100])
def test_blocks_change_nothing_at_borders(
    make_scene: Any, padding_value: tuple[float, ...] | None, block_px: int
) -> None:
    path = make_scene(shape_hw=(301, 277), tiled=True, blockxsize=128, blockysize=128)
    scorer = random_scorer(padding_value)
    columns = ["row", "col", "logit", "w", "h"]
    whole = search(path, scorer, -50.0, block_px=10_000)
    parts = search(path, scorer, -50.0, block_px=block_px)
    assert whole["edge"].sum() > 5
    assert len(whole) == len(parts)
    by_place = [table.round(2).sort_values(["row", "col"]).index for table in (whole, parts)]
    np.testing.assert_allclose(
        whole.loc[by_place[0], columns], parts.loc[by_place[1], columns], atol=1e-4
    )


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_half_an_object_and_its_mirror_image_are_no_object(make_scene: Any, side: str) -> None:
    height, width = SHAPE_HW
    on_border = {"left": (0, 70), "top": (90, 0), "right": (width, 70), "bottom": (90, height)}
    path = make_scene(data=squares(SHAPE_HW, [on_border[side]]))
    mirrored = search(path, TorchScorer(PlantedNetwork(), Identity()))
    assert len(mirrored) == 1  # why borders are padded
    padded = TorchScorer(PlantedNetwork(), Identity(), padding_value=(0.0, 0.0, 0.0))
    assert search(path, padded).empty


@pytest.mark.parametrize("center", [(5, 70), (90, 6), (204, 70), (90, 145), (6, 145)])
def test_a_whole_object_at_a_border_is_found_where_it_is(
    make_scene: Any, center: tuple[int, int]
) -> None:
    path = make_scene(data=squares(SHAPE_HW, [center]))
    found = search(
        path, TorchScorer(PlantedNetwork(), Identity(), padding_value=(0.0, 0.0, 0.0)), 3.0
    )
    assert found[["col", "row"]].to_numpy() == pytest.approx(np.array([center]), abs=0.05)


class LeftNetwork(PlantedNetwork):
    """Sees the center of a square some px further left than it is."""

    def __init__(self, shift_px: float) -> None:
        super().__init__()
        self.shift_px = shift_px

    def forward(self, inputs: Any) -> Any:
        outputs = super().forward(inputs)
        shift = torch.tensor([-self.shift_px, 0.0])[:, None, None]
        return outputs._replace(offsets_px=outputs.offsets_px + shift)


@pytest.mark.parametrize(
    "outside_px", [-1.0, 0.5, PADDED_OUTSIDE_PX - 0.5, PADDED_OUTSIDE_PX + 0.5]
)
def test_an_object_whose_center_is_seen_farther_outside_is_dropped(
    make_scene: Any, outside_px: float
) -> None:
    path = make_scene(data=squares(SHAPE_HW, [(6, 70)]))
    network = LeftNetwork(6 + outside_px)
    scorer = TorchScorer(network, Identity(), padding_value=(0.0, 0.0, 0.0))
    found = search(path, scorer, peak_tta="none")
    if outside_px >= PADDED_OUTSIDE_PX:
        assert found.empty
    else:
        assert found["col"].to_list() == pytest.approx([max(-outside_px, 0.0)], abs=0.05)


def test_the_logits_at_borders_are_the_mean_of_both_views() -> None:
    outside = np.zeros((80, 90), bool)
    outside[:5] = True
    padded = np.random.default_rng(0).integers(0, 255, (3, 80, 90), dtype=np.uint8)
    mirrored = padded + np.uint8(1)
    views = BorderViews(padded, mirrored, outside)
    rows = np.array([0, 4, 5, 16])
    cols = np.array([0, 26, 3, 26])
    scored = []

    def score(pixels: np.ndarray, top: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, ...]:
        is_mirrored = pixels is mirrored
        scored.append((is_mirrored, top.tolist(), left.tolist()))
        value = np.full((2, len(top)), 6.0 if is_mirrored else 2.0)
        return value, value, value

    logits, offsets_px, log_sizes = score_windows_at(score, views, 64, rows, cols)
    assert logits.tolist() == [[4.0, 4.0, 2.0, 2.0]] * 2
    assert (offsets_px == 2).all()
    assert (log_sizes == 2).all()
    assert scored == [(False, rows.tolist(), cols.tolist()), (True, [0, 4], [0, 26])]
    alone = score_windows_at(score, BorderViews(padded), 64, rows, cols)
    assert (alone[0] == 2).all()


def test_a_peak_at_the_border_is_scored_in_both_views(make_scene: Any) -> None:
    path = make_scene(shape_hw=SHAPE_HW)
    padding_value = (90.0, 100.0, 110.0)
    scorer = random_scorer(padding_value)
    found = search(path, scorer, -50.0, peak_tta="recenter")
    at_border = found[found["edge"] & (found["logit"] > -1)].head(3)
    assert len(at_border)
    with open_scene(path, 1.25) as scene:
        for col, row, logit in at_border[["col", "row", "logit"]].to_numpy():
            windows = []
            # the scored window is a few px from where the object is seen
            for dx, dy in itertools.product(range(-10, 11), repeat=2):
                top, left = round(row) + dy - 32, round(col) + dx - 32
                extent = (top, top + 64, left, left + 64)
                windows += [
                    read_padded(scene.read, SHAPE_HW, extent, value)[0]
                    for value in (padding_value, None)
                ]
            logits = scorer.score_windows(np.stack(windows)).logits[:, 0]
            means = logits.reshape(-1, 2).mean(axis=1)
            assert np.abs(means - logit).min() < 1e-4
