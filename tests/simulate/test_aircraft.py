"""Aircraft are drawn at their true size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.simulate.aircraft import LIVERIES, TYPES, Aircraft


@settings(max_examples=40, deadline=None)
@given(
    type_name=st.sampled_from(sorted(TYPES)),
    heading=st.floats(-7, 7),
    livery=st.sampled_from(sorted(LIVERIES)),
)
def test_aircraft_have_their_true_length_and_span(
    type_name: str, heading: float, livery: str
) -> None:
    west, south, east, north = Aircraft(type_name, livery, (10.0, -20.0), 0.0).bounds_en()
    assert east - west == pytest.approx(TYPES[type_name].length_m, rel=0.02)
    assert north - south == pytest.approx(TYPES[type_name].span_m, rel=0.001)
    turned = Aircraft(type_name, livery, (10.0, -20.0), heading)
    west, south, east, north = turned.bounds_en()
    assert west - 1e-6 <= 10 <= east + 1e-6
    assert south - 1e-6 <= -20 <= north + 1e-6
    assert max(east - west, north - south) <= np.hypot(
        TYPES[type_name].length_m, TYPES[type_name].span_m
    )
