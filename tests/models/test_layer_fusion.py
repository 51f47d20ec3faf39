"""A network that is rewritten says what it said before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fake_models import random_weights
from windhover.errors import ParameterError
from windhover.models.layer_fusion import (
    fold_batch_norms,
    halve_stride,
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


def test_a_trunk_that_is_no_plain_chain_is_run_whole() -> None:
    odd = network()
    odd.trunk.append(nn.Softmax(dim=1))
    assert trunk_segments(odd) == []
    assert [segment.stride_px for segment in trunk_segments(network())] == [2, 2, 2, 1]


def test_half_a_stride_needs_a_pool_to_loosen() -> None:
    with pytest.raises(ParameterError, match="last stride is not a pool's"):
        halve_stride(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2)))
