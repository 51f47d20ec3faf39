"""Writes the planned scenes of a built-in world in processes, with the table of their places."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar

import cv2

from windhover.files import atomic_folder
from windhover.progress import track
from windhover.simulate.places import Place


class PlannedScene(Protocol):
    """What decides the pixels of one scene."""

    @property
    def name(self) -> str:
        """Of the scene and its file."""

    @property
    def place(self) -> Place:
        """Its place, with its split."""


Spec = TypeVar("Spec", bound=PlannedScene)


def write_scenes(
    specs: Sequence[Spec],
    write_scene: Callable[[Spec, Path], None],
    folder: str | Path,
    *,
    truth_folder: str,
    workers: int | None = None,
) -> None:
    """Write every scene of a world with its truth, and `places.csv`.

    Args:
        specs: of the scenes.
        write_scene: writes the files of one scene into the folder; a function of a module, since
            it is called in other processes.
        folder: to write to; replaced as a whole.
        truth_folder: in it, made for labels or class rasters.
        workers: number of processes, which changes nothing in the files; None for all CPUs.
    """
    workers = min(len(specs), workers or os.cpu_count() or 1)
    with (
        atomic_folder(folder) as target,
        ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool,
    ):
        (target / truth_folder).mkdir()
        run = map if workers == 1 else pool.map
        for _ in track(run(write_scene, specs, repeat(target)), "drawing", len(specs)):
            pass
        lines = [f"{spec.name},{spec.place.name},{spec.place.split}" for spec in specs]
        text = "\n".join(["scene,place,split", *lines]) + "\n"
        (target / "places.csv").write_text(text, encoding="utf-8")
