"""Training crops: pictures larger than a window, each of many windows, cut from the training scenes
at several GSDs.

An unpadded network shares what neighbouring windows have in common, so a crop of 128 px teaches 81
windows for the time of five patches. Everything is drawn from a seed. Reads one scene at a time and
searches none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.dataset.ignore_regions import silent_boxes, silent_ground
from windhover.geometry.lattice import read_mirrored
from windhover.geometry.windows import STRIDE_PX
from windhover.imagery.scenes import Scene
from windhover.params.train import LargePatchesParams
from windhover.training.copy_paste import Piece, crowd, pieces_of
from windhover.training.losses import IGNORED, PAD

MARGIN_PX = 32.0  # an object this far outside a crop is still the nearest of none of its windows


class Crops(NamedTuple):
    """Training crops: pixels (N, S, S, C) as read, and objects (N, M, 5).

    A row of objects is class index, `IGNORED` or `PAD`, then centre relative to the crop's own and
    size in px. Of the `chosen` crops that were to be crowded, `crowded` had room for a copy.
    """

    images: NDArray[Any]
    objects: NDArray[np.float32]
    chosen: int
    crowded: int


def cut_crops(
    catalog: Catalog,
    classes: list[str],
    params: LargePatchesParams,
    seed: int,
    on_done: Callable[[float], None] = lambda _: None,
    margin_px: float = 0.0,
) -> Crops:
    """Cut crops of labelled scenes.

    Args:
        catalog: the training split.
        classes: names in the order of their index.
        params: how many, where, at which GSDs.
        seed: decides every place.
        on_done: called with the number of crops just cut.
        margin_px: an object this far inside unknown ground would still matter to a window
            beside it.
    """
    rows = [row for row in catalog if row.labeled]
    jobs = _divide(rows, catalog, params)
    made = []
    for row in rows:
        for crop in _crops_of(row, catalog, classes, params, seed, jobs[row.scene], margin_px):
            made.append(crop)
            on_done(1)
    images, tables = (
        np.stack([crop.image for crop in made]),
        pad_tables([crop.objects for crop in made]),
    )
    return Crops(
        images, tables, sum(crop.chosen for crop in made), sum(crop.crowded for crop in made)
    )


class _Crop(NamedTuple):
    image: NDArray[Any]  # (S, S, C)
    objects: NDArray[np.float32]  # (M, 5)
    chosen: bool  # to be crowded
    crowded: bool


def _crops_of(
    row: Any,
    catalog: Catalog,
    classes: list[str],
    params: LargePatchesParams,
    seed: int,
    counts: list[tuple[int, int]],
    margin_px: float,
) -> Iterator[_Crop]:
    """Yield the crops of a scene, for each scale so many around objects and so many anywhere."""
    random = np.random.default_rng([seed, *row.scene.encode()])
    crowding = np.random.default_rng(
        [seed, 1, *row.scene.encode()]
    )  # its own: crops lie where they lay without
    labels, areas = catalog.labels_of(row.scene), catalog.areas[catalog.areas["scene"] == row.scene]
    with open_catalog_scene(row, catalog.gsd_m, catalog.bands) as scene:
        scene.preload()
        for scale, (n_around, n_anywhere) in zip(params.scales, counts, strict=True):
            with scene.seen_at(catalog.gsd_m * scale) as seen:
                objects = scene_objects(labels, classes, seen)
                silent = silent_ground(areas, seen.ratio_xy, seen.shape_hw, margin_px)
                pieces = (
                    pieces_of(seen.read, seen.shape_hw, objects)
                    if params.copy_paste_prob and n_around
                    else []
                )
                corners = _corners(
                    seen.shape_hw, objects, n_around, n_anywhere, params.side_px, random
                )
                for number, (left, top) in enumerate(corners):
                    chosen = number < n_around and crowding.uniform() < params.copy_paste_prob
                    crowd_with = (pieces, crowding) if chosen else None
                    yield _crop(seen, left, top, params.side_px, objects, silent, crowd_with)


def _crop(
    scene: Scene,
    left: int,
    top: int,
    side_px: int,
    objects: NDArray[np.float32],
    silent: BaseGeometry,
    crowd_with: tuple[list[Piece], np.random.Generator] | None,
) -> _Crop:
    """Cut one crop with its objects and silent ground, and copy pieces of other objects into it
    where there are any.
    """
    image, valid = cut_window(scene, left, top, side_px)
    near = objects_near(objects, left, top, side_px)
    table = np.concatenate([near, _silent_windows(silent, left, top, side_px)])
    if crowd_with is None:
        return _Crop(image, table, False, False)
    image, crowded = crowd(image, valid, table, *crowd_with)
    return _Crop(image, crowded, True, len(crowded) > len(table))


def _divide(
    rows: list[Any], catalog: Catalog, params: LargePatchesParams
) -> dict[str, list[tuple[int, int]]]:
    """Deal the crops out: those around objects by objects, the others by area; evenly over the
    scales.
    """
    count = catalog.labels[catalog.labels["role"] == "object"]["scene"].value_counts()
    objects = np.array([count.get(row.scene, 0) for row in rows], float)
    area = np.array(
        [row.width_px * row.gsd_x_m * row.height_px * row.gsd_y_m for row in rows], float
    )
    around = _share(round(params.count * params.object_fraction) if objects.any() else 0, objects)
    anywhere = _share(params.count - int(around.sum()), area)
    n = len(params.scales)

    def dealt(total: int, index: int) -> int:
        return int(total // n + (index % n < total % n))

    return {
        row.scene: [(dealt(a, index + number), dealt(b, index + number)) for index in range(n)]
        for number, (row, a, b) in enumerate(zip(rows, around, anywhere, strict=True))
    }


def _share(total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide a number by weights, so that the parts sum to it."""
    if not weights.sum():
        return np.zeros(len(weights), np.int64)
    edges = np.rint(np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum() * total).astype(
        np.int64
    )
    parts: NDArray[np.int64] = np.diff(edges)
    return parts


