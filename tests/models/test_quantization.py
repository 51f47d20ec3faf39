"""A network in 8-bit integers says nearly what it said in floats, and of a window the same wherever
it lies.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cpu_marks import needs_int8
from fake_models import make_card, random_weights
from windhover.errors import FormatError, ParameterError
from windhover.inference import torch_scorer
from windhover.inference.scorer import RawScores
from windhover.inference.torch_scorer import TorchScorer, make_scorers
from windhover.models.bundle import Bundle
from windhover.models.card import NetworkCard
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network
from windhover.models.quantization import PixelQuantizer, measure_ranges
from windhover.models.quantization_ranges import QuantizationRanges
from windhover.models.weights_file import as_arrays

NORMALIZER = Normalizer([90.0, 100.0, 120.0], [40.0, 60.0, 50.0])


def make_network(
    name: str = "valid64", inputs: torch.Tensor | None = None, **options: object
) -> nn.Module:
    """A network whose numbers spread as those of a trained one: random kernels, norms that keep
    their scale.
    """
    torch.manual_seed(0)
    network = build_network(
        name, 3, 2, **({"width": 8} | options if name == "valid64" else options)
    )
    with torch.no_grad():
        inputs = (
            NORMALIZER(torch.from_numpy(picture(80, 72, seed=5))[None])
            if inputs is None
            else inputs
        )
        for _ in range(30):  # batch norms see what comes in
            network.train()(inputs.repeat(2, 1, 1, 1))
        for head in network.heads.children():
            head.weight.normal_(std=0.3)
    return network.eval()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blotches with some noise: white noise alone would average out in the first layers."""
    random = np.random.default_rng(seed)
    coarse = (
        random.normal(0, 60, (3, -(-height // 6), -(-width // 6)))
        .repeat(6, 1)
        .repeat(6, 2)[:, :height, :width]
    )
    return np.clip(coarse + random.normal(110, 10, (3, height, width)), 0, 255).astype(np.uint8)


def ranges_of(network: nn.Module) -> QuantizationRanges:
    ranges = measure_ranges(
        network, NORMALIZER, [torch.from_numpy(picture(96, 128, seed))[None] for seed in (7, 8)]
    )
    assert ranges is not None
    return ranges


def error(one: RawScores, two: RawScores) -> float:
    """Root mean square difference of any kind of number, in units of that kind's spread."""
    return max(
        float(np.sqrt(np.mean((a - b) ** 2)) / b.std()) for a, b in zip(one, two, strict=True)
    )


@needs_int8
@pytest.mark.parametrize("stride", [8, 4])
@pytest.mark.parametrize(
    "options", [{}, {"stem": "strided", "depth": 3}, {"batch_norm": False}, {"mix": 1}]
)
def test_integers_say_nearly_what_floats_say(options: dict, stride: int) -> None:
    network = make_network(**options)
    exact = TorchScorer(network, NORMALIZER, stride_px=stride).score(picture(120, 203))
    scorer = TorchScorer(
        network, NORMALIZER, inference_precision="int8", stride_px=stride, ranges=ranges_of(network)
    )
    scores = scorer.score(picture(120, 203))
    assert [plane.dtype for plane in scores] == [np.float32] * 3
    assert [plane.shape for plane in scores] == [plane.shape for plane in exact]
    assert 0 < error(scores, exact) < 0.15
    assert abs(float((scores.logits - exact.logits).mean())) < 0.03 * exact.logits.std(), (
        "no drift to one side"
    )


@needs_int8
@pytest.mark.parametrize(
    ("mean", "std", "contrast"), [(200.0, 12.0, 0.2), (40.0, 5.0, 0.1), (110.0, 60.0, 1.0)]
)
def test_a_band_far_from_black_brings_no_drift(mean: float, std: float, contrast: float) -> None:
    """The rounding of a kernel must not be multiplied by the mean of a hazy picture."""
    normalizer = Normalizer([mean] * 3, [std] * 3)

    def seen(seed: int, height: int = 120, width: int = 203) -> np.ndarray:
        return np.clip((picture(height, width, seed) - 110.0) * contrast + mean, 0, 255).astype(
            np.uint8
        )

    network = make_network(inputs=normalizer(torch.from_numpy(seen(5))[None]))
    ranges = measure_ranges(
        network, normalizer, [torch.from_numpy(seen(seed))[None] for seed in (7, 8)]
    )
    exact = TorchScorer(network, normalizer).score(seen(0))
    scores = TorchScorer(network, normalizer, inference_precision="int8", ranges=ranges).score(
        seen(0)
    )
    assert error(scores, exact) < 0.15
    assert abs(float((scores.logits - exact.logits).mean())) < 0.03 * exact.logits.std()


@needs_int8
@pytest.mark.parametrize("name", ["valid64", "baseline_cnn"])
def test_a_window_is_worth_the_same_wherever_it_lies(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, block = make_network(name), picture(131, 203)
    ranges = ranges_of(network)
    scorer = TorchScorer(network, NORMALIZER, inference_precision="int8", ranges=ranges)
    whole, step = scorer.score(block), scorer.stride_px
    rows, cols = np.indices(whole.logits.shape[1:]).reshape(2, -1)
    crops = np.stack(
        [
            block[:, step * i : step * i + 64, step * j : step * j + 64]
            for i, j in zip(rows, cols, strict=True)
        ]
    )
    for planes, parts in zip(whole, scorer.score_windows(crops), strict=True):
        assert np.abs(planes.reshape(len(planes), -1).T - parts).max() < 1e-4
    monkeypatch.setattr(torch_scorer, "CPU_BAND_BYTES", 20_000)
    banded = TorchScorer(network, NORMALIZER, inference_precision="int8", ranges=ranges).score(
        block
    )
    assert all(np.abs(one - two).max() < 1e-4 for one, two in zip(banded, whole, strict=True))


@needs_int8
def test_integers_are_sums_of_rounded_numbers() -> None:
    """Against the same arithmetic in double precision, written plainly."""
    network, block = make_network(batch_norm=False), picture(72, 80)
    ranges = ranges_of(network)
    convolutions = [layer for layer in network.trunk if isinstance(layer, nn.Conv2d)]
    maps, step = torch.from_numpy(block)[None].double(), 1.0
    mean, std = NORMALIZER.mean.double(), NORMALIZER.std.double()
    for number, layer in enumerate(
        layer for layer in network.trunk if not isinstance(layer, nn.ReLU)
    ):
        if isinstance(layer, nn.MaxPool2d):
            maps = layer(maps)
            continue
        weight, bias = layer.weight.double(), layer.bias.double()
        if number == 0:
            maps, weight = maps - mean, weight / std
        steps = weight.abs().amax((1, 2, 3), keepdim=True) / 127
        sums = nn.functional.conv2d(
            maps * step, (weight / steps).round() * steps, bias, layer.stride
        ).clamp_min(0)
        if layer is not convolutions[-1]:
            step = ranges.maps[convolutions.index(layer)] / 255
            sums = (sums / step).round().clamp_max(255)
        maps = sums
    expected = network.heads.logits(maps.float())[0].detach().numpy()
    scores = TorchScorer(network, NORMALIZER, inference_precision="int8", ranges=ranges).score(
        block
    )
    assert np.abs(scores.logits - expected).max() < 0.02 * expected.std()


@needs_int8
@pytest.mark.parametrize(
    ("dtype", "times"), [(np.uint16, 200), (np.int16, 100), (np.float32, 0.01)]
)
def test_wider_pixels_are_brought_to_bytes(dtype: type, times: float) -> None:
    network, block = make_network(), picture(96, 128)
    mean, std = (
        (values.flatten() * times).tolist() for values in (NORMALIZER.mean, NORMALIZER.std)
    )
    wide, normalizer = (block * times).astype(dtype), Normalizer(mean, std)
    ranges = measure_ranges(network, normalizer, [torch.from_numpy(wide)[None]])
    assert ranges is not None
    assert all(0 <= low < high <= 255 * times for low, high in ranges.bands)
    scorer = TorchScorer(network, normalizer, inference_precision="int8", ranges=ranges)
    assert error(scorer.score(wide), TorchScorer(network, normalizer).score(wide)) < 0.15
    beyond = scorer.score((wide * 2.0).astype(dtype))
    assert all(np.isfinite(plane).all() for plane in beyond)


def test_bytes_are_the_nearest_of_255_steps_and_what_lies_beyond_is_cut() -> None:
    pixels = torch.tensor([-5.0, 10.0, 10.4, 11.6, 265.0, 900.0]).view(1, 1, 2, 3)
    assert PixelQuantizer(QuantizationRanges(((10.0, 265.0),), ()))(pixels).flatten().tolist() == [
        0,
        0,
        0,
        2,
        255,
        255,
    ]
    as_they_are = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3)
    assert PixelQuantizer(QuantizationRanges(((0.0, 255.0),), ()))(as_they_are) is as_they_are
    assert torch.equal(
        PixelQuantizer(QuantizationRanges(((0.0, 255.0),), ()))(as_they_are.float()), as_they_are
    )


def test_ranges_are_the_largest_numbers_of_the_pictures() -> None:
    network, pictures = (
        make_network(),
        [torch.from_numpy(picture(64, 96, seed))[None] for seed in (1, 2)],
    )
    ranges = measure_ranges(network, NORMALIZER, pictures)
    assert ranges is not None
    assert ranges.bands == ((0.0, 255.0),) * 3
    features = [network.trunk(NORMALIZER(pixels)).detach() for pixels in pictures]
    assert ranges.maps[-1] == pytest.approx(max(float(part.max()) for part in features))
    assert len(ranges.maps) == sum(isinstance(layer, nn.Conv2d) for layer in network.trunk)
    alone = measure_ranges(network, NORMALIZER, pictures[:1])
    assert alone is not None
    assert all(one <= both for one, both in zip(alone.maps, ranges.maps, strict=True))
    assert not [layer for layer in network.modules() if layer._forward_hooks], (
        "nothing is left on the network"
    )


def test_rare_pixels_do_not_widen_a_band() -> None:
    pixels = torch.linspace(100, 300, 20_000).view(1, 1, 100, 200).to(torch.int16)
    pixels[0, 0, 0, 0] = 30_000
    ranges = measure_ranges(
        build_network("valid64", 1, 1, width=4).eval(), Normalizer([200.0], [50.0]), [pixels]
    )
    assert ranges is not None
    assert ranges.bands == ((100.0, 299.0),)  # of 20,000 pixels, two at either end are rare
    flat = torch.full((1, 1, 64, 64), 7, dtype=torch.int16)
    ranges = measure_ranges(
        build_network("valid64", 1, 1, width=4).eval(), Normalizer([200.0], [50.0]), [flat]
    )
    assert ranges is not None
    assert ranges.bands == ((7.0, 8.0),)


def test_missing_pixels_are_no_dark_ones() -> None:
    random = np.random.default_rng(0)
    pixels = random.normal(295, 4, (2, 2, 90, 80)).astype(np.float32)
    network, normalizer = (
        build_network("valid64", 2, 1, width=4).eval(),
        Normalizer([295.0] * 2, [4.0] * 2),
    )
    whole = measure_ranges(network, normalizer, [torch.from_numpy(pixels)])
    pixels[:, :, :9] = 0  # missing in every band
    pixels[0, 1, 40, 40] = 0  # one value of one band, which is rare
    holed = measure_ranges(network, normalizer, [torch.from_numpy(pixels)])
    assert whole is not None
    assert holed is not None
    assert np.allclose(whole.bands, holed.bands, atol=3)


def test_where_a_byte_is_too_short_there_are_no_ranges() -> None:
    pixels = torch.from_numpy(
        np.random.default_rng(0).normal(300, 4, (1, 1, 90, 80)).astype(np.float32)
    )
    pixels[0, 0, :5] = 9000  # too many to be rare: a step of a byte would be eight times the spread
    network = build_network("valid64", 1, 1, width=4).eval()
    assert measure_ranges(network, Normalizer([300.0], [4.0]), [pixels]) is None


def test_a_chain_with_another_layer_has_no_ranges() -> None:
    network = make_network()
    network.trunk.append(nn.AvgPool2d(1))
    assert measure_ranges(network, NORMALIZER, [torch.from_numpy(picture(64, 64))[None]]) is None


def test_a_backbone_has_no_ranges() -> None:
    network = build_network("shufflenet_v2_x0_5", 3, 1).eval()
    assert (
        measure_ranges(network, NORMALIZER, [torch.zeros(1, 3, 64, 64, dtype=torch.uint8)]) is None
    )


@needs_int8
@pytest.mark.parametrize("padded", [True, False])
def test_a_padded_second_stage_stays_in_floats(padded: bool) -> None:
    network = make_network(width=4)
    ranges, weights = ranges_of(network), as_arrays(network.state_dict())
    classes = ("plane", "ship")
    other = make_card(classes=classes, ranges=ranges), weights
    if padded:
        backbone = NetworkCard(name="shufflenet_v2_x0_5", n_bands=3, n_classes=2)
        other = (
            make_card(classes=classes, network=backbone),
            as_arrays(build_network("shufflenet_v2_x0_5", 3, 2).state_dict()),
        )
    card = make_card(classes=classes, ranges=ranges)
    bundle = Bundle(card, weights, second_stage=Bundle(*other))
    first, second = make_scorers(bundle, device="cpu", inference_precision="int8")
    alone, _ = make_scorers(
        Bundle(*other), device="cpu", inference_precision="fp32" if padded else "int8"
    )
    assert second is not None
    crops = np.stack([picture(64, 64, seed) for seed in range(3)])
    assert np.allclose(second.score_windows(crops)[0], alone.score_windows(crops)[0], atol=1e-4)
    assert (
        error(
            first.score(picture(96, 120)),
            make_scorers(bundle, device="cpu", inference_precision="fp32")[0].score(
                picture(96, 120)
            ),
        )
        > 0
    )


@pytest.mark.parametrize(
    ("bands", "able", "taken"),
    [
        pytest.param((0.0, 255.0), True, "int8", marks=needs_int8),
        ((0.0, 255.0), False, "fp32"),
        ((12.0, 3900.0), True, "fp32"),
        (None, True, "fp32"),
    ],
    ids=["bytes", "no such processor", "wider pixels", "no ranges"],
)
def test_auto_takes_integers_where_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, bands: tuple[float, float] | None, able: bool, taken: str
) -> None:
    monkeypatch.setattr(torch_scorer, "has_int8_instructions", lambda: able)
    network = make_network(width=4)
    ranges = None if bands is None else QuantizationRanges((bands,) * 3, ranges_of(network).maps)
    assert (
        TorchScorer(
            network, NORMALIZER, inference_precision="auto", ranges=ranges
        ).inference_precision
        == taken
    )


def int8(**options: object) -> TorchScorer:
    network = build_network("valid64", 3, 1, width=4)
    network.load_state_dict(random_weights(3, 1, 4, 0))
    return TorchScorer(network, NORMALIZER, inference_precision="int8", **options)


def test_what_cannot_be_in_integers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    few = QuantizationRanges(((0.0, 255.0),) * 3, (1.0,) * 3)
    with pytest.raises(
        ParameterError, match=r"int8 is for a CPU, and the search is on meta\. Take fp16"
    ):
        int8(device="meta", ranges=few)
    monkeypatch.setattr(torch_scorer, "has_int8_instructions", lambda: False)
    with pytest.raises(ParameterError, match=r"one of them does not\. Take fp32 or bf16"):
        int8(ranges=few)
    monkeypatch.setattr(torch_scorer, "has_int8_instructions", lambda: True)
    with pytest.raises(ParameterError, match="needs a model whose card holds `ranges`"):
        int8()
    with pytest.raises(
        FormatError, match="are for 3 feature maps and 3 bands, and the network has 7 and 3"
    ):
        int8(ranges=few)
