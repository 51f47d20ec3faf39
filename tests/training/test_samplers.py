"""What an epoch shows: ratios, balance, order by the seed, every patch when asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import ParameterError
from windhover.training.samplers import Sampler, make_batches

LABELS = np.array([0] * 10 + [1] * 2 + [-1] * 100)
NOT_MINED = np.zeros(len(LABELS), bool)


def sampler(
    strategy: str = "under",
    ratio: float = 3.0,
    balance: bool = False,
    mined_fraction: float = 0.5,
    seed: int = 0,
) -> Sampler:
    return Sampler(
        strategy=strategy,
        negatives_per_positive=ratio,
        balance_classes=balance,
        mined_fraction=mined_fraction,
        seed=seed,
    )


def test_none_shows_every_patch_once() -> None:
    rows = sampler("none").epoch(LABELS, NOT_MINED, 0)
    assert sorted(rows) == list(range(len(LABELS)))


def test_under_keeps_all_positives_and_the_ratio() -> None:
    rows = sampler("under").epoch(LABELS, NOT_MINED, 0)
    assert (LABELS[rows] >= 0).sum() == 12
    assert (LABELS[rows] < 0).sum() == 36
    assert len(set(rows)) == len(rows)


def test_over_repeats_positives_until_the_ratio_is_met() -> None:
    rows = sampler("over", ratio=2.0).epoch(LABELS, NOT_MINED, 0)
    assert (LABELS[rows] < 0).sum() == 100
    assert (LABELS[rows] >= 0).sum() == 50
    counts = np.bincount(rows, minlength=len(LABELS))[:12]
    assert counts.max() - counts.min() <= 1


def test_rare_classes_are_shown_as_often_when_balanced() -> None:
    shown = np.bincount(LABELS[sampler("under", balance=True).epoch(LABELS, NOT_MINED, 0)] + 1)
    assert shown[1] == shown[2] == 6
    plain = np.bincount(LABELS[sampler("under").epoch(LABELS, NOT_MINED, 0)] + 1)
    assert plain[1] == 10


def test_mined_negatives_are_shown_up_to_their_share() -> None:
    mined = NOT_MINED.copy()
    mined[-30:] = True
    rows = sampler(mined_fraction=0.5).epoch(LABELS, mined, 0)
    assert mined[rows].sum() == 18
    mined[:] = False
    mined[-5:] = True
    assert mined[sampler(mined_fraction=0.5).epoch(LABELS, mined, 0)].sum() == 5


def test_an_epoch_is_its_seeds_and_its_own() -> None:
    first = sampler(seed=1).epoch(LABELS, NOT_MINED, 4)
    assert np.array_equal(first, sampler(seed=1).epoch(LABELS, NOT_MINED, 4))
    assert not np.array_equal(first, sampler(seed=1).epoch(LABELS, NOT_MINED, 5))
    assert not np.array_equal(first, sampler(seed=2).epoch(LABELS, NOT_MINED, 4))


@given(st.integers(1, 300), st.integers(2, 64), st.integers(1, 4))
def test_batches_hold_every_row_once_over_all_processes(count: int, size: int, world: int) -> None:
    shares = [
        make_batches(np.arange(count), size, rank=rank, world_size=world) for rank in range(world)
    ]
    assert sorted(torch.cat([torch.cat(share) for share in shares]).tolist()) == list(range(count))
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) >= min(size, count) for batch in make_batches(np.arange(count), size))


def test_an_unknown_strategy_is_an_error() -> None:
    with pytest.raises(ParameterError, match="sampler must be one of none, under, over"):
        sampler("both")
