"""Normalisation: zero mean and unit spread per band, for every dtype that patches come in."""

from __future__ import annotations

import pytest
import torch

from windhover.errors import ParameterError
from windhover.models.input_normalization import Normalizer


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_pixels_become_standard_scores_per_band(dtype: torch.dtype) -> None:
    pixels = torch.tensor([10, 20, 30, 40]).view(1, 2, 1, 2).to(dtype)
    scaled = Normalizer([10, 30], [5, 10])(pixels)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == [0, 2, 0, 1]


def test_it_adds_nothing_to_the_weights() -> None:
    assert Normalizer([1.0], [2.0]).state_dict() == {}


def test_wrong_statistics_are_refused() -> None:
    with pytest.raises(ParameterError, match="one number per band"):
        Normalizer([1.0, 2.0], [1.0])
    with pytest.raises(ParameterError, match="above 0"):
        Normalizer([1.0], [0.0])
