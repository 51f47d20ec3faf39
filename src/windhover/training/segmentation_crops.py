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
from windhover.dataset.class_maps import UNKNOWN, ClassMap, class_counts
from windhover.geometry.arrays import Floats, Ints
from windhover.imagery.scenes import Scene
from windhover.inference.scene_levels import scene_levels
from windhover.models.input_normalization import Normalizer, SceneLogNormalizer
from windhover.patches.patch_summary import PatchSummary

CELL_PX = 32  # side of the cells by which crops find a class
STRIP_CELLS = 32  # rows of cells of a class map that are counted at once
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
        self._scenes: list[tuple[Scene, ClassMap]] = []
        self._levels: list[NDArray[np.float32] | None] = []
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
            of_scene, places = _count_cells(class_map, self._n_classes)
            counts.append(of_scene)
            number = np.full((len(places), 1), len(self._scenes))
            cells.append(np.concatenate([number, places], axis=1))
            self._scenes.append((scene, class_map))
            levels = None
            if isinstance(normalizer, SceneLogNormalizer):
                levels = scene_levels(scene.read, scene.shape_hw, normalizer)
            self._levels.append(None if levels is None else levels[0].numpy())
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
        height, width = self._scenes[scene][0].shape_hw
        top = _inside(int(row * CELL_PX - shift[0]), height, self.side_px)
        left = _inside(int(col * CELL_PX - shift[1]), width, self.side_px)
        return self.read(int(scene), top, left)

    def read(self, scene: int, top: int, left: int) -> Crop:
        """Return the crop of a scene at a place, px at the training GSD."""
        opened, class_map = self._scenes[scene]
        pixels = opened.read(top, left, self.side_px, self.side_px)
        classes = class_map.read(top, left, self.side_px, self.side_px)
        image = pixels.array.transpose(1, 2, 0).copy()
        image[~pixels.valid] = self._fill.astype(image.dtype)
        classes[~pixels.valid] = UNKNOWN
        return Crop(image, classes, self._levels[scene])

    def grid(self, most: int) -> list[Crop]:
        """Return adjoining crops with known px, at most so many, evenly chosen."""
        places = []
        for number, (scene, _) in enumerate(self._scenes):
            rows, cols = (_starts(length, self.side_px) for length in scene.shape_hw)
            places += [(number, row, col) for row in rows for col in cols]
        chosen = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
        crops = [self.read(*places[index]) for index in chosen]
        return [crop for crop in crops if (crop.classes <= self._n_classes).any()]

    def close(self) -> None:
        """Close the files."""
        self._open.close()


def _starts(length: int, side_px: int) -> list[int]:
    """Return the first px of adjoining crops along an axis, the last one inside."""
    if length <= side_px:
        return [0]
    return [*range(0, length - side_px, side_px), length - side_px]


def _inside(start: int, length: int, side_px: int) -> int:
    """Return the first px of a crop moved into a scene; one that is larger holds all of it."""
    low, high = sorted((0, length - side_px))
    return min(max(start, low), high)


def _count_cells(class_map: ClassMap, n_classes: int) -> tuple[Ints, Ints]:
    """Return the px of each class in each cell, (K + 1, N), and the cells' places, (N, 2)."""
    height, width = class_map.shape_hw
    n_cols = -(-width // CELL_PX)
    counts = []
    places = []
    for row in range(0, height, STRIP_CELLS * CELL_PX):
        n_rows = min(STRIP_CELLS, -(-(height - row) // CELL_PX))
        strip = class_map.read(row, 0, n_rows * CELL_PX, n_cols * CELL_PX)
        of_strip = class_counts(strip, CELL_PX, n_classes).astype(np.int64)
        counts.append(of_strip.reshape(n_classes + 1, -1))
        rows, cols = np.mgrid[:n_rows, :n_cols]
        places.append(np.stack([rows.ravel() + row // CELL_PX, cols.ravel()], axis=1))
    return np.concatenate(counts, axis=1), np.concatenate(places)


def class_shares(crops: Sequence[Crop], n_classes: int) -> Floats:
    """Return the share of each class among the known px of crops, (N, K)."""
    shares = np.zeros((len(crops), n_classes))
    for number, crop in enumerate(crops):
        counts = np.bincount(crop.classes.ravel(), minlength=256)[: n_classes + 1]
        shares[number] = counts[1:] / max(counts.sum(), 1)
    return shares
