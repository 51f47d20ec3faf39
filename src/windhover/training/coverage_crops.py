"""Large patches of classes without boxes: each window labeled by the shares in its middle.

A labeled window becomes a row of the table of objects, with its center and no size, so that turns
and borders treat it as they treat an object; one whose class is not known becomes an ignored row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import ClassMap, class_counts
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX, WINDOW_PX
from windhover.params.train import LargePatchesParams
from windhover.patches.coverage_labels import CELL_PX, UNUSED, divide_among_scenes, label_windows
from windhover.patches.patch_summary import ShareRule
from windhover.training.large_patches import LargePatches, read_square
from windhover.training.object_table import (
    CENTER_XY,
    CLASS,
    IGNORED,
    N_COLUMNS,
    SIZE_WH,
    Table,
    pad_tables,
)

TRIES = 8  # places drawn for one crop that is to hold a class
IGNORED_SIDE_PX = 1.0  # of the box around the center of a window that is not used


def cut_coverage_crops(
    catalog: Catalog,
    params: LargePatchesParams,
    rule: ShareRule,
    *,
    seed: int,
    padding_value: Sequence[float] | None = None,
    progress: Callable[[float], None] | None = None,
) -> LargePatches:
    """Cut large patches of the scenes with class maps.

    Args:
        catalog: the training split.
        params: how many, how large, at which GSDs.
        rule: by which shares a window shows a class.
        seed: decides every place.
        padding_value: of each band beyond a scene's border; None mirrors it.
        progress: called with the number of large patches just cut.
    """
    rows = [row for row in catalog if row.class_map is not None]
    scales = params.scales
    px = [max(round(row.area_m2 / catalog.gsd_m**2), 1) for row in rows]
    counts = divide_among_scenes(params.count, px)
    images: list[NDArray[np.generic]] = []
    tables: list[Table] = []
    for row, count in zip(rows, counts, strict=True):
        random = np.random.default_rng([seed, *row.scene.encode()])
        of_scale = np.bincount(random.integers(0, len(scales), count), minlength=len(scales))
        for image, table in _cut_scene(
            row, catalog, params, rule, counts=of_scale, random=random, padding_value=padding_value
        ):
            images.append(image)
            tables.append(table)
            if progress is not None:
                progress(1)
    return LargePatches(np.stack(images), pad_tables(tables), n_chosen=0, n_pasted=0)


def _cut_scene(
    row: SceneRow,
    catalog: Catalog,
    params: LargePatchesParams,
    rule: ShareRule,
    *,
    counts: NDArray[np.int64],
    random: np.random.Generator,
    padding_value: Sequence[float] | None,
) -> Iterator[tuple[NDArray[np.generic], Table]]:
    """Yield the large patches of one scene with the tables of their windows, scale by scale."""
    with open_catalog_scene(row, catalog.gsd_m, catalog.bands) as scene:
        scene.preload()
        for scale, count in zip(params.scales, counts.tolist(), strict=True):
            with (
                scene.at_gsd(catalog.gsd_m * scale) as seen,
                open_class_map(row, seen) as class_map,
            ):
                drawer = _CropDrawer(
                    class_map,
                    rule,
                    random,
                    n_classes=len(catalog.classes),
                    side_px=params.side_px,
                )
                for number in range(count):
                    crop = drawer.draw(wants_class=number < params.object_fraction * count)
                    image, _ = read_square(
                        seen,
                        left=crop.left,
                        top=crop.top,
                        side_px=params.side_px,
                        padding_value=padding_value,
                    )
                    yield image, crop.table


class _Crop(NamedTuple):
    """The place of a crop, and the table of its windows."""

    left: int
    top: int
    table: Table


@dataclass(frozen=True)
class _CropDrawer:
    """Draws places of crops on one scene.

    Attributes:
        class_map: of the scene.
        rule: by which shares a window shows a class.
        random: of the draws.
        n_classes: of the catalog.
        side_px: of the crops.
    """

    class_map: ClassMap
    rule: ShareRule
    random: np.random.Generator
    n_classes: int
    side_px: int

    def draw(self, *, wants_class: bool) -> _Crop:
        """Draw a place, again while it lacks a class that is wanted, or all knowledge."""
        crop = self._draw_once()
        for _ in range(TRIES - 1):
            is_class = crop.table[:, CLASS] >= 0
            is_enough = is_class.any() if wants_class else len(crop.table) < self._n_windows
            if is_enough or is_class.any():
                break
            crop = self._draw_once()
        return crop

    @property
    def _n_windows(self) -> int:
        """Windows of a crop; where the table has as many rows, none is background."""
        return ((self.side_px - WINDOW_PX) // STRIDE_PX + 1) ** 2

    def _draw_once(self) -> _Crop:
        height, width = self.class_map.shape_hw
        left, top = (
            int(self.random.integers(-HALF_WINDOW_PX, max(last, 0) + 1))
            for last in (
                width + HALF_WINDOW_PX - self.side_px,
                height + HALF_WINDOW_PX - self.side_px,
            )
        )
        classes = self.class_map.read(top, left, self.side_px, self.side_px)
        counts = class_counts(classes, CELL_PX, self.n_classes)
        labels = label_windows(counts, self.rule).label
        return _Crop(left, top, table_of_labels(labels, self.side_px))


def table_of_labels(labels: NDArray[np.int16], side_px: int) -> Table:
    """Return the windows of a large patch as rows of a table of objects; background has none.

    Args:
        labels: (n, n) of the windows at the stride of a search.
        side_px: of the large patch.
    """
    rows, cols = np.nonzero(labels != 0)
    of_windows = labels[rows, cols]
    table = np.full((len(rows), N_COLUMNS), np.nan, np.float32)
    centers = np.stack([cols, rows], axis=1) * STRIDE_PX + HALF_WINDOW_PX - side_px / 2
    table[:, CENTER_XY] = centers
    is_unused = of_windows == UNUSED
    table[:, CLASS] = np.where(is_unused, IGNORED, of_windows - 1)
    table[is_unused, SIZE_WH] = IGNORED_SIDE_PX
    return table
