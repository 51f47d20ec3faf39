"""A resampled pixel is what it is by definition, and the same in every block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.imagery.resample import (
    axis_weights,
    resample_block,
    snap_ratio,
    source_span,
    target_length,
)

ratios = st.one_of(
    st.floats(0.2, 0.98), st.floats(1.02, 9.0), st.sampled_from([0.5, 1.25, 2.0, 2.5, 3.0])
)


def test_ratios_within_one_per_cent_are_one() -> None:
    assert snap_ratio(1.0099) == 1.0
    assert snap_ratio(0.9901) == 1.0
    assert snap_ratio(1.011) == 1.011


def test_target_length_is_what_the_source_fills() -> None:
    assert target_length(2560, 2.5) == 1024
    assert target_length(2561, 2.5) == 1024  # four tenths of a pixel are left out
    assert target_length(2562, 2.5) == 1025
    assert target_length(1, 3.0) == 1
    assert target_length(10, 10 / 3) == 3  # not 4 for a rounding error
    assert target_length(5, 0.5) == 10


@given(ratios, st.integers(0, 500), st.integers(1, 60))
def test_weights_sum_to_one(ratio: float, start: int, count: int) -> None:
    weights = axis_weights(start, start + count, ratio, 100_000)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights.shape == (count, np.subtract(*source_span(start, start + count, ratio)[::-1]))


@given(st.floats(1.02, 9.0), st.integers(0, 400))
def test_area_weights_are_the_overlaps(ratio: float, target: int) -> None:
    first, last = source_span(target, target + 1, ratio)
    weights = axis_weights(target, target + 1, ratio, 100_000).toarray()[0]
    for source in range(first, last):
        overlap = max(0.0, min(source + 1, (target + 1) * ratio) - max(source, target * ratio))
        assert weights[source - first] == pytest.approx(overlap / ratio, abs=1e-6)


def test_whole_ratios_are_plain_means() -> None:
    array = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    rows = axis_weights(0, 2, 2.0, 4)
    cols = axis_weights(0, 3, 2.0, 6)
    result, valid = resample_block(array, np.ones((4, 6), bool), rows, cols=cols)
    assert np.allclose(result[0], array[0].reshape(2, 2, 3, 2).mean(axis=(1, 3)))
    assert valid.all()


@given(ratios, ratios, st.integers(20, 90), st.integers(20, 90), st.data())
@settings(max_examples=60, deadline=None)
def test_any_cut_gives_the_same_bits(
    ratio_x: float, ratio_y: float, height: int, width: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(height * 100 + width)
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "float32"]))
    source = rng.integers(1, 250, (2, height, width)).astype(dtype)
    hole = rng.random((height, width)) < data.draw(st.sampled_from([0.0, 0.02, 0.4]))
    source[:, hole] = 0
    shape = target_length(height, ratio_y), target_length(width, ratio_x)

    def resampled(top: int, bottom: int, left: int, right: int) -> tuple[np.ndarray, np.ndarray]:
        rows, cols = source_span(top, bottom, ratio_y), source_span(left, right, ratio_x)
        inside = np.ix_(
            np.clip(np.arange(*rows), 0, height - 1), np.clip(np.arange(*cols), 0, width - 1)
        )
        out = np.logical_or.outer(
            (np.arange(*rows) < 0) | (np.arange(*rows) >= height),
            (np.arange(*cols) < 0) | (np.arange(*cols) >= width),
        )
        block, valid = source[:, *inside].copy(), ~hole[inside] & ~out
        block[:, ~valid] = 0
        return resample_block(
            block,
            valid,
            axis_weights(top, bottom, ratio_y, height),
            cols=axis_weights(left, right, ratio_x, width),
        )

    whole, seen = resampled(0, shape[0], 0, shape[1])
    top = data.draw(st.integers(0, shape[0] - 1))
    bottom = data.draw(st.integers(top + 1, shape[0]))
    left = data.draw(st.integers(0, shape[1] - 1))
    right = data.draw(st.integers(left + 1, shape[1]))
    part, part_seen = resampled(top, bottom, left, right)
    assert part.tobytes() == np.ascontiguousarray(whole[:, top:bottom, left:right]).tobytes()
    assert (part_seen == seen[top:bottom, left:right]).all()


def test_invalid_pixels_carry_no_weight() -> None:
    array = np.array([[[10.0, 0.0, 20.0, 0.0]]], np.float32)
    valid = np.array([[True, False, False, False]])
    array[:, ~valid] = 0
    result, seen = resample_block(array, valid, None, cols=axis_weights(0, 2, 2.0, 4))
    assert result.tolist() == [[[10.0, 0.0]]]
    assert seen.tolist() == [[True, False]]


def test_integers_are_rounded_not_cut() -> None:
    array = np.array([[[1, 2, 2]]], np.uint8)
    result, _ = resample_block(array, np.ones((1, 3), bool), None, cols=axis_weights(0, 1, 3.0, 3))
    assert result.tolist() == [[[2]]]


def test_a_constant_stays_constant() -> None:
    for ratio in (0.37, 1.7, 2.5, math.pi):
        array = np.full((1, 50, 70), 65535, np.uint16)
        shape = target_length(50, ratio), target_length(70, ratio)
        rows, cols = source_span(0, shape[0], ratio), source_span(0, shape[1], ratio)
        block = np.zeros((1, rows[1] - rows[0], cols[1] - cols[0]), np.uint16)
        valid = np.zeros(block.shape[1:], bool)
        block[:, -rows[0] : 50 - rows[0], -cols[0] : 70 - cols[0]] = array
        valid[-rows[0] : 50 - rows[0], -cols[0] : 70 - cols[0]] = True
        result, seen = resample_block(
            block,
            valid,
            axis_weights(0, shape[0], ratio, 50),
            cols=axis_weights(0, shape[1], ratio, 70),
        )
        assert set(np.unique(result[:, seen])) == {65535}


def test_a_px_centered_on_the_rasters_end_is_beyond_it() -> None:
    assert 2.5 * 0.4 == 1.0  # centre of px 2, in px of a raster of one px
    on_raster = axis_weights(0, 3, 0.4, 1).toarray()[:, 1]  # its span begins a px before it
    assert on_raster == pytest.approx([1.0, 1.0, 0.5])
