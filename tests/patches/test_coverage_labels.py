"""Windows labeled by shares, against brute force; numbers divided between classes and scenes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from windhover.dataset.class_maps import UNKNOWN, class_counts
from windhover.params.patches import CoveragePatchesParams
from windhover.patches.coverage_labels import (
    CELL_PX,
    UNUSED,
    WindowLabels,
    divide_among_scenes,
    draw_windows,
    label_windows,
    wanted_by_label,
)


def brute_force(classes: np.ndarray, params: CoveragePatchesParams) -> np.ndarray:
    """Return the label of each window inside a class map, px by px."""
    height, width = classes.shape
    rows, cols = (max((length - 64) // 8 + 1, 0) for length in (height, width))
    labels = np.full((rows, cols), UNUSED)
    margin = (64 - params.label_px) // 2
    for i in range(rows):
        for j in range(cols):
            top, left = 8 * i + margin, 8 * j + margin
            square = classes[top : top + params.label_px, left : left + params.label_px]
            known = square[square != UNKNOWN]
            if len(known) < params.label_px**2 / 2:
                continue
            shares = [float((known == number).mean()) for number in (1, 2)]
            if max(shares) >= params.min_share:
                labels[i, j] = 1 + int(np.argmax(shares))
            elif sum(shares) <= params.max_share:
                labels[i, j] = 0
    return labels


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(40, 150), st.integers(40, 190)),
    label_px=st.sampled_from([8, 16, 24, 40, 64]),
    shares=st.tuples(st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([0.0, 0.1, 0.25])),
    seed=st.integers(0, 10_000),
)
def test_windows_are_labeled_as_by_brute_force(
    shape: tuple[int, int], label_px: int, shares: tuple[float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 1, 2, UNKNOWN], (1 + shape[0] // 13, 1 + shape[1] // 17))
    classes = np.kron(coarse, np.ones((13, 17)))[: shape[0], : shape[1]].astype(np.uint8)
    params = CoveragePatchesParams(label_px=label_px, min_share=shares[0], max_share=shares[1])
    labels = label_windows(class_counts(classes, CELL_PX, 2), params)
    np.testing.assert_array_equal(labels.label, brute_force(classes, params))


@given(
    available=st.lists(st.integers(0, 500), min_size=2, max_size=5),
    n_patches=st.integers(2, 1000),
    balance=st.booleans(),
)
def test_no_more_is_wanted_than_there_is(
    available: list[int], n_patches: int, balance: bool
) -> None:
    wanted = wanted_by_label(np.array(available), n_patches, balance=balance)
    assert (wanted <= available).all()
    assert wanted.sum() <= n_patches
    if balance:
        least = n_patches // max(sum(count > 0 for count in available), 1)
        assert all(wanted[k] >= min(least, count) for k, count in enumerate(available))


def test_as_they_come_keeps_the_proportions() -> None:
    wanted = wanted_by_label(np.array([900, 90, 10]), 100, balance=False)
    assert wanted.tolist() == [90, 9, 1]


@given(st.integers(0, 400), st.lists(st.integers(0, 90), min_size=1, max_size=9))
def test_scenes_give_as_equal_numbers_as_they_can(wanted: int, available: list[int]) -> None:
    given_ = divide_among_scenes(wanted, available)
    assert sum(given_) == min(wanted, sum(available))
    assert all(0 <= number <= most for number, most in zip(given_, available, strict=True))
    short = [number for number, most in zip(given_, available, strict=True) if number < most]
    if short:  # a scene with windows left gives no less than any other, but for rounding
        assert max(given_) - min(short) <= 1


def test_windows_are_drawn_once_and_of_their_label() -> None:
    label = np.random.default_rng(0).integers(-1, 3, (12, 17)).astype(np.int16)
    labels = WindowLabels(label, label >= 0)
    drawn = draw_windows(labels, {0: 9, 2: 5}, np.random.default_rng(1))
    assert {key: len(value) for key, value in drawn.items()} == {0: 9, 2: 5}
    for number, corners in drawn.items():
        assert len(np.unique(corners, axis=0)) == len(corners)
        assert (label[corners[:, 1] // 8, corners[:, 0] // 8] == number).all()
