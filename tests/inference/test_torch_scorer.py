"""A dense pass gives every window exactly the scores of the window cut out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fake_models import Identity, PlantedNetwork, random_weights
from windhover.errors import ParameterError
from windhover.inference import torch_scorer
from windhover.inference.scorer import RawScores
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network

NORMALIZER = Normalizer([100.0] * 3, [60.0] * 3)


def make_network(n_classes: int = 1, seed: int = 0) -> nn.Module:
    network = build_network("valid64", 3, n_classes, width=4)
    network.load_state_dict(random_weights(3, n_classes, 4, seed))
    return network.eval()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def by_cropping(network: nn.Module, block: np.ndarray, stride: int) -> RawScores:
    """Every window through the plain network, one by one: the reference."""
    rows, cols = ((side - 64) // stride + 1 for side in block.shape[1:])
    planes = []
    with torch.inference_mode():
        for row in range(rows):
            for col in range(cols):
                crop = block[:, row * stride : row * stride + 64, col * stride : col * stride + 64]
                planes.append(
                    [
                        out[0, :, 0, 0].numpy()
                        for out in network(NORMALIZER(torch.from_numpy(crop.copy())[None]))
                    ]
                )
    return RawScores(
        *(np.stack(plane, axis=1).reshape(-1, rows, cols) for plane in zip(*planes, strict=True))
    )


def largest_difference(one: RawScores, two: RawScores) -> float:
    """Of any number, in units of the largest of its kind where that is above 1 (offsets are px, up
    to 40).
    """
    assert [plane.shape for plane in one] == [plane.shape for plane in two]
    return max(
        float(np.abs(a - b).max() / max(np.abs(b).max(), 1)) for a, b in zip(one, two, strict=True)
    )


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(64, 99),
    width=st.integers(64, 111),
    seed=st.integers(0, 99),
    stride=st.sampled_from([8, 4]),
)
def test_dense_equals_cropping_in_every_cell(
    height: int, width: int, seed: int, stride: int
) -> None:
    network = make_network(2, seed)
    block = picture(height, width, seed)
    scores = TorchScorer(network, NORMALIZER, stride_px=stride).score(block)
    assert largest_difference(scores, by_cropping(network, block, stride)) < 1e-5
    assert (
        scores.logits.std() > 0.1 or scores.logits.size < 8
    )  # a constant network would prove nothing


def trained(steps: int = 12) -> nn.Module:
    """A network that has learnt a little: its batch norms have seen data, its weights are no longer
    drawn.
    """
    torch.manual_seed(0)
    network = build_network("valid64", 3, 2, width=4).train()
    for _ in range(steps):
        pixels, wanted = (
            torch.randint(0, 256, (16, 3, 64, 64)),
            torch.randint(0, 2, (16, 2)).float(),
        )
        pixels[:, :, 20:44, 20:44] += (wanted.sum(1) * 60).long()[:, None, None, None]
        outputs = network(NORMALIZER(pixels))
        loss = nn.functional.binary_cross_entropy_with_logits(outputs.logits.flatten(1), wanted)
        weights = list(
            network.parameters()
        )  # stepped by hand: an optimiser would take seconds to import
        slopes = torch.autograd.grad(
            loss + 0.01 * outputs.offsets_px.square().mean(), weights, allow_unused=True
        )
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= 0 if slope is None else 0.05 * slope
    return network.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (73, 130), (121, 95)])
@pytest.mark.parametrize("stride", [8, 4])
def test_dense_equals_cropping_with_trained_weights(height: int, width: int, stride: int) -> None:
    network, block = trained(), picture(height, width)
    scores = TorchScorer(network, NORMALIZER, stride_px=stride).score(block)
    assert largest_difference(scores, by_cropping(network, block, stride)) < 1e-5


def test_cut_windows_are_scored_as_a_dense_pass_scores_them() -> None:
    network, block = make_network(2), picture(90, 117)
    scorer = TorchScorer(network, NORMALIZER, batch_px=64 * 64 * 5)
    whole = scorer.score(block)
    rows, cols = np.indices(whole.logits.shape[1:]).reshape(2, -1)
    crops = np.stack(
        [block[:, 8 * i : 8 * i + 64, 8 * j : 8 * j + 64] for i, j in zip(rows, cols, strict=True)]
    )
    for planes, parts in zip(whole, scorer.score_windows(crops), strict=True):
        assert np.abs(planes.reshape(len(planes), -1).T - parts).max() < 1e-4


def test_the_course_network_is_dense_too_at_its_own_stride_of_4() -> None:
    network = build_network("baseline_cnn", 3, 1).eval()
    block = picture(90, 117)
    assert (
        largest_difference(
            TorchScorer(network, NORMALIZER).score(block), by_cropping(network, block, 4)
        )
        < 1e-5
    )


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_strided_stem_is_dense_and_exact_too(depth: int) -> None:
    network = build_network("valid64", 3, 1, width=4, stem="strided", depth=depth).eval()
    block = picture(90, 117)
    for stride in (8, 4):
        scores = TorchScorer(network, NORMALIZER, stride_px=stride).score(block)
        assert largest_difference(scores, by_cropping(network, block, stride)) < 1e-5


def test_a_padded_backbone_is_scored_by_true_windows_with_the_same_interface() -> None:
    network = build_network("shufflenet_v2_x0_5", 3, 2).eval()
    block = picture(80, 101)
    scorer = TorchScorer(network, NORMALIZER, batch_px=64 * 64 * 4)
    scores = scorer.score(block)
    assert not scorer.dense
    assert scores.logits.shape == (2, 3, 5)
    assert largest_difference(scores, by_cropping(network, block, 8)) < 1e-4


@pytest.mark.parametrize("batch_px", [64 * 64, 20_000, 10**9])
def test_the_batch_changes_nothing(batch_px: int) -> None:
    network, block = make_network(), picture(203, 317)
    whole = TorchScorer(network, NORMALIZER).score(block)
    assert (
        largest_difference(whole, TorchScorer(network, NORMALIZER, batch_px=batch_px).score(block))
        < 1e-5
    )


@pytest.mark.parametrize("band_bytes", [1, 200_000])
@pytest.mark.parametrize("stride", [8, 4])
@pytest.mark.parametrize("stem", ["pooled", "strided"])
def test_bands_of_rows_change_nothing(
    band_bytes: int, stride: int, stem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = (
        make_network()
        if stem == "pooled"
        else build_network("valid64", 3, 1, width=4, stem=stem).eval()
    )
    block = picture(203, 317)
    whole = TorchScorer(network, NORMALIZER, stride_px=stride).score(block)
    monkeypatch.setattr(torch_scorer, "CPU_BAND_BYTES", band_bytes)
    assert (
        largest_difference(whole, TorchScorer(network, NORMALIZER, stride_px=stride).score(block))
        < 1e-5
    )


def test_stride_4_holds_stride_8_in_every_second_cell() -> None:
    network, block = make_network(), picture(120, 152)
    coarse = TorchScorer(network, NORMALIZER).score(block)
    fine = TorchScorer(network, NORMALIZER, stride_px=4).score(block)
    assert np.abs(coarse.logits - fine.logits[:, ::2, ::2]).max() < 1e-5


def test_the_callers_network_stays_as_it_is() -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    TorchScorer(network, NORMALIZER, stride_px=4).score(picture(64, 72))
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_pixels_of_every_dtype_are_taken(dtype: type) -> None:
    block = picture(64, 72)
    scores = TorchScorer(make_network(), NORMALIZER).score(block.astype(dtype))
    assert largest_difference(scores, TorchScorer(make_network(), NORMALIZER).score(block)) < 1e-5


def test_half_precision_stays_near() -> None:
    network, block = make_network(), picture(104, 152)
    exact = TorchScorer(network, NORMALIZER).score(block)
    half = TorchScorer(network, NORMALIZER, inference_precision="bf16").score(block)
    assert half.logits.dtype == np.float32
    assert 0 < np.abs(exact.logits - half.logits).max() < 0.1 * np.abs(exact.logits).max()


def test_planted_network_is_exact_too() -> None:
    block = picture(131, 203)
    network = PlantedNetwork()
    scorer = TorchScorer(network, Identity())
    rows, cols = scorer.score(block).logits.shape[1:]
    crops = [
        TorchScorer(network, Identity())
        .score(block[:, 8 * i : 8 * i + 64, 8 * j : 8 * j + 64])
        .offsets_px[:, 0, 0]
        for i in range(rows)
        for j in range(cols)
    ]
    assert np.allclose(scorer.score(block).offsets_px.reshape(2, -1).T, crops, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"inference_precision": "fp8"}, "inference_precision must be auto or one of fp32"),
        ({"stride_px": 3}, "stride must be 8 or 4 px"),
        ({"batch_px": 100}, "batch_px must hold one window of 64x64 px, got 100 px"),
    ],
)
def test_options_out_of_range_say_so(options: dict, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        TorchScorer(make_network(), NORMALIZER, **options)


def test_a_block_smaller_than_a_window_says_so() -> None:
    with pytest.raises(ParameterError, match="one window of 64 px, got 63x80 px"):
        TorchScorer(make_network(), NORMALIZER).score(picture(63, 80))
