"""Places are divided whole, near the wanted shares, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from windhover.dataset.splits import SPLITS, assign_folds, assign_splits, join_places
from windhover.errors import DataError

places = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=4), st.integers(0, 300), min_size=3, max_size=25
)


@given(places, st.integers(0, 5))
@example(
    {"a": 42, "b": 255, "d": 261, "e": 54, "c": 103, "f": 213, "g": 218, "aa": 110, "ab": 138}, 0
)
@settings(max_examples=30, deadline=None)
def test_every_place_has_one_split_and_no_split_is_empty(
    objects: dict[str, int], seed: int
) -> None:
    splits = assign_splits(objects, [0.6, 0.15, 0.25], seed)
    assert set(splits) == set(objects)
    assert set(splits.values()) == set(SPLITS)
    assert splits == assign_splits(dict(reversed(objects.items())), [0.6, 0.15, 0.25], seed)


def test_shares_come_near_the_wanted_ones() -> None:
    rng = np.random.default_rng(0)
    objects = {f"p{number}": int(count) for number, count in enumerate(rng.integers(1, 60, 40))}
    splits = assign_splits(objects, [0.6, 0.15, 0.25], 0)
    total = sum(objects.values())
    for name, share in zip(SPLITS, (0.6, 0.15, 0.25), strict=True):
        held = sum(count for place, count in objects.items() if splits[place] == name)
        assert held / total == pytest.approx(share, abs=0.02)


def test_another_seed_divides_otherwise() -> None:
    objects = {f"p{number}": 10 for number in range(20)}
    assert assign_splits(objects, [0.6, 0.2, 0.2], 0) != assign_splits(objects, [0.6, 0.2, 0.2], 1)


def test_fixed_places_stay_and_the_rest_makes_up() -> None:
    objects = dict.fromkeys("abcdefghij", 10)
    splits = assign_splits(objects, [0.5, 0.2, 0.3], 3, fixed=dict.fromkeys("abc", "test"))
    assert [splits[place] for place in "abc"] == ["test"] * 3
    assert sum(split == "train" for split in splits.values()) == 5


def test_too_few_places_end_in_one_sentence() -> None:
    with pytest.raises(DataError, match="2 places cannot be divided between train, val, test"):
        assign_splits({"a": 1, "b": 2}, [0.6, 0.2, 0.2], 0)
    assert set(assign_splits({"a": 1, "b": 2}, [0.5, 0, 0.5], 0).values()) == {"train", "test"}


@given(places, st.integers(3, 5), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_folds_test_every_place_once(objects: dict[str, int], folds: int, seed: int) -> None:
    if len(objects) < folds:
        with pytest.raises(DataError, match="cannot make"):
            assign_folds(objects, folds, 0, seed=seed)
        return
    tested = [
        place
        for fold in range(folds)
        for place, split in assign_folds(objects, folds, fold, seed=seed).items()
        if split == "test"
    ]
    assert sorted(tested) == sorted(objects)
    assert set(assign_folds(objects, folds, 0, seed=seed).values()) == set(SPLITS)


def test_places_that_touch_or_overlap_are_one() -> None:
    a, b, c, d = (shapely.box(x, 0, x + 1, 1) for x in (0, 1, 5, 5.5))
    names, pairs = join_places(["w", "x", "y", "z", "q"], [a, b, c, d, None])
    assert names == ["w", "w", "y", "y", "q"]
    assert pairs == [("w", "x"), ("y", "z")]


def test_joining_goes_through_a_middle_place() -> None:
    chain = [shapely.box(x, 0, x + 1.5, 1) for x in (4, 3, 2, 1)]
    names, pairs = join_places(list("dcba"), chain)
    assert set(names) == {"a"}
    assert pairs == [("a", "b"), ("a", "c"), ("a", "d")]


def test_the_shares_count_relative_to_what_each_split_wants() -> None:
    """Four objects too many for training cost less than four too many for a small split."""
    objects = {"a": 7800, "b": 800, "c": 800, "d": 600}
    for seed in range(5):
        splits = assign_splits(objects, [0.8, 0.1, 0.1], seed)
        assert {place for place in objects if splits[place] == "train"} == {"a", "d"}


def test_folds_begin_with_the_largest_places() -> None:
    objects = {"a": 9, "b": 5, "c": 4, "d": 3, "e": 3, "f": 3}
    for seed in range(5):
        held = []
        for fold in range(3):
            splits = assign_folds(objects, 3, fold, seed=seed)
            held.append(sum(objects[place] for place in objects if splits[place] == "test"))
        assert sorted(held) == [8, 9, 10]


def test_a_fold_without_val_learns_from_all_but_the_tested_places() -> None:
    objects = {"a": 9, "b": 8, "c": 7, "d": 3}
    for fold in range(3):
        with_val = assign_folds(objects, 3, fold, seed=0)
        splits = assign_folds(objects, 3, fold, seed=0, with_val=False)
        assert "val" not in splits.values()
        for place, split in with_val.items():
            assert (splits[place] == "test") == (split == "test")
