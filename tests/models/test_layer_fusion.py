"""A network that is rewritten says what it said before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fake_models import random_weights
from windhover.errors import ParameterError
from windhover.models.layer_fusion import (
    SlicedMaxPool2d,
    fold_batch_norms,
    halve_stride,
    optimize_pools,
    trunk_segments,
)
from windhover.models.networks import build_network


def network() -> nn.Module:
    built = build_network("valid64", 3, 1, width=4)
    built.load_state_dict(random_weights(3, 1, 4, 0))
    return built.eval()


def test_folding_removes_every_batch_norm_and_changes_nothing_else() -> None:
    plain = network()
    pixels = torch.randn(1, 3, 64, 80)
    with torch.inference_mode():
        before = plain(pixels).logits
        folded = fold_batch_norms(plain)
        assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
        assert torch.allclose(before, folded(pixels).logits, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(3, 21),
    width=st.integers(3, 34),
    kernel=st.integers(2, 3),
    stride=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_pool_of_slices_is_the_pool_it_stands_for(
    height: int, width: int, kernel: int, stride: int, dtype: torch.dtype
) -> None:
    pixels = torch.randn(2, 3, height, width).to(dtype)
    assert torch.equal(
        SlicedMaxPool2d(kernel, stride)(pixels), nn.MaxPool2d(kernel, stride)(pixels)
    )


@pytest.mark.parametrize("slices", [True, False])
def test_hastened_pools_change_no_number(slices: bool) -> None:
    plain = fold_batch_norms(network())
    pixels = torch.randn(1, 3, 71, 90)
    with torch.inference_mode():
        before = plain(pixels).logits
        hastened = optimize_pools(plain, slices)
        assert torch.equal(before, hastened(pixels).logits)
    kinds = [type(layer) for layer in hastened.trunk if isinstance(layer, (nn.MaxPool2d, nn.ReLU))]
    pool = SlicedMaxPool2d if slices else nn.MaxPool2d
    assert kinds[:4] == [nn.ReLU, pool, nn.ReLU, nn.ReLU]
    assert kinds.count(pool) == 3


@pytest.mark.parametrize(
    "change", [{"stride": (1, 2)}, {"padding": 1}, {"dilation": 2}, {"ceil_mode": True}]
)
def test_only_plain_pools_are_taken_from_slices(change: dict) -> None:
    layers = nn.Sequential(nn.MaxPool2d(2, **change), nn.Sigmoid(), nn.MaxPool2d(2))
    optimize_pools(layers, slices=True)
    assert [type(layer) for layer in layers] == [nn.MaxPool2d, nn.Sigmoid, SlicedMaxPool2d]


def test_a_trunk_that_is_no_plain_chain_is_run_whole() -> None:
    odd = network()
    odd.trunk.append(nn.Softmax(dim=1))
    assert trunk_segments(odd) == []
    assert [segment.stride_px for segment in trunk_segments(network())] == [2, 2, 2, 1]


def test_half_a_stride_needs_a_pool_to_loosen() -> None:
    with pytest.raises(ParameterError, match="last stride is not a pool's"):
        halve_stride(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2)))