def _corners(
    shape_hw: tuple[int, int],
    objects: NDArray[np.float32],
    n_around: int,
    n_anywhere: int,
    side_px: int,
    random: np.random.Generator,
) -> list[tuple[int, int]]:
    """Return left and top of crops; half a window of mirror beyond the border is allowed, as in a
    search.
    """
    known = objects[objects[:, 0] >= 0]
    low, high = -32, np.maximum(np.array(shape_hw[::-1]) + 32 - side_px, -32)
    anywhere = random.integers(low, high + 1, (n_anywhere, 2))
    if not len(known):
        return [(int(x), int(y)) for x, y in anywhere]
    chosen = np.concatenate(
        [random.permutation(len(known)) for _ in range(n_around // len(known) + 1)]
    )[:n_around]
    reach = side_px / 2 - 36  # the object's centre stays among the centres of the crop's windows
    around = known[chosen, 1:3] - side_px / 2 + random.uniform(-reach, reach, (n_around, 2))
    around = np.clip(np.rint(around), low, high)
    return [(int(x), int(y)) for x, y in np.concatenate([around, anywhere])]


def scene_objects(labels: Any, classes: list[str], scene: Scene) -> NDArray[np.float32]:
    """Return the labels of a scene in px of its grid, (M, 5): class index or `IGNORED`, centre x,
    y, width, height.
    """
    scale = np.array([*scene.ratio_xy, *scene.ratio_xy])
    boxes = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64).reshape(-1, 4) / scale
    table = np.empty((len(labels), 5), np.float32)
    is_object = (labels["role"] == "object").to_numpy()
    table[:, 0] = [
        classes.index(name) if kept else IGNORED
        for name, kept in zip(labels["class"], is_object, strict=True)
    ]
    table[:, 1:3] = labels[["col", "row"]].to_numpy(np.float64).reshape(-1, 2) / scale[:2]
    sizes = boxes[:, 2:] - boxes[:, :2]
    table[:, 3:] = np.where(sizes > 0, sizes, np.nan)
    return table


def cut_window(
    scene: Scene, left: int, top: int, side_px: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one square of a scene (S, S, C), mirrored at its borders as a search mirrors it, and
    where it is valid.
    """
    pixels, valid = read_mirrored(
        scene.read, scene.shape_hw, (top, top + side_px, left, left + side_px)
    )
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), valid


def objects_near(
    objects: NDArray[np.float32], left: int, top: int, side_px: int
) -> NDArray[np.float32]:
    """Return the objects that can matter to a square's windows, relative to its centre."""
    moved = objects.copy()
    moved[:, 1:3] -= np.array([left + side_px / 2, top + side_px / 2], np.float32)
    half = (
        np.where(moved[:, :1] == IGNORED, np.nan_to_num(moved[:, 3:]) / 2, 0.0)
        + side_px / 2
        + MARGIN_PX
    )
    return moved[(np.abs(moved[:, 1:3]) <= half).all(1)]


def _silent_windows(silent: BaseGeometry, left: int, top: int, side_px: int) -> NDArray[np.float32]:
    """Return areas of `IGNORED` over the windows' centres on silent ground, (n, 5): such a window
    is no background.
    """
    boxes = silent_boxes(silent, left, top, side_px, STRIDE_PX)
    return np.concatenate([np.full((len(boxes), 1), IGNORED), boxes], axis=1).astype(np.float32)


def pad_tables(tables: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return tables of differing length as one (N, M, 5), filled with `PAD`."""
    longest = max((len(table) for table in tables), default=0)
    padded = np.full((len(tables), max(longest, 1), 5), PAD, np.float32)
    for number, table in enumerate(tables):
        padded[number, : len(table)] = table
    return padded
