"""Crops of scenes with their class maps, for a network that maps every pixel.

Drawn anew for each epoch, by a seed. Half of them (`class_fraction`) hold a class that is drawn
first, each as often as the others, so that rare classes are seen; the rest are anywhere. Where
there is no data, pixels hold the mean of the training pixels and the class is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import UNKNOWN, ClassMap, count_cells
from windhover.geometry.arrays import Floats
from windhover.imagery.scenes import Scene
from windhover.inference.scene_levels import scene_levels
from windhover.models.input_normalization import Normalizer, SceneLogNormalizer
from windhover.patches.patch_summary import PatchSummary

CELL_PX = 32  # side of the cells by which crops find a class
PRELOADED_BYTES = 2 << 30  # of scenes that are held in memory; further ones are read anew


class Crop(NamedTuple):
    """A crop and its classes.

    Attributes:
        image: (S, S, C) pixels as read.
        classes: (S, S) class map.
        levels: (C,) means of the logarithms in the scene; None where no network asks for them.
    """

    image: NDArray[Any]
    classes: NDArray[np.uint8]
    levels: NDArray[np.float32] | None = None


class _OpenScene(NamedTuple):
    """A scene, its class map, and the levels (C,) of it where the network asks for them."""

    scene: Scene
    class_map: ClassMap
    levels: NDArray[np.float32] | None


class CropSource:
    """The labeled scenes of a split, from which crops are drawn."""

    def __init__(
        self,
        catalog: Catalog,
        summary: PatchSummary,
        *,
        side_px: int,
        normalizer: Normalizer | None = None,
    ) -> None:
        """Open scenes and class maps, and count where each class is.

        Args:
            catalog: of one split.
            summary: of the patches: bands, GSD, classes and means.
            side_px: of the crops.
            normalizer: of the network, which may ask for the levels of scenes.
        """
        self.side_px = side_px
        self._n_classes = len(summary.classes)
        self._open = ExitStack()
        self._scenes: list[_OpenScene] = []
        counts = [np.zeros((self._n_classes + 1, 0), np.int64)]
        cells = [np.zeros((0, 3), np.int64)]
        n_bytes = 0
        for row in catalog:
            if row.class_map is None:
                continue
            scene = open_catalog_scene(row, summary.gsd_m, list(summary.bands))
            self._open.enter_context(scene)
            n_bytes += row.width_px * row.height_px * scene.n_bands * scene.dtype.itemsize
            if n_bytes <= PRELOADED_BYTES:
                scene.preload()
            class_map = self._open.enter_context(open_class_map(row, scene))
            of_scene, places = count_cells(class_map, CELL_PX, self._n_classes)
            counts.append(of_scene)
            number = np.full((len(places), 1), len(self._scenes))
            cells.append(np.concatenate([number, places], axis=1))
            self._scenes.append(_OpenScene(scene, class_map, _levels_of(scene, normalizer)))
        self._cells = np.concatenate(cells)  # (N, 3) scene, row and column of each cell
        self._ends = np.cumsum(np.concatenate(counts, axis=1), axis=1)  # (K + 1, N)
        self._fill = np.asarray(summary.mean)

    def __len__(self) -> int:
        return len(self._scenes)

    @property
    def px_by_class(self) -> tuple[int, ...]:
        """Known px of background, then of each class."""
        if not self._ends.shape[1]:
            return (0,) * (self._n_classes + 1)
        return tuple(int(end) for end in self._ends[:, -1])

    def draw(self, rng: np.random.Generator, class_fraction: float) -> Crop:
        """Return a crop at random.

        Args:
            rng: random numbers.
            class_fraction: probability that a class is drawn first, which the crop then holds.
        """
        present = [k for k in range(1, self._n_classes + 1) if self._ends[k, -1] > 0]
        ends = self._ends.sum(axis=0)
        if present and rng.random() < class_fraction:
            ends = self._ends[rng.choice(present)]
        cell = int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))
        scene, row, col = self._cells[min(cell, len(self._cells) - 1)]
        shift = rng.integers(0, self.side_px - CELL_PX, 2, endpoint=True)
        height, width = self._scenes[scene].scene.shape_hw
        top = _inside(int(row * CELL_PX - shift[0]), height, self.side_px)
        left = _inside(int(col * CELL_PX - shift[1]), width, self.side_px)
        return self.read(int(scene), top, left)

    def read(self, scene: int, top: int, left: int) -> Crop:
        """Return the crop of a scene at a place, px at the training GSD."""
        opened, class_map, levels = self._scenes[scene]
        pixels = opened.read(top, left, self.side_px, self.side_px)
        classes = class_map.read(top, left, self.side_px, self.side_px)
        image = pixels.array.transpose(1, 2, 0).copy()
        image[~pixels.valid] = self._fill.astype(image.dtype)
        classes[~pixels.valid] = UNKNOWN
        return Crop(image, classes, levels)

    def grid(self, most: int) -> list[Crop]:
        """Return adjoining crops with known px, at most so many, evenly chosen."""
        places = []
        for number, opened in enumerate(self._scenes):
            rows, cols = (_starts(length, self.side_px) for length in opened.scene.shape_hw)
            places += [(number, row, col) for row in rows for col in cols]
        chosen = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
        crops = [self.read(*places[index]) for index in chosen]
        return [crop for crop in crops if (crop.classes <= self._n_classes).any()]

    def close(self) -> None:
        """Close the files."""
        self._open.close()


def _levels_of(scene: Scene, normalizer: Normalizer | None) -> NDArray[np.float32] | None:
    """Return the levels (C,) of a scene; None where the network does not ask for them."""
    if not isinstance(normalizer, SceneLogNormalizer):
        return None
    levels = scene_levels(scene.read, scene.shape_hw, normalizer)
    return None if levels is None else levels[0].numpy()


def _starts(length: int, side_px: int) -> list[int]:
    """Return the first px of adjoining crops along an axis, the last one inside."""
    if length <= side_px:
        return [0]
    return [*range(0, length - side_px, side_px), length - side_px]


def _inside(start: int, length: int, side_px: int) -> int:
    """Return the first px of a crop moved into a scene; one that is larger holds all of it."""
    low, high = sorted((0, length - side_px))
    return min(max(start, low), high)


def class_shares(crops: Sequence[Crop], n_classes: int) -> Floats:
    """Return the share of each class among the known px of crops, (N, K)."""
    shares = np.zeros((len(crops), n_classes))
    for number, crop in enumerate(crops):
        counts = np.bincount(crop.classes.ravel(), minlength=256)[: n_classes + 1]
        shares[number] = counts[1:] / max(counts.sum(), 1)
    return shares
