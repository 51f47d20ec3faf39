"""Large patches of classes without boxes: each window labeled by the shares in its middle.

A labeled window becomes a row of the table of objects, with its center and no size, so that turns
and borders treat it as they treat an object; one whose class is not known becomes an ignored row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene, open_class_map
from windhover.dataset.class_maps import ClassMap, class_counts
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX
from windhover.imagery.scenes import Scene
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
                for number in range(count):
                    wants_class = number < params.object_fraction * count
                    left, top, table = _draw_crop(
                        seen, class_map, rule, len(catalog.classes), params.side_px,
                        wants_class=wants_class, random=random,
                    )  # fmt: skip
                    image, _ = read_square(
                        seen,
                        left=left,
                        top=top,
                        side_px=params.side_px,
                        padding_value=padding_value,
                    )
                    yield image, table


def _draw_crop(
    scene: Scene,
    class_map: ClassMap,
    rule: ShareRule,
    n_classes: int,
    side_px: int,
    *,
    wants_class: bool,
    random: np.random.Generator,
) -> tuple[int, int, Table]:
    """Draw the place of a crop, again while it lacks a class that is wanted, or all knowledge."""
    height, width = scene.shape_hw
    left = top = 0
    table = np.zeros((0, N_COLUMNS), np.float32)
    for _ in range(TRIES):
        left = int(random.integers(-HALF_WINDOW_PX, max(width + HALF_WINDOW_PX - side_px, 0) + 1))
        top = int(random.integers(-HALF_WINDOW_PX, max(height + HALF_WINDOW_PX - side_px, 0) + 1))
        classes = class_map.read(top, left, side_px, side_px)
        labels = label_windows(class_counts(classes, CELL_PX, n_classes), rule).label
        table = table_of_labels(labels, side_px)
        is_enough = (labels > 0).any() if wants_class else (labels >= 0).any()
        if is_enough:
            break
    return left, top, table


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
