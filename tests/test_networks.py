"""Networks: their window, stride and shapes, any band count, and options that are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.networks import build_network
from windhover.shapes import layer_shapes

UNPADDED = [("valid64", {"width": "small", "depth": depth, "mix": mix}) for depth, mix in ((2, 0), (3, 1), (4, 0))] + [
    ("course", {})
]


@pytest.mark.parametrize(("name", "options"), UNPADDED)
def test_one_window_gives_one_cell_and_the_receptive_field_is_the_window(name: str, options: dict) -> None:
    network = build_network(name, 4, 2, **options)
    outputs = network(torch.zeros(3, 4, 64, 64))
    assert [tuple(plane.shape) for plane in outputs] == [(3, 2, 1, 1), (3, 2, 1, 1), (3, 2, 1, 1)]
    last = [row for row in layer_shapes(network, 4) if not row.name.startswith("heads")][-1]
    assert (last.receptive_field_px, last.stride_px) == (64, network.stride_px)


@pytest.mark.parametrize(("name", "options"), UNPADDED)
def test_a_cell_sees_its_window_and_nothing_else(name: str, options: dict) -> None:
    network = build_network(name, 2, 1, **options).eval()
    stride = network.stride_px
    torch.manual_seed(0)
    picture = torch.randn(1, 2, 96, 120, requires_grad=True)
    logits = network(picture).logits
    assert logits.shape[-2:] == ((96 - 64) // stride + 1, (120 - 64) // stride + 1)
    logits[0, 0, 1, 3].backward()
    seen = picture.grad.abs().sum((0, 1)).nonzero()
    low, high = seen.min(0).values.tolist(), seen.max(0).values.tolist()
    assert low[0] >= stride
    assert low[1] >= 3 * stride
    assert high[0] < stride + 64
    assert high[1] < 3 * stride + 64


def test_widths_by_name_are_numbers() -> None:
    count = {
        width: sum(p.numel() for p in build_network("valid64", 3, 1, width=width).parameters())
        for width in ("small", 16, "base", "large")
    }
    assert count["small"] == count[16] < count["base"] < count["large"]


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg11", "densenet121", "convnext_tiny", "mobilenet_v3_small", "squeezenet1_1", "vit_b_16"]
)
def test_torchvision_backbones_take_any_bands_behind_the_same_interface(name: str) -> None:
    network = build_network(name, 5, 2, **({"input_px": 224} if name == "vit_b_16" else {})).eval()
    assert not network.dense
    with torch.inference_mode():
        outputs = network(torch.randn(2, 5, 64, 64))
    assert [tuple(plane.shape) for plane in outputs] == [(2, 2, 1, 1)] * 3


def test_pretrained_weights_come_from_a_local_file_only(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(1)
    donor = models.resnet18(weights=None)
    path = tmp_path / "resnet18.pt"
    torch.save(donor.state_dict(), path)
    network = build_network("resnet18", 3, 1, weights=str(path))
    assert torch.equal(network.backbone.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)
    with pytest.raises(MissingFileError, match="no such file of pretrained weights"):
        build_network("resnet18", 3, 1, weights=str(tmp_path / "none.pt"))
    path.write_bytes(b"not weights")
    with pytest.raises(FormatError, match="not weights of this network"):
        build_network("resnet18", 3, 1, weights=str(path))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("valid46", {}, "no network is called 'valid46'"),
        ("valid64", {"widht": 16}, "has no option 'widht'"),
        ("valid64", {"width": "huge"}, "width must be one of small, base, large"),
        ("valid64", {"depth": 5}, "depth must be 2, 3 or 4"),
        ("valid64", {"init": "zeros"}, "init must be one of he, glorot"),
    ],
)
def test_wrong_choices_are_refused(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        build_network(name, 3, 1, **options)
