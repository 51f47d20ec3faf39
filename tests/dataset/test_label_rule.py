"""The label rule: its two distances, and offsets that stay in their ring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.dataset.label_rule import LabelRule
from windhover.params.allowed_values import RadiusShape


def test_the_shape_decides_the_distance() -> None:
    dx, dy = np.array([3.0, -3.0]), np.array([-4.0, 0.0])
    assert LabelRule(8.0, 15.0, "square").distance(dx, dy).tolist() == [4.0, 3.0]
    assert LabelRule(8.0, 15.0, "circle").distance(dx, dy).tolist() == [5.0, 3.0]


@pytest.mark.parametrize("shape", ["square", "circle"])
@given(st.integers(0, 1000), st.floats(0, 20), st.floats(0.5, 20))
def test_offsets_lie_in_their_ring(shape: RadiusShape, seed: int, low: float, width: float) -> None:
    rule = LabelRule(8.0, 15.0, shape)
    random = np.random.default_rng(seed)
    offsets = rule.sample_offsets(random, 50, low_px=low, high_px=low + width)
    distance = rule.distance(offsets[:, 0], offsets[:, 1])
    assert offsets.shape == (50, 2)
    assert ((distance >= low - 1e-9) & (distance <= low + width + 1e-9)).all()


@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize("low_px", [0.0, 15.0])
def test_offsets_are_spread_evenly_around(shape: RadiusShape, low_px: float) -> None:
    rule = LabelRule(8.0, 15.0, shape)
    offsets = rule.sample_offsets(np.random.default_rng(0), 4000, low_px=low_px, high_px=20.0)
    for quadrant in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        share = (np.sign(offsets) == quadrant).all(axis=1).mean()
        assert share == pytest.approx(0.25, abs=0.03)
    assert len(np.unique(offsets, axis=0)) == 4000
    beyond = rule.distance(offsets[:, 0], offsets[:, 1]) > 17.5
    area_share = (20**2 - 17.5**2) / (20**2 - low_px**2)
    assert beyond.mean() == pytest.approx(area_share, abs=0.03)
