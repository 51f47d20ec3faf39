"""What an epoch shows: ratios, balance, order by the seed, every picture when asked; and patches
held whole.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from windhover.errors import DataError, ParameterError
from windhover.training.samplers import PictureSet, Sampler, batches, object_table

LABELS = np.array([0] * 10 + [1] * 2 + [-1] * 100)
NOT_MINED = np.zeros(len(LABELS), bool)


def sampler(
    strategy: str = "under",
    ratio: float = 3.0,
    balance: bool = False,
    mined_fraction: float = 0.5,
    seed: int = 0,
) -> Sampler:
    return Sampler(strategy, ratio, balance, mined_fraction, seed)


def test_none_shows_every_picture_once() -> None:
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
    shares = [batches(np.arange(count), size, rank, world) for rank in range(world)]
    assert sorted(torch.cat([torch.cat(share) for share in shares]).tolist()) == list(range(count))
    assert len({len(share) for share in shares}) == 1
    assert all(len(batch) >= min(size, count) for batch in batches(np.arange(count), size))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pictures_come_back_as_they_went_in_and_more_can_be_added(dtype: str) -> None:
    images = np.arange(5 * 4 * 4 * 3).reshape(5, 4, 4, 3).astype(dtype) + np.array(100).astype(
        dtype
    )
    if dtype == "uint16":
        images = images + np.uint16(40000)
    pictures = PictureSet(images[:3], np.zeros((3, 5), np.float32))
    pictures.add(images[3:], np.ones((2, 5), np.float32))
    batch = pictures.take(torch.tensor([4, 0]))
    assert np.array_equal(
        batch.pixels.to(torch.float64).numpy(), images[[4, 0]].transpose(0, 3, 1, 2)
    )
    assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
    assert batch.objects[:, 0].tolist() == [1, 0]


def test_the_index_becomes_numbers_and_unknown_classes_are_refused() -> None:
    index = pd.DataFrame(
        {"class": ["ship", ""], "dx_px": [1.0, np.nan], "dy_px": 0.0, "w_px": 2.0, "h_px": 3.0}
    )
    assert object_table(index, ["plane", "ship"])[:, 0].tolist() == [1, -1]
    with pytest.raises(DataError, match="patches name class 'ship'"):
        object_table(index, ["plane"])


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ParameterError, match="sampler must be one of none, under, over"):
        sampler("both")
