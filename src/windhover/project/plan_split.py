"""The split of a project: by place where there are enough, else by guarded blocks, else by folds.

A split that loses a third of few labels to guard strips measures nothing well and teaches less, so
cuts are made where they lose fewest objects. Where that is still too many, the model learns from
everything, and cross-validation by blocks measures; where even that cannot be, nothing does, and
the report states it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from windhover.dataset.block_plan import BlockPlan, BlockWindow
from windhover.dataset.splits import SPLITS, assign_splits
from windhover.geometry.arrays import Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.imagery.rasters import SceneInfo
from windhover.progress import counted
from windhover.project.cut_ground import Rectangle, best_cut
from windhover.project.measure import MeasuredData
from windhover.project.measurements import Measurements

FRACTIONS = (0.6, 0.15, 0.25)
MAX_PLACE_SHARE = 0.7  # of the objects in one place, beyond which places alone do not divide
MIN_PLACES = 3
MAX_LOST = 0.1  # share of the objects that guard strips may take
MAX_LOST_GROUND = 0.5  # of windows with a class
MAX_LOST_IN_FOLDS = 0.5  # there they are lost for measuring alone: the model learns from them
MIN_TRAIN_SHARE = 0.4
MIN_OBJECTS = 5  # of val and of test, or of a fold
N_BLOCKS = (12, 8, 6, 4, 3)  # tried, all places together
N_FOLDS = (3, 2)  # tried in this order
MEASURED_BY_FOLDS = "{n} models of {n} blocks measure how well that works (cross-validation)"
ENOUGH_TO_LEARN = 30  # objects of train, below which a model learns from all where folds measure
SEED = 0

SplitKind = Literal["places", "blocks", "folds", "none"]


@dataclass(frozen=True)
class SplitPlan:
    """How the scenes are divided.

    Attributes:
        kind: by whole places, by blocks, by folds of blocks while the model learns from all, or
            not at all.
        blocks: where scenes are cut; None where they stay whole.
        objects: split -> objects; of folds, the objects of each block.
        lost: objects in guard strips.
        reason: a sentence.
    """

    kind: SplitKind
    blocks: BlockPlan | None
    objects: dict[str, int]
    lost: int
    reason: str

    @property
    def n_folds(self) -> int:
        """Models that measure, each of all blocks but one; 0 of a plain split."""
        return len(self.objects) if self.kind == "folds" else 0


@dataclass
class _Leaf:
    """A part of the ground of one place."""

    place: str
    area: Rectangle
    points: Floats


@dataclass(frozen=True)
class _Tile:
    """A scene in the plane of its place, m."""

    info: SceneInfo
    area: Rectangle


@dataclass(frozen=True)
class _Ground:
    """The places, each with its tiles in one plane; those that cannot be cut have no plane."""

    tiles: dict[str, list[_Tile]] = field(default_factory=dict)
    points: dict[str, Floats] = field(default_factory=dict)
    uncut: dict[str, int] = field(default_factory=dict)  # place -> objects
    uncut_scenes: dict[str, list[str]] = field(default_factory=dict)


def plan_split(data: MeasuredData, gsd_m: float) -> SplitPlan:
    """Return the split that keeps most labels.

    Args:
        data: the measured scenes and objects.
        gsd_m: of training, from which the guard follows: one window.
    """
    by_place = _objects_by_labeled_place(data.record)
    whole = _by_places(by_place)
    if whole is not None:
        return whole
    ground = _ground_of(data)
    guard_m = WINDOW_PX * gsd_m
    plan = _best_blocks(ground, guard_m, n_objects=data.record.n_objects, max_lost=MAX_LOST)
    if plan is not None and plan.objects["train"] >= ENOUGH_TO_LEARN:
        return plan
    folds = _most_folds(ground, guard_m, n_objects=data.record.n_objects)
    if folds is not None and plan is not None:
        reason = (
            f"blocks would leave {plan.objects['train']} of {data.record.n_objects} objects to "
            "learn from, so the model learns from all of them, and "
            + MEASURED_BY_FOLDS.format(n=folds.n_folds)
        )
        return replace(folds, reason=reason)
    if folds is not None:
        return folds
    if plan is not None:
        return plan
    objects = {"train": data.record.n_objects, "val": 0, "test": 0}
    reason = (
        f"{data.record.n_objects} objects on {counted(len(by_place), 'place')} cannot be divided "
        "without losing most of them to guard strips: everything trains, and no accuracy is known. "
        "Label another place to measure one"
    )
    return SplitPlan("none", None, objects, 0, reason)


def plan_ground_split(data: MeasuredData, gsd_m: float) -> SplitPlan:
    """Return the split of ground with classes: places, else blocks, else everything trains.

    Guard strips may take more than of objects: a strip of ground loses as much of every class.

    Args:
        data: the measured scenes; an object stands for a window of ground with a class.
        gsd_m: of training, from which the guard follows: one window.
    """
    by_place = _objects_by_labeled_place(data.record)
    whole = _by_places(by_place)
    if whole is not None:
        return whole
    ground = _ground_of(data)
    guard_m = WINDOW_PX * gsd_m
    n_windows = data.record.n_objects
    plan = _best_blocks(ground, guard_m, n_objects=n_windows, max_lost=MAX_LOST_GROUND)
    if plan is not None:
        reason = (
            f"the scenes are {counted(len(by_place), 'place')}, too few to divide: they are cut "
            f"into blocks, a window apart, where that loses {plan.lost} of {n_windows} windows "
            "with a class"
        )
        return replace(plan, reason=reason)
    reason = (
        f"{counted(len(by_place), 'place')} cannot be divided without losing most of the ground "
        "to guard strips: everything trains, and no accuracy is known. Label another place to "
        "measure one"
    )
    return SplitPlan("none", None, {"train": n_windows, "val": 0, "test": 0}, 0, reason)


def _objects_by_labeled_place(record: Measurements) -> dict[str, int]:
    """Return place -> its objects, of the places with a labeled scene."""
    labeled = {scene.place for scene in record.scenes if scene.labeled}
    counts = record.objects_by_place
    return {place: count for place, count in counts.items() if place in labeled}


def _cuts(ground: _Ground, guard_m: float) -> Iterator[tuple[list[_Leaf], int]]:
    """Yield the cuts into every number of blocks that makes places enough."""
    for n_blocks in N_BLOCKS:
        leaves, lost = _cut_into(ground, n_blocks, guard_m)
        if len(leaves) + len(ground.uncut) >= MIN_PLACES:
            yield leaves, lost


def _by_places(n_objects: Mapping[str, int]) -> SplitPlan | None:
    """Return the split by whole places; None where they do not divide the objects."""
    with_objects = {place: count for place, count in n_objects.items() if count}
    total = sum(with_objects.values())
    if len(with_objects) < MIN_PLACES or max(with_objects.values()) > MAX_PLACE_SHARE * total:
        return None
    splits = assign_splits(n_objects, FRACTIONS, SEED)
    objects = _sums(n_objects, splits)
    if not _is_balanced(objects, total):
        return None
    reason = f"{len(with_objects)} places have objects, so whole places are divided"
    return SplitPlan("places", None, objects, 0, reason)


def _is_balanced(objects: Mapping[str, int], total: int) -> bool:
    enough = min(MIN_OBJECTS, max(total // 10, 1))
    return objects["train"] >= MIN_TRAIN_SHARE * total and min(objects.values()) >= enough


def _sums(n_objects: Mapping[str, int], splits: Mapping[str, str]) -> dict[str, int]:
    sums = dict.fromkeys(SPLITS, 0)
    for name, split in splits.items():
        sums[split] += n_objects[name]
    return sums


def _ground_of(data: MeasuredData) -> _Ground:
    """Return the places with labels, those that can be cut as tiles in one plane."""
    ground = _Ground()
    centers = data.objects.centers_m
    by_place: dict[str, list[int]] = {}
    for number, scene in enumerate(data.record.scenes):
        if scene.labeled:
            by_place.setdefault(scene.place, []).append(number)
    for place, numbers in by_place.items():
        tiles = _tiles_in_plane([data.infos[number] for number in numbers])
        if tiles is None:
            ground.uncut_scenes[place] = [data.infos[number].name for number in numbers]
            ground.uncut[place] = int(np.isin(data.objects.scene, numbers).sum())
            continue
        points = [np.zeros((0, 2))]
        for number, tile in zip(numbers, tiles, strict=True):
            on_tile = centers[data.objects.scene == number]
            points.append(on_tile + np.array([tile.area.left, tile.area.top]))
        ground.tiles[place] = tiles
        ground.points[place] = np.concatenate(points)
    return ground


def _tiles_in_plane(infos: Sequence[SceneInfo]) -> list[_Tile] | None:
    """Return the scenes of a place in one plane; None where their axes or systems differ."""
    if len(infos) == 1:
        info = infos[0]
        width = info.width_px * info.gsd_m[0]
        return [_Tile(info, Rectangle(0, 0, width, info.height_px * info.gsd_m[1]))]
    first = infos[0]
    tiles = []
    for info in infos:
        one = info.transform
        is_alike = info.crs == first.crs and np.sign(one.a) == np.sign(first.transform.a)
        is_alike = is_alike and np.sign(one.e) == np.sign(first.transform.e)
        if not is_alike or one.b or one.d:
            return None
        left = (one.c - first.transform.c) / one.a * info.gsd_m[0]
        top = (one.f - first.transform.f) / one.e * info.gsd_m[1]
        right = left + info.width_px * info.gsd_m[0]
        tiles.append(_Tile(info, Rectangle(left, top, right, top + info.height_px * info.gsd_m[1])))
    return tiles


def _cut_into(ground: _Ground, n_blocks: int, guard_m: float) -> tuple[list[_Leaf], int]:
    """Return the parts of all places, cut until there are so many, and the objects lost."""
    leaves = []
    for place, tiles in ground.tiles.items():
        areas = np.array([tile.area for tile in tiles])
        left, top = areas[:, :2].min(axis=0).tolist()
        right, bottom = areas[:, 2:].max(axis=0).tolist()
        leaves.append(_Leaf(place, Rectangle(left, top, right, bottom), ground.points[place]))
    lost = 0
    finished: list[_Leaf] = []
    while leaves and len(leaves) + len(finished) + len(ground.uncut) < n_blocks:
        leaves.sort(key=lambda leaf: len(leaf.points))
        leaf = leaves.pop()
        cut = best_cut(leaf.area, leaf.points, guard_m=guard_m, min_side_m=guard_m)
        if cut is None:
            finished.append(leaf)
            continue
        lost += cut.lost
        leaves += [
            _Leaf(leaf.place, part, leaf.points[part.contains(leaf.points)]) for part in cut.parts
        ]
    return [*leaves, *finished], lost


def _best_blocks(
    ground: _Ground, guard_m: float, *, n_objects: int, max_lost: float
) -> SplitPlan | None:
    """Return a plan that loses few objects: of those with enough to measure the most blocks.

    None where every plan loses more than a share of them, or leaves a split too few.
    """
    best: tuple[float, SplitPlan] | None = None
    for leaves, lost in _cuts(ground, guard_m):
        counts = {f"{number}": len(leaf.points) for number, leaf in enumerate(leaves)}
        splits = assign_splits(counts | ground.uncut, FRACTIONS, SEED)
        objects = _sums(counts | ground.uncut, splits)
        if lost > max_lost * n_objects or not _is_balanced(objects, n_objects):
            continue
        measured = min(objects["val"], objects["test"], MIN_OBJECTS)
        if best is not None and best[0] >= measured:
            continue
        n_places = len(ground.tiles) + len(ground.uncut)
        reason = (
            f"the scenes are {counted(n_places, 'place')}, too few to divide: they are cut into "
            f"{len(leaves)} blocks, a window apart, where that loses {lost} of {n_objects} objects"
        )
        plan = _block_plan(leaves, splits, ground, guard_m)
        best = measured, SplitPlan("blocks", plan, objects, lost, reason)
    return None if best is None else best[1]


def _most_folds(ground: _Ground, guard_m: float, *, n_objects: int) -> SplitPlan | None:
    """Return as many folds of blocks as can be; None where none can."""
    if ground.uncut:
        return None
    plans = (_folds(ground, guard_m, n_folds, n_objects=n_objects) for n_folds in N_FOLDS)
    return next((plan for plan in plans if plan is not None), None)


def _folds(ground: _Ground, guard_m: float, n_folds: int, *, n_objects: int) -> SplitPlan | None:
    """Return folds of blocks; None where a fold would hold too few objects."""
    leaves, lost = _cut_into(ground, n_folds, guard_m)
    counts = {f"block {number}": len(leaf.points) for number, leaf in enumerate(leaves)}
    if len(leaves) < n_folds or min(counts.values()) < MIN_OBJECTS:
        return None
    if lost > MAX_LOST_IN_FOLDS * n_objects:
        return None
    splits = {f"{number}": "train" for number in range(len(leaves))}
    reason = (
        f"guard strips would take {lost} of {n_objects} objects from a model that has no more: it "
        "learns from all of them, and " + MEASURED_BY_FOLDS.format(n=n_folds)
    )
    return SplitPlan("folds", _block_plan(leaves, splits, ground, guard_m), counts, lost, reason)


def _block_plan(
    leaves: Sequence[_Leaf], splits: Mapping[str, str], ground: _Ground, guard_m: float
) -> BlockPlan:
    """Return the plan of blocks as windows of the scenes."""
    scenes: dict[str, list[BlockWindow]] = {}
    whole: dict[str, str] = {}
    for place, tiles in ground.tiles.items():
        of_place = [number for number, leaf in enumerate(leaves) if leaf.place == place]
        for tile in tiles:
            parts = []
            for number in of_place:
                split = splits[str(number)]
                part = _window_in(tile, leaves[number].area, number, split=split)
                if part is not None:
                    parts.append(part)
            is_whole = len(parts) == 1 and _is_whole(parts[0], tile.info)
            if is_whole:
                whole[tile.info.name] = parts[0].split
            else:
                scenes[tile.info.name] = parts
    for place, names in ground.uncut_scenes.items():
        whole |= dict.fromkeys(names, splits[place])
    return BlockPlan.model_validate(
        {
            "guard_m": guard_m,
            "scenes": {name: tuple(parts) for name, parts in scenes.items()},
            "splits": whole,
        }
    )


def _window_in(tile: _Tile, area: Rectangle, number: int, *, split: str) -> BlockWindow | None:
    """Return the part of a tile inside a rectangle, whole px; None where it is a sliver."""
    gsd_x, gsd_y = tile.info.gsd_m
    left = max(math.ceil((area.left - tile.area.left) / gsd_x - 1e-6), 0)
    top = max(math.ceil((area.top - tile.area.top) / gsd_y - 1e-6), 0)
    right = min(math.floor((area.right - tile.area.left) / gsd_x + 1e-6), tile.info.width_px)
    bottom = min(math.floor((area.bottom - tile.area.top) / gsd_y + 1e-6), tile.info.height_px)
    if min(right - left, bottom - top) < 1:
        return None
    return BlockWindow.model_validate(
        {
            "block": number,
            "split": split,
            "col": left,
            "row": top,
            "width": right - left,
            "height": bottom - top,
        }
    )


def _is_whole(part: BlockWindow, info: SceneInfo) -> bool:
    return (part.width, part.height) == (info.width_px, info.height_px)
