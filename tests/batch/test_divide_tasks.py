"""Blocks divided into tasks: every block once, in order, none too long."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.batch.divide_tasks import SceneBlocks, SearchSpeed, divide_tasks

SIZES = st.lists(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=30), min_size=1, max_size=12)


def blocks_of(sizes: list[list[float]]) -> list[SceneBlocks]:
    """Return scenes of blocks of some Mpx, which lie side by side in one row of 100 px."""
    scenes = []
    for number, mpx in enumerate(sizes):
        left = np.arange(len(mpx)) * 10
        zero = np.zeros_like(left)
        bounds = np.stack([zero, left, zero + 100, left + 10], axis=1)
        scenes.append(SceneBlocks(number, np.array(mpx), np.array(mpx) / 4, bounds))
    return scenes


@given(SIZES, st.floats(0.1, 60.0), st.integers(1, 40))
def test_every_block_is_searched_once_and_in_order(
    sizes: list[list[float]], minutes: float, max_tasks: int
) -> None:
    speed = SearchSpeed(20.0, 0.5, "stated")
    rows = divide_tasks(blocks_of(sizes), speed, minutes_per_task=minutes, max_tasks=max_tasks)
    searched = [(row.scene, place) for row in rows for place in range(row.first, row.stop)]
    assert searched == [(number, place) for number, mpx in enumerate(sizes)
                        for place in range(len(mpx))]  # fmt: skip
    tasks = [row.task for row in rows]
    assert sorted(set(tasks)) == list(range(max(tasks) + 1))
    assert tasks == sorted(tasks)
    assert max(tasks) < max_tasks
    assert sum(row.mpx for row in rows) == pytest.approx(sum(map(sum, sizes)))


@given(SIZES, st.floats(0.1, 60.0))
def test_a_task_is_longer_than_wanted_only_by_a_block(
    sizes: list[list[float]], minutes: float
) -> None:
    speed = SearchSpeed(20.0, 0.5, "stated")
    scenes = blocks_of(sizes)
    rows = divide_tasks(scenes, speed, minutes_per_task=minutes, max_tasks=10_000)
    largest = speed.seconds(max(map(max, sizes))) / 60
    for task in {row.task for row in rows}:
        assert sum(row.minutes for row in rows if row.task == task) <= minutes + largest


def test_small_scenes_share_a_task_and_a_large_one_is_cut() -> None:
    speed = SearchSpeed(60.0, 0.0, "stated")  # a minute a Mpx
    scenes = blocks_of([[1.0], [1.0], [1.0] * 10, [2.0]])
    rows = divide_tasks(scenes, speed, minutes_per_task=5, max_tasks=1000)
    assert [(row.task, row.scene, row.first, row.stop) for row in rows] == [
        (0, 0, 0, 1),
        (0, 1, 0, 1),
        (1, 2, 0, 5),
        (2, 2, 5, 10),
        (3, 3, 0, 1),
    ]
    assert (rows[3].row_px, rows[3].col_px, rows[3].height_px, rows[3].width_px) == (0, 50, 100, 50)
    assert rows[3].km2 == pytest.approx(1.25)
