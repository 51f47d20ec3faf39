"""Mining: the current model searches the training scenes; what it gets wrong becomes patches.

Only completely labelled scenes are searched: elsewhere a find may be an object that nobody marked.
Writes no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.catalog import Catalog, open_catalog_scene
from windhover.dataset.ignore_regions import silent_ground
from windhover.dataset.label_rule import Rule
from windhover.geometry.windows import WINDOW_PX
from windhover.inference.dense import DenseScorer
from windhover.inference.detector import SearchSettings, search_scene
from windhover.params.train import HardNegativeMiningParams
from windhover.patches.patch_store import index_table
from windhover.training.large_patches import cut_window, scene_objects
from windhover.training.losses import IGNORED

HALF_PX = WINDOW_PX / 2
NEAR_PX = (
    4  # mined windows are shifted by up to this, so that a round teaches more than one exact place
)


@dataclass(frozen=True)
class Found:
    """What a round found: patches with their index."""

    images: NDArray[Any]  # (N, 64, 64, C)
    index: pd.DataFrame


def mine(
    catalog: Catalog,
    scorer: DenseScorer,
    classes: list[str],
    params: HardNegativeMiningParams,
    rule: Rule,
    origin: str,
    seed: int,
    on_done: Callable[[float], None] = lambda _: None,
) -> Found:
    """Search labelled scenes and cut a patch at each of the most confident false alarms, and at
    objects missed.

    Args:
        catalog: the training split.
        scorer: of the current model.
        classes: names in the order of the model's classes.
        params: caps, scores, scales.
        rule: of the labels: an object is met within its positive radius, background begins
            beyond the ignored ring.
        origin: written into the index, `mined-1` for the first round.
        seed: decides the shifts.
        on_done: called with the Mpx just searched.
    """
    images: list[NDArray[Any]] = []
    rows: list[dict[str, Any]] = []
    settings = SearchSettings(stride_px=scorer.stride_px, scales=(1.0,), merge_distance=0.25)
    n_scales = len(params.scales)
    floor = float(np.log(params.min_score) - np.log1p(-params.min_score))
    for row in catalog:
        if not row.labeled:
            continue
        random = np.random.default_rng([seed, *row.scene.encode()])
        with open_catalog_scene(row, catalog.gsd_m, catalog.bands) as scene:
            scene.preload()
            for number, scale in enumerate(params.scales):
                with scene.seen_at(catalog.gsd_m * scale) as seen:
                    found = search_scene(
                        scorer, seen, settings, floor, progress=on_done, classes=classes
                    )
                    objects = scene_objects(catalog.labels_of(row.scene), classes, seen)
                    here = catalog.areas[catalog.areas["scene"] == row.scene]
                    silent = silent_ground(here, seen.ratio_xy, seen.shape_hw, rule.ignore_px)
                    cap = params.max_per_scene // n_scales + (
                        number < params.max_per_scene % n_scales
                    )
                    picked = pick(
                        found,
                        objects,
                        silent,
                        seen.shape_hw,
                        rule,
                        cap,
                        params.patches_per_miss,
                        random,
                    )
                    for record in picked:
                        images.append(
                            cut_window(seen, record["left_px"], record["top_px"], WINDOW_PX)[0]
                        )
                        name = classes[record["class"]] if record["class"] >= 0 else ""
                        place = {
                            "scene": row.scene,
                            "place": row.place,
                            "split": "train",
                            "gsd_m": catalog.gsd_m * scale,
                        }
                        rows.append(
                            {**record, **place, "class": name, "origin": origin, "patch": len(rows)}
                        )
    bands = len(catalog.bands)
    stacked = (
        np.stack(images)
        if images
        else np.zeros((0, WINDOW_PX, WINDOW_PX, bands), np.dtype(catalog.dtype))
    )
    return Found(stacked, index_table(rows))


def pick(
    found: pd.DataFrame,
    objects: NDArray[np.float32],
    silent: BaseGeometry,
    shape_hw: tuple[int, int],
    rule: Rule,
    cap: int,
    patches_per_miss: int,
    random: np.random.Generator,
) -> list[dict[str, Any]]:
    """Choose windows from one search.

    Args:
        found: candidates, best first, centre `col`, `row` in scene px.
        objects: (M, 5) class index or `IGNORED`, centre, size in scene px.
        silent: ground in scene px on which a find proves nothing; empty where all is known.
        shape_hw: px of the scene; what lies beyond its border is not cut.
        rule: when a window shows an object, and when background.
        cap: at most this many false alarms.
        patches_per_miss: windows for each object that no candidate meets.
        random: shifts the windows.

    Returns:
        Rows of an index, without the scene's own columns; `class` is a number, -1 for background.
    """
    known = objects[objects[:, 0] >= 0]
    spots = found[["col", "row"]].to_numpy(np.float64).reshape(-1, 2)
    apart = spots[:, None] - known[None, :, 1:3].astype(np.float64)  # (spots, known, 2)
    distance = rule.measure(apart[..., 0], apart[..., 1])  # (spots, known)
    alarms = spots[distance.min(1, initial=np.inf) > rule.ignore_px + NEAR_PX]
    alarms = alarms[~_silenced(alarms, objects[objects[:, 0] == IGNORED], silent)][:cap]
    rows = [_window(spot, shape_hw, random.integers(-NEAR_PX, NEAR_PX + 1, 2)) for spot in alarms]
    rows = [
        {
            **window,
            "kind": "lookalike",
            "class": -1,
            "dx_px": np.nan,
            "dy_px": np.nan,
            "w_px": np.nan,
            "h_px": np.nan,
        }
        for window in rows
    ]
    rows = [
        window
        for window in rows
        if not len(known) or _clearance(window, known, rule) > rule.ignore_px
    ]
    reach = int(min(rule.positive_px, HALF_PX))
    missed = known[distance.min(0, initial=np.inf) > rule.positive_px]
    for kind, x, y, width, height in missed.tolist():
        if not (0 <= x < shape_hw[1] and 0 <= y < shape_hw[0]):
            continue
        for shift in random.integers(-reach + 1, reach, (patches_per_miss, 2)):
            window = _window(np.array([x, y]), shape_hw, shift)
            dx, dy = x - window["left_px"] - HALF_PX, y - window["top_px"] - HALF_PX
            if rule.measure(dx, dy) <= rule.positive_px:
                rows.append(
                    {
                        **window,
                        "kind": "positive",
                        "class": int(kind),
                        "dx_px": dx,
                        "dy_px": dy,
                        "w_px": width,
                        "h_px": height,
                    }
                )
    return rows


def _window(
    spot: NDArray[np.float64], shape_hw: tuple[int, int], shift: NDArray[np.int64]
) -> dict[str, Any]:
    """Return left and top of the window about a spot; it may reach half of itself outside, as in a
    search.
    """
    left, top = (np.rint(spot - HALF_PX) + shift).astype(int)
    return {
        "left_px": int(np.clip(left, -HALF_PX, shape_hw[1] - HALF_PX)),
        "top_px": int(np.clip(top, -HALF_PX, shape_hw[0] - HALF_PX)),
    }


def _clearance(window: dict[str, Any], known: NDArray[np.float32], rule: Rule) -> float:
    center = np.array([window["left_px"] + HALF_PX, window["top_px"] + HALF_PX])
    return float(rule.measure(*(known[:, 1:3] - center).T).min())


def _silenced(
    spots: NDArray[np.float64], ignored: NDArray[np.float32], silent: BaseGeometry
) -> NDArray[np.bool_]:
    """Return which spots lie in an ignored object's box or on silent ground."""
    inside: NDArray[np.bool_] = shapely.contains_xy(silent, spots[:, 0], spots[:, 1])
    for _, x, y, width, height in np.nan_to_num(ignored).tolist():
        inside |= (np.abs(spots - [x, y]) <= np.array([width, height]) / 2).all(1)
    return inside
