"""Large patches: training images of many windows each, cut from the scenes at several GSDs.

An unpadded network shares what neighboring windows have in common, so a large patch of 128 px
teaches 81 windows for the time of five patches. Everything is drawn from a seed. Reads one scene at
a time and searches none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.dataset.label_coverage import LabelCoverage, ignored_window_boxes
from windhover.geometry.lattice import read_padded
from windhover.geometry.objects import Objects, Role, concatenate
from windhover.geometry.random_points import parts_with_area, points_in_region
from windhover.geometry.windows import HALF_WINDOW_PX, STRIDE_PX
from windhover.imagery.scenes import Scene
from windhover.params.train import LargePatchesParams
from windhover.training.copy_paste import ObjectCutout, cut_out_objects, paste_objects
from windhover.training.object_table import (
    Table,
    pad_tables,
    round_to_float32,
    table_of_objects,
)

# an object this far outside a large patch is the nearest of none of its windows
MARGIN_PX = HALF_WINDOW_PX
# the object that a large patch is cut about stays this far inside its border
OBJECT_INSET_PX = HALF_WINDOW_PX + STRIDE_PX // 2


class LargePatches(NamedTuple):
    """Large patches with their objects."""

    images: NDArray[Any]  # (N, S, S, C) as read
    objects: Table  # (N, M, 5) relative to the image's center, filled with PAD
    n_chosen: int  # that were to be pasted into
    n_pasted: int  # that had room for a copy


class PatchCount(NamedTuple):
    """How many large patches are cut from a scene at one scale."""

    around_objects: int
    anywhere: int


@dataclass(frozen=True)
class LargePatch:
    """One large patch.

    Attributes:
        image: (S, S, C) as read.
        objects: relative to the image's center, px.
        chosen: whether objects were to be pasted into it.
        pasted: whether one was.
    """

    image: NDArray[Any]
    objects: Objects
    chosen: bool = False
    pasted: bool = False


def cut_large_patches(
    catalog: Catalog,
    classes: list[str],
    params: LargePatchesParams,
    *,
    seed: int,
    margin_px: float = 0.0,
    padding_value: Sequence[float] | None = None,
    progress: Callable[[float], None] | None = None,
) -> LargePatches:
    """Cut large patches of labeled scenes.

    Args:
        catalog: the training split.
        classes: names in the order of their index.
        params: how many, where, at which GSDs.
        seed: decides every place.
        margin_px: an object this far inside ground that is not labeled, or an ignored label this
            far away, would still matter to a window next to it.
        padding_value: of each band beyond a scene's border; None mirrors it.
        progress: called with the number of large patches just cut.
    """
    rows = [row for row in catalog if row.labeled]
    counts = _divide_among_scenes(rows, catalog, params, margin_px)
    cut: list[LargePatch] = []
    for row in rows:
        cutter = _SceneCutter(
            row,
            catalog,
            classes,
            params,
            seed=seed,
            margin_px=margin_px,
            padding_value=padding_value,
        )
        for patch in cutter.cut(counts[row.scene]):
            cut.append(patch)
            if progress is not None:
                progress(1)
    return LargePatches(
        np.stack([patch.image for patch in cut]),
        pad_tables([table_of_objects(patch.objects) for patch in cut]),
        n_chosen=sum(patch.chosen for patch in cut),
        n_pasted=sum(patch.pasted for patch in cut),
    )


class _SceneCutter:
    """Cuts the large patches of one scene."""

    def __init__(
        self,
        row: SceneRow,
        catalog: Catalog,
        classes: list[str],
        params: LargePatchesParams,
        *,
        seed: int,
        margin_px: float,
        padding_value: Sequence[float] | None,
    ) -> None:
        self._row = row
        self._catalog = catalog
        self._classes = classes
        self._params = params
        self._margin_px = margin_px
        self._padding_value = padding_value
        self._random = np.random.default_rng([seed, *row.scene.encode()])
        # its own generator: copy-paste changes no place of a large patch
        self._paste_random = np.random.default_rng([seed, 1, *row.scene.encode()])
        # and so areas change no place about an object
        self._known_random = np.random.default_rng([seed, 2, *row.scene.encode()])

    def cut(self, counts: list[PatchCount]) -> Iterator[LargePatch]:
        """Yield the large patches of each scale, those around objects first.

        Args:
            counts: one for each of the scales of the parameters.
        """
        catalog = self._catalog
        with open_catalog_scene(self._row, catalog.gsd_m, catalog.bands) as scene:
            scene.preload()
            for scale, count in zip(self._params.scales, counts, strict=True):
                with scene.at_gsd(catalog.gsd_m * scale) as seen:
                    yield from self._cut_at_scale(seen, count)

    def _cut_at_scale(self, scene: Scene, count: PatchCount) -> Iterator[LargePatch]:
        """Yield the large patches of the scene as seen at one GSD."""
        row = self._row
        objects = scene_objects(self._catalog, row.scene, scene.ratio_xy, self._classes)
        coverage = LabelCoverage.in_grid(self._catalog.areas_of(row.scene), scene.ratio_xy)
        ignored = coverage.ignored_region_of_grid(scene.shape_hw, self._margin_px)
        cutouts: list[ObjectCutout] = []
        if self._params.copy_paste_prob and count.around_objects:
            cutouts = cut_out_objects(scene.read, scene.shape_hw, objects)
        objects = grow_ignored(objects, self._margin_px)
        side_px = self._params.side_px
        corners = _draw_corners(
            scene.shape_hw, objects, count, side_px=side_px, random=self._random
        )
        if not ignored.is_empty:
            corners[count.around_objects :] = self._draw_on_known_ground(
                scene.shape_hw, ignored, count.anywhere
            )
        for number, (left, top) in enumerate(corners):
            image, valid = read_square(
                scene, left=left, top=top, side_px=side_px, padding_value=self._padding_value
            )
            patch = LargePatch(image, _objects_of_square(objects, ignored, left, top, side_px))
            if number < count.around_objects and self._is_chosen():
                patch = self._paste(patch, valid, cutouts)
            yield patch

    def _draw_on_known_ground(
        self, shape_hw: tuple[int, int], ignored: BaseGeometry, count: int
    ) -> list[tuple[int, int]]:
        """Return left and top of large patches that see ground where background is known."""
        height, width = shape_hw
        side_px = self._params.side_px
        known = shapely.box(0, 0, width, height).difference(ignored)
        points = points_in_region(known, count, self._known_random, min_area=side_px**2)
        return _in_reach(
            _draw_around(points, count, side_px, self._known_random), shape_hw, side_px
        )

    def _is_chosen(self) -> bool:
        """Draw whether objects are pasted into the next large patch."""
        return self._paste_random.uniform() < self._params.copy_paste_prob

    def _paste(
        self, patch: LargePatch, valid: NDArray[np.bool_], cutouts: list[ObjectCutout]
    ) -> LargePatch:
        """Return a large patch with copies of other objects of its scene."""
        image, objects = paste_objects(
            patch.image, valid, patch.objects, cutouts=cutouts, random=self._paste_random
        )
        return LargePatch(image, objects, chosen=True, pasted=len(objects) > len(patch.objects))


def _divide_among_scenes(
    rows: list[SceneRow], catalog: Catalog, params: LargePatchesParams, margin_px: float
) -> dict[str, list[PatchCount]]:
    """Return how many large patches each scene gives at each scale.

    Those around objects are divided by the number of objects, the others by the ground where
    background is known; both evenly over the scales.
    """
    is_object = catalog.labels["role"] == "object"
    objects_by_scene = catalog.labels[is_object]["scene"].value_counts()
    n_objects = np.array([objects_by_scene.get(row.scene, 0) for row in rows], float)
    n_around = round(params.count * params.object_fraction) if n_objects.any() else 0
    around = _divide_by_weights(n_around, n_objects)
    known = np.array([_known_px(row, catalog, params, margin_px) for row in rows], float)
    anywhere = _divide_by_weights(params.count - int(around.sum()), known)
    counts: dict[str, list[PatchCount]] = {}
    n_scales = len(params.scales)
    for number, row in enumerate(rows):
        counts[row.scene] = []
        for scale in range(n_scales):
            turn = (scale + number) % n_scales  # scenes give their remainders to different scales
            counts[row.scene].append(
                PatchCount(
                    _part_of_scale(int(around[number]), turn, n_scales),
                    _part_of_scale(int(anywhere[number]), turn, n_scales),
                )
            )
    return counts


def _known_px(
    row: SceneRow, catalog: Catalog, params: LargePatchesParams, margin_px: float
) -> float:
    """Return the ground of a scene where windows can be background, px of the training GSD.

    Each part of it counts as a large patch at least: a rejected detection is such a part.
    """
    ratio_xy = (catalog.gsd_m / row.gsd_x_m, catalog.gsd_m / row.gsd_y_m)
    coverage = LabelCoverage.in_grid(catalog.areas_of(row.scene), ratio_xy)
    extent = shapely.box(0, 0, row.width_px / ratio_xy[0], row.height_px / ratio_xy[1])
    known = extent.difference(coverage.ignored_region(extent, margin_px))
    areas = shapely.area(parts_with_area(known))
    return float(np.maximum(areas, params.side_px**2).sum())


def _part_of_scale(total: int, turn: int, n_scales: int) -> int:
    """Return a scale's part of a number; the first scales in turn get the remainder."""
    return total // n_scales + (turn < total % n_scales)


