"""How far an exported detector finds what `detect` finds, on real rasters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from windhover.geometry.arrays import Bools
from windhover.geometry.objects import Objects
from windhover.imagery.scenes import Scene
from windhover.inference.detector import Detector
from windhover.model_export.tiled_client import TiledClient

SAME_OBJECT = 0.5  # largest distance of centers of one object, in units of its longer side
# Programs with tiles show the network black beyond a raster's border where `detect` mirrors it.
BORDER_PX = 24


class Parity(BaseModel):
    """Objects of some rasters, by an exported detector and by `detect`.

    Attributes:
        rasters: how many were compared.
        both: objects found by both.
        only_exported: by the exported one alone.
        only_detect: by `detect` alone.
        differing_inside: of these two, further than `BORDER_PX` from the raster's border.
        largest_score_difference: of the objects found by both, further than that from a border.
        median_distance_px: between their centers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rasters: int = 0
    both: int = 0
    only_exported: int = 0
    only_detect: int = 0
    differing_inside: int = 0
    largest_score_difference: float = 0.0
    median_distance_px: float = 0.0

    def line(self) -> str:
        """Return the comparison as one line."""
        return (
            f"{self.both} objects alike in {self.rasters} rasters, {self.only_exported} only in "
            f"the exported model and {self.only_detect} only in `detect`, "
            f"{self.differing_inside} of these further than {BORDER_PX} px from a border; largest "
            f"difference of a score {self.largest_score_difference:.4f}"
        )


def measure_parity(detector: Detector, model: Path, scenes: Sequence[Scene]) -> Parity:
    """Compare an exported detector with `detect` on scenes at the model's GSD.

    Args:
        detector: the model itself.
        model: file of its detector graph.
        scenes: that are searched by both, whole.
    """
    thresholds = detector.thresholds()
    client = TiledClient(model, min_score=min(thresholds.values()))
    counts = dict.fromkeys(("both", "only_exported", "only_detect", "differing_inside"), 0)
    score_differences = [0.0]
    distances_px = [0.0]
    for scene in scenes:
        height, width = scene.shape_hw
        pixels = scene.read(0, 0, height, width)[0]
        exported = client.detect(pixels)
        found = _detect(detector, scene, thresholds)
        rows, cols = pair_objects(exported, found)
        counts["both"] += len(rows)
        for name, objects, paired in (
            ("only_exported", exported, rows),
            ("only_detect", found, cols),
        ):
            single = np.ones(len(objects), bool)
            single[paired] = False
            counts[name] += int(single.sum())
            counts["differing_inside"] += int((single & _is_inside(objects, scene)).sum())
        assert exported.scores is not None
        assert found.scores is not None
        differences = np.abs(exported.scores[rows] - found.scores[cols])
        score_differences += differences[_is_inside(found, scene)[cols]].tolist()
        offsets = exported.centers_xy[rows] - found.centers_xy[cols]
        distances_px += np.hypot(*offsets.T).tolist()
    return Parity(
        rasters=len(scenes),
        largest_score_difference=max(score_differences),
        median_distance_px=float(np.median(distances_px)),
        **counts,
    )


def pair_objects(first: Objects, second: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the same objects in two tables, each at most once, nearest pairs in sum."""
    distance = cdist(first.centers_xy, second.centers_xy)
    reach = SAME_OBJECT * second.longer_side[None, :]
    allowed = (distance <= reach) & (first.class_index[:, None] == second.class_index[None, :])
    rows, cols = linear_sum_assignment(np.where(allowed, distance, 1e6))
    is_pair = allowed[rows, cols]
    return rows[is_pair], cols[is_pair]


def _detect(detector: Detector, scene: Scene, thresholds: dict[str, float]) -> Objects:
    """Return what `detect` finds in a scene, px of its grid; the longer side comes first."""
    result = detector.plan(scene, thresholds).run()
    found = detector.detections(result.candidates, thresholds, scene)
    classes = list(detector.bundle.card.classes)
    count = len(found["score"])
    return Objects(
        np.stack([found["col"], found["row"]], axis=1) / scene.ratio_xy,
        np.stack([found["length_m"], found["width_m"]], axis=1) / scene.gsd_m,
        np.array([classes.index(name) for name in found["class"]], np.int64),
        np.zeros(count, np.int8),
        found["score"],
    )


def _is_inside(objects: Objects, scene: Scene) -> Bools:
    """Return which objects are further than `BORDER_PX` from the border."""
    height, width = scene.shape_hw
    extent = (0.0, 0.0, float(width), float(height))
    return objects.within(extent, margin=-BORDER_PX)
