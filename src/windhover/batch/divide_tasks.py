"""Blocks of many scenes divided into tasks of about equal time; computes nothing else.

Small scenes share a task; a large scene is cut into several, along its own blocks. All blocks of
all scenes, in their order, are one sequence, and each task is a stretch of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RAISE = 1.05  # of the time of a task, until no more tasks are needed than allowed


class TaskRow(NamedTuple):
    """Blocks of one scene that one task searches.

    Attributes:
        task: number of the task, from 0.
        scene: number of the scene in the plan.
        first: place of the first block among those of all passes of the scene.
        stop: one past the last.
        mpx: px of the blocks, in millions.
        km2: ground of the blocks; None where the GSD is unknown.
        minutes: that one worker takes, estimated.
        row_px: first row of the raster that the blocks cover, as delivered.
        col_px: first column.
        height_px: rows.
        width_px: columns.
    """

    task: int
    scene: int
    first: int
    stop: int
    mpx: float
    km2: float | None
    minutes: float
    row_px: int
    col_px: int
    height_px: int
    width_px: int


@dataclass(frozen=True)
class SceneBlocks:
    """What dividing needs to know of a scene.

    Attributes:
        scene: its number in the plan.
        mpx: (N,) px of each block of all passes, in millions.
        km2: (N,) ground of each block, 0 in all passes but the first; None where the GSD is
            unknown.
        bounds: (N, 4) top, left, bottom and right of each block, px of the raster.
    """

    scene: int
    mpx: NDArray[np.float64]
    km2: NDArray[np.float64] | None
    bounds: NDArray[np.int64]

    def row(self, task: int, stretch: tuple[int, int], minutes: float) -> TaskRow:
        """Return the row of a task that searches a stretch of the blocks."""
        first, stop = stretch
        top, left = self.bounds[first:stop, :2].min(axis=0).tolist()
        bottom, right = self.bounds[first:stop, 2:].max(axis=0).tolist()
        return TaskRow(
            task=task,
            scene=self.scene,
            first=first,
            stop=stop,
            mpx=float(self.mpx[first:stop].sum()),
            km2=None if self.km2 is None else float(self.km2[first:stop].sum()),
            minutes=minutes,
            row_px=top,
            col_px=left,
            height_px=bottom - top,
            width_px=right - left,
        )


@dataclass(frozen=True)
class SearchSpeed:
    """How long a worker takes.

    Attributes:
        seconds_per_mpx: of searching.
        seconds_per_scene: of opening a raster.
        source: how the numbers are known, in words.
    """

    seconds_per_mpx: float
    seconds_per_scene: float
    source: str

    @property
    def mpx_per_second(self) -> float:
        """Rate of the search alone."""
        return 1 / self.seconds_per_mpx

    def seconds(self, mpx: float) -> float:
        """Return the time of opening a raster and searching a part of it."""
        return self.seconds_per_scene + mpx * self.seconds_per_mpx


def divide_tasks(
    scenes: Sequence[SceneBlocks],
    speed: SearchSpeed,
    *,
    minutes_per_task: float,
    max_tasks: int,
) -> list[TaskRow]:
    """Return the tasks that together search every block of every scene once.

    Args:
        scenes: with at least one block each, in the order of the plan.
        speed: of a worker.
        minutes_per_task: wanted time of a task; more where there would be too many tasks.
        max_tasks: most tasks, such as the longest array that a scheduler takes.
    """
    seconds = minutes_per_task * 60
    while True:
        rows = _divide(scenes, speed, seconds)
        n_tasks = rows[-1].task + 1 if rows else 0
        if n_tasks <= max_tasks:
            return rows
        seconds *= max(n_tasks / max_tasks, RAISE)


def _divide(
    scenes: Sequence[SceneBlocks], speed: SearchSpeed, seconds_per_task: float
) -> list[TaskRow]:
    """Return tasks of at most about `seconds_per_task`, or of one block."""
    rows: list[TaskRow] = []
    task = 0
    filled_s = 0.0
    for scene in scenes:
        for first, stop in _cut(scene, speed, seconds_per_task):
            mpx = float(scene.mpx[first:stop].sum())
            needed_s = speed.seconds(mpx)
            if filled_s and filled_s + needed_s > seconds_per_task:
                task += 1
                filled_s = 0.0
            filled_s += needed_s
            rows.append(scene.row(task, (first, stop), needed_s / 60))
    return rows


def _cut(scene: SceneBlocks, speed: SearchSpeed, seconds_per_task: float) -> list[tuple[int, int]]:
    """Return the stretches of a scene's blocks, of about equal px, that fit into a task each."""
    total = float(scene.mpx.sum())
    n_blocks = len(scene.mpx)
    searching_s = max(seconds_per_task - speed.seconds_per_scene, 1e-9)
    n_pieces = min(math.ceil(total * speed.seconds_per_mpx / searching_s), n_blocks)
    if n_pieces <= 1 or speed.seconds(total) <= seconds_per_task:
        return [(0, n_blocks)]
    if n_pieces == n_blocks:
        return [(place, place + 1) for place in range(n_blocks)]
    done = np.cumsum(scene.mpx)
    wanted = total * np.arange(1, n_pieces) / n_pieces
    # a block goes to the piece that holds its middle
    cuts = np.searchsorted(done - scene.mpx / 2, wanted)
    edges = sorted({0, *cuts.tolist(), n_blocks})
    return list(itertools.pairwise(edges))