def _divide_by_weights(total: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Divide a number by weights, so that the parts sum to it."""
    if not weights.sum():
        return np.zeros(len(weights), np.int64)
    shares = np.concatenate([[0.0], np.cumsum(weights)]) / weights.sum()
    parts: NDArray[np.int64] = np.diff(np.rint(shares * total).astype(np.int64))
    return parts


def _draw_corners(
    shape_hw: tuple[int, int],
    objects: Objects,
    count: PatchCount,
    *,
    side_px: int,
    random: np.random.Generator,
) -> list[tuple[int, int]]:
    """Return left and top of large patches, those around objects first."""
    centers = objects.centers_xy[~objects.is_ignored]
    low, high = _corner_range(shape_hw, side_px)
    anywhere = random.integers(low, high + 1, (count.anywhere, 2))
    around = _draw_around(centers, count.around_objects, side_px, random)
    return _in_reach(np.concatenate([around, anywhere]), shape_hw, side_px)


def _corner_range(shape_hw: tuple[int, int], side_px: int) -> tuple[int, NDArray[np.int64]]:
    """Return the lowest left and top, and the highest of each.

    Half a window beyond the border of the scene is allowed, as in a search.
    """
    low = -HALF_WINDOW_PX
    return low, np.maximum(np.array(shape_hw[::-1]) + HALF_WINDOW_PX - side_px, low)


def _in_reach(
    corners: NDArray[np.float64], shape_hw: tuple[int, int], side_px: int
) -> list[tuple[int, int]]:
    """Return left and top (N, 2) as whole px in their range."""
    low, high = _corner_range(shape_hw, side_px)
    return [(int(x), int(y)) for x, y in np.clip(np.rint(corners), low, high)]


def _draw_around(
    centers: NDArray[np.float64], count: int, side_px: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return left and top (count, 2) of large patches around points, each point in turn.

    The point stays among the centers of the large patch's windows. Without points there are none.
    """
    if not len(centers):
        return np.zeros((0, 2))
    n_orders = count // len(centers) + 1
    orders = [random.permutation(len(centers)) for _ in range(n_orders)]
    chosen = np.concatenate(orders)[:count]
    reach = side_px / 2 - OBJECT_INSET_PX
    corner = (centers[chosen] - side_px / 2).astype(np.float32)
    around: NDArray[np.float64] = corner + random.uniform(-reach, reach, (count, 2))
    return around


def scene_objects(
    catalog: Catalog, scene: str, ratio_xy: tuple[float, float], classes: list[str]
) -> Objects:
    """Return the labels of a scene as objects, to the digits of a float32 table.

    Args:
        catalog: with the labels.
        scene: name.
        ratio_xy: native px per px of the grid in which the objects are wanted.
        classes: names in the order of their index.
    """
    objects = catalog.objects_of(scene, ratio_xy, classes)
    sizes = np.where(objects.sizes_wh > 0, objects.sizes_wh, np.nan)
    return round_to_float32(replace(objects, sizes_wh=sizes))


def grow_ignored(objects: Objects, margin_px: float) -> Objects:
    """Return the objects with ignored ones grown on every side; points become boxes.

    No window within the margin of an ignored label is background, as in patches.
    """
    sizes = objects.sizes_wh.copy()
    sizes[objects.is_ignored] = np.nan_to_num(sizes[objects.is_ignored]) + 2 * margin_px
    return round_to_float32(replace(objects, sizes_wh=sizes))


def read_square(
    scene: Scene,
    *,
    left: int,
    top: int,
    side_px: int,
    padding_value: Sequence[float] | None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return one square of a scene (S, S, C), and where it is valid.

    Beyond the scene's borders it is padded, as a search pads it.
    """
    extent = (top, top + side_px, left, left + side_px)
    pixels, valid = read_padded(scene.read, scene.shape_hw, extent, padding_value)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), valid


def _objects_of_square(
    objects: Objects, ignored: BaseGeometry, left: int, top: int, side_px: int
) -> Objects:
    """Return the objects near a square, and boxes over its windows that are ignored.

    Both relative to its center.
    """
    near = objects_near(objects, left=left, top=top, side_px=side_px)
    return concatenate([near, _ignored_windows(ignored, left, top, side_px)])


def objects_near(objects: Objects, *, left: int, top: int, side_px: int) -> Objects:
    """Return the objects that can matter to a square's windows, relative to its center.

    Ignored areas matter where they reach in.
    """
    half = side_px / 2
    moved = round_to_float32(objects.shifted(-(left + half), -(top + half)))
    reach = np.where(objects.is_ignored[:, None], np.nan_to_num(moved.sizes_wh) / 2, 0.0)
    is_near = np.abs(moved.centers_xy) <= reach.astype(np.float32) + half + MARGIN_PX
    return moved.select(np.asarray(is_near.all(1)))


def _ignored_windows(ignored: BaseGeometry, left: int, top: int, side_px: int) -> Objects:
    """Return ignored boxes over the centers of the windows in an ignored region."""
    boxes = ignored_window_boxes(ignored, left=left, top=top, side_px=side_px, stride_px=STRIDE_PX)
    role = np.full(len(boxes), Role.IGNORE, np.int8)
    windows = Objects(boxes[:, :2], boxes[:, 2:], np.zeros(len(boxes), np.int64), role)
    return round_to_float32(windows)
