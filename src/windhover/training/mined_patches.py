"""Hard negatives: patches of what the current model gets wrong on the training scenes.

Only labeled scenes are searched, and no false positive is taken from ground that is not labeled:
there a detection may be an object without a label. Writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog, SceneRow, open_catalog_scene
from windhover.dataset.label_coverage import LabelCoverage
from windhover.dataset.label_rule import LabelRule
from windhover.geometry.objects import Objects
from windhover.geometry.windows import HALF_WINDOW_PX, WINDOW_PX
from windhover.imagery.scenes import Scene
from windhover.inference.scene_search import search_scene
from windhover.inference.scorer import Scorer
from windhover.inference.search_settings import SearchSettings
from windhover.params.train import HardNegativeMiningParams
from windhover.patches.patch_store import index_table
from windhover.training.large_patches import read_square, scene_objects

# windows are shifted by up to this, so that a round teaches more than one exact place
MAX_SHIFT_PX = 4
MERGE_DISTANCE = 0.25  # of candidates, in units of the smaller size

Point = NDArray[np.float64]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class MinedPatches:
    """The patches of one round."""

    images: NDArray[Any]  # (N, 64, 64, C) as read
    index: pd.DataFrame  # of patches

    @property
    def n_positives(self) -> int:
        """How many show an object that the model missed."""
        return int((self.index["class"] != "").sum())

    @property
    def n_false_positives(self) -> int:
        """How many show what the model took for an object."""
        return len(self.index) - self.n_positives


@dataclass(frozen=True)
class LabeledGround:
    """What is known of a scene, px of its grid at one GSD.

    Attributes:
        objects: labels, ignored ones included.
        ignored: region in which a detection without an object is no false positive.
        shape_hw: of the scene; nothing beyond its border is cut.
        rule: when a window shows an object, and when background.
    """

    objects: Objects
    ignored: BaseGeometry
    shape_hw: tuple[int, int]
    rule: LabelRule

    @property
    def known_objects(self) -> Objects:
        """The objects that count."""
        return self.objects.select(~self.objects.is_ignored)

    def is_ignored(self, xy: Points) -> NDArray[np.bool_]:
        """Return which points (N, 2) are in the ignored region or near an ignored object's box.

        Near is within the ignore radius, as for patches.
        """
        inside: NDArray[np.bool_] = shapely.contains_xy(self.ignored, xy[:, 0], xy[:, 1])
        ignored = self.objects.select(self.objects.is_ignored)
        half_sizes = np.nan_to_num(ignored.sizes_wh) / 2
        for center, half_size in zip(ignored.centers_xy, half_sizes, strict=True):
            beside = np.maximum(np.abs(xy - center) - half_size, 0)  # (N, 2) px from the box
            inside |= self.rule.distance(beside[:, 0], beside[:, 1]) <= self.rule.ignore_px
        return inside

    def distances(self, xy: Points) -> NDArray[np.float64]:
        """Return the distance of points (N, 2) from the objects that count, (N, M) px."""
        apart = xy[:, None] - self.known_objects.centers_xy[None]  # (N, M, 2)
        return self.rule.distance(apart[..., 0], apart[..., 1])


def mine_hard_negatives(
    catalog: Catalog,
    scorer: Scorer,
    classes: list[str],
    *,
    params: HardNegativeMiningParams,
    rule: LabelRule,
    origin: str,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> MinedPatches:
    """Cut a patch at each of the most confident false positives, and at missed objects.

    Args:
        catalog: the training split.
        scorer: of the current model.
        classes: names in the order of the model's classes.
        params: limits, scores, scales.
        rule: of the labels: an object is detected within its positive radius, background begins
            beyond the ignored ring.
        origin: written into the index, `mined-1` for the first round.
        seed: decides the shifts.
        progress: called with the Mpx just searched.
    """
    images: list[NDArray[Any]] = []
    rows: list[dict[str, Any]] = []
    for scene_row in catalog:
        if not scene_row.labeled:
            continue
        miner = _SceneMiner(
            scene_row, catalog, scorer, classes, params=params, rule=rule, seed=seed
        )
        for image, record in miner.mine(progress):
            images.append(image)
            rows.append({**record, "origin": origin, "patch": len(rows)})
    if not images:
        shape = (0, WINDOW_PX, WINDOW_PX, len(catalog.bands))
        return MinedPatches(np.zeros(shape, np.dtype(catalog.dtype)), index_table(rows))
    return MinedPatches(np.stack(images), index_table(rows))


class _SceneMiner:
    """Mines one scene."""

    def __init__(
        self,
        row: SceneRow,
        catalog: Catalog,
        scorer: Scorer,
        classes: list[str],
        *,
        params: HardNegativeMiningParams,
        rule: LabelRule,
        seed: int,
    ) -> None:
        self._row = row
        self._catalog = catalog
        self._scorer = scorer
        self._classes = classes
        self._params = params
        self._rule = rule
        self._random = np.random.default_rng([seed, *row.scene.encode()])

    def mine(
        self, progress: Callable[[float], None] | None
    ) -> Iterator[tuple[NDArray[Any], dict[str, Any]]]:
        """Yield patches with their rows of an index, scale by scale."""
        catalog = self._catalog
        with open_catalog_scene(self._row, catalog.gsd_m, catalog.bands) as scene:
            scene.preload()
            for number, scale in enumerate(self._params.scales):
                gsd_m = catalog.gsd_m * scale
                with scene.at_gsd(gsd_m) as seen:
                    for record in self._mine_at_scale(seen, number, progress):
                        image, _ = read_square(
                            seen,
                            left=record["left_px"],
                            top=record["top_px"],
                            side_px=WINDOW_PX,
                            padding_value=self._scorer.padding_value,
                        )
                        yield image, {**record, **self._scene_columns(gsd_m)}

    def _scene_columns(self, gsd_m: float) -> dict[str, Any]:
        return {
            "scene": self._row.scene,
            "place": self._row.place,
            "split": "train",
            "gsd_m": gsd_m,
        }

    def _mine_at_scale(
        self, scene: Scene, scale_number: int, progress: Callable[[float], None] | None
    ) -> list[dict[str, Any]]:
        """Search the scene as seen at one GSD, and return the windows to cut."""
        min_score = self._params.min_score
        candidates = search_scene(
            self._scorer,
            scene,
            SearchSettings(
                stride_px=self._scorer.stride_px, scales=(1.0,), merge_distance=MERGE_DISTANCE
            ),
            min_logit=float(np.log(min_score) - np.log1p(-min_score)),
            progress=progress,
        ).candidates
        rule = self._rule
        areas = self._catalog.areas_of(self._row.scene)
        coverage = LabelCoverage.in_grid(areas, scene.ratio_xy)
        ground = LabeledGround(
            scene_objects(self._catalog, self._row.scene, scene.ratio_xy, self._classes),
            coverage.ignored_region_of_grid(scene.shape_hw, rule.ignore_px),
            scene.shape_hw,
            rule,
        )
        n_scales = len(self._params.scales)
        most = self._params.max_per_scene
        windows = select_windows(
            candidates.objects.centers_xy,
            ground,
            max_false_positives=most // n_scales + (scale_number < most % n_scales),
            patches_per_miss=self._params.patches_per_miss,
            random=self._random,
        )
        for window in windows:
            index = window.pop("class_index")
            window["class"] = "" if index is None else self._classes[index]
        return windows


def select_windows(
    candidates_xy: Points,
    ground: LabeledGround,
    *,
    max_false_positives: int,
    patches_per_miss: int,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    """Select windows from one search.

    Args:
        candidates_xy: (N, 2) centers of candidates, best first, px of the scene.
        ground: what is known of the scene.
        max_false_positives: at most so many windows of false positives.
        patches_per_miss: windows for each object that no candidate meets.
        random: shifts the windows.

    Returns:
        Rows of an index, without the scene's own columns; `class_index` is None for background.
    """
    distances = ground.distances(candidates_xy)  # (N, M)
    rule = ground.rule
    is_false = distances.min(1, initial=np.inf) > rule.ignore_px + MAX_SHIFT_PX
    false_positives = candidates_xy[is_false]
    false_positives = false_positives[~ground.is_ignored(false_positives)][:max_false_positives]
    windows = _background_windows(false_positives, ground, random)
    is_missed = distances.min(0, initial=np.inf) > rule.positive_px
    missed = ground.known_objects.select(is_missed)
    return windows + _object_windows(missed, ground, patches_per_miss, random)


def _background_windows(
    false_positives: Points, ground: LabeledGround, random: np.random.Generator
) -> list[dict[str, Any]]:
    """Return a window near each false positive, those in the ring of an object left out."""
    corners = []
    for xy in false_positives:
        shift = random.integers(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1, 2)
        corners.append(_window_corner(xy, ground.shape_hw, shift))
    windows = []
    for left, top in corners:
        center = np.array([[left + HALF_WINDOW_PX, top + HALF_WINDOW_PX]], np.float64)
        is_far = ground.distances(center).min(initial=np.inf) > ground.rule.ignore_px
        if is_far and not ground.is_ignored(center)[0]:
            unknown = dict.fromkeys(("dx_px", "dy_px", "w_px", "h_px"), np.nan)
            windows.append(
                {
                    "left_px": left,
                    "top_px": top,
                    "kind": "lookalike",
                    "class_index": None,
                    **unknown,
                }
            )
    return windows


def _object_windows(
    missed: Objects, ground: LabeledGround, patches_per_miss: int, random: np.random.Generator
) -> list[dict[str, Any]]:
    """Return windows that show missed objects, shifted within the positive radius."""
    rule = ground.rule
    reach = int(min(rule.positive_px, HALF_WINDOW_PX))
    height, width = ground.shape_hw
    windows = []
    for number in range(len(missed)):
        x, y = missed.centers_xy[number].tolist()
        if not (0 <= x < width and 0 <= y < height):
            continue
        for shift in random.integers(-reach + 1, reach, (patches_per_miss, 2)):
            left, top = _window_corner(np.array([x, y]), ground.shape_hw, shift)
            dx = x - left - HALF_WINDOW_PX
            dy = y - top - HALF_WINDOW_PX
            if rule.distance(dx, dy) > rule.positive_px:
                continue
            object_width, object_height = missed.sizes_wh[number].tolist()
            windows.append(
                {
                    "left_px": left,
                    "top_px": top,
                    "kind": "positive",
                    "class_index": int(missed.class_index[number]),
                    "dx_px": dx,
                    "dy_px": dy,
                    "w_px": object_width,
                    "h_px": object_height,
                }
            )
    return windows


def _window_corner(
    xy: Point, shape_hw: tuple[int, int], shift: NDArray[np.int64]
) -> tuple[int, int]:
    """Return left and top of the window about a point, shifted.

    It may reach half of itself outside the scene, as in a search.
    """
    left, top = (np.rint(xy - HALF_WINDOW_PX) + shift).astype(int)
    height, width = shape_hw
    return (
        int(np.clip(left, -HALF_WINDOW_PX, width - HALF_WINDOW_PX)),
        int(np.clip(top, -HALF_WINDOW_PX, height - HALF_WINDOW_PX)),
    )
