"""The split of a project: by place where there are enough, else by guarded blocks, else by folds.

A split that loses a third of few labels to guard strips measures nothing well and teaches less, so
cuts are made where they lose fewest objects. Where that is still too many, or few would be left to
learn from, the model learns from everything, and cross-validation by places or blocks measures;
where even that cannot be, nothing does, and the report states it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from windhover.dataset.block_plan import BlockPlan, BlockWindow
from windhover.dataset.splits import SPLITS, assign_folds, assign_splits
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
LEAST_OF_FOLD = 2  # where folds of so many cannot be
N_BLOCKS = (12, 8, 6, 4, 3)  # tried, all places together
N_FOLDS = (3, 2)  # tried in this order
MEASURED_BY_FOLDS = "{n} models of {n} {parts} measure how well that works (cross-validation)"
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
        objects: split -> objects; of folds, the objects of each.
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
    n_objects = data.record.n_objects
    plan = _by_places(by_place)
    if plan is not None and plan.objects["train"] >= ENOUGH_TO_LEARN:
        return plan
    ground = _ground_of(data)
    guard_m = WINDOW_PX * gsd_m
    if plan is None:
        plan = _best_blocks(ground, guard_m, n_objects=n_objects, max_lost=MAX_LOST, what="objects")
        if plan is not None:
            plan = replace(plan, reason=f"{_why_not_whole(by_place)}: {plan.reason}")
    if plan is not None and plan.objects["train"] >= ENOUGH_TO_LEARN:
        return plan
    folds = _most_folds(ground, guard_m, n_objects=n_objects)
    if folds is not None:
        return replace(folds, reason=_fold_reason(by_place, plan, folds))
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
    plan = _best_blocks(
        ground, guard_m, n_objects=n_windows, max_lost=MAX_LOST_GROUND, what="windows with a class"
    )
    if plan is not None:
        return replace(plan, reason=f"{_why_not_whole(by_place)}: {plan.reason}")
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


def _why_not_whole(n_objects: Mapping[str, int]) -> str:
    """Return why whole places do not divide what is labelled.

    Args:
        n_objects: by place.
    """
    counts = [count for count in n_objects.values() if count]
    if len(n_objects) < MIN_PLACES:
        return f"the scenes are {counted(len(n_objects), 'place')}, too few to divide"
    if len(counts) < MIN_PLACES:
        return f"only {len(counts)} of {len(n_objects)} places have labels, too few to divide"
    share = max(counts) / sum(counts)
    if share > MAX_PLACE_SHARE:
        return f"one of {len(counts)} places has {share:.0%} of what is labelled"
    return f"{len(counts)} places do not divide evenly"


def _fold_reason(n_objects: Mapping[str, int], plan: SplitPlan | None, folds: SplitPlan) -> str:
    """Return why the model learns from all objects, and what measures instead.

    Args:
        n_objects: by place.
        plan: the split that would leave too few to learn from; None where none can be.
        folds: what measures.
    """
    total = sum(n_objects.values())
    if plan is not None:
        parts = "blocks" if plan.kind == "blocks" else "whole places"
        return (
            f"{parts} would leave {plan.objects['train']} of {total} objects to learn from, so "
            f"the model learns from all of them, and {folds.reason}"
        )
    why = f"{total} objects on {counted(len(n_objects), 'place')} are too few to divide: the model"
    if folds.lost:
        why = (
            f"guard strips would take {folds.lost} of {total} objects from a model that has no "
            "more: it"
        )
    return f"{why} learns from all of them, and {folds.reason}"


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
    ground: _Ground, guard_m: float, *, n_objects: int, max_lost: float, what: str
) -> SplitPlan | None:
    """Return a plan that loses few objects: of those with enough to measure the most blocks.

    None where every plan loses more than a share of them, or leaves a split too few. The reason
    says what the objects are.
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
        reason = (
            f"they are cut into {len(leaves) + len(ground.uncut)} blocks, a window apart, where "
            f"that loses {lost} of {n_objects} {what}"
        )
        plan = _block_plan(leaves, splits, ground, guard_m)
        best = measured, SplitPlan("blocks", plan, objects, lost, reason)
    return None if best is None else best[1]


def _most_folds(ground: _Ground, guard_m: float, *, n_objects: int) -> SplitPlan | None:
    """Return as many folds of places or blocks as can be; None where none can.

    Folds of very few objects are tried last: together they measure on every object.
    """
    for least in (MIN_OBJECTS, LEAST_OF_FOLD):
        for n_folds in N_FOLDS:
            plan = _folds(ground, guard_m, n_folds, n_objects=n_objects, least=least)
            if plan is not None:
                return plan
    return None


def _folds(
    ground: _Ground, guard_m: float, n_folds: int, *, n_objects: int, least: int
) -> SplitPlan | None:
    """Return folds of places or blocks; None where a fold would hold too few objects."""
    leaves, lost = _cut_into(ground, n_folds, guard_m)
    if len(leaves) + len(ground.uncut) < n_folds or lost > MAX_LOST_IN_FOLDS * n_objects:
        return None
    by_leaf = {f"{number}": len(leaf.points) for number, leaf in enumerate(leaves)} | ground.uncut
    counts = {}
    for fold in range(n_folds):
        splits = assign_folds(by_leaf, n_folds, fold, seed=SEED, with_val=False)
        counts[f"fold {fold}"] = _sums(by_leaf, splits)["test"]
    if min(counts.values()) < least:
        return None
    parts = _parts_of_folds(n_folds, n_places=len(ground.tiles) + len(ground.uncut))
    plan = _block_plan(leaves, dict.fromkeys(by_leaf, "train"), ground, guard_m)
    reason = MEASURED_BY_FOLDS.format(n=n_folds, parts=parts)
    return SplitPlan("folds", plan, counts, lost, reason)


def _parts_of_folds(n_folds: int, *, n_places: int) -> str:
    """Return what each fold is, in the plural."""
    if n_folds > n_places:
        return "blocks"
    return "places" if n_folds == n_places else "groups of places"


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
