"""How far an exported detector finds what `detect` finds, on real rasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from windhover.models.apply_calibration import detection_scores

SAME_OBJECT = 0.5  # largest distance of centers of one object, in units of its longer side
# Programs with tiles show the network black beyond a raster's border where `detect` fills it.
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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rasters: int = 0
    both: int = 0
    only_exported: int = 0
    only_detect: int = 0
    differing_inside: int = 0
    largest_score_difference: float = 0.0

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
    parities = []
    for scene in scenes:
        height, width = scene.shape_hw
        exported = client.detect(scene.read(0, 0, height, width)[0])
        found = detect_objects(detector, scene, thresholds)
        parities.append(compare_objects(exported, found, scene.shape_hw))
    return add_parities(parities)


def compare_objects(exported: Objects, found: Objects, shape_hw: tuple[int, int]) -> Parity:
    """Compare two tables of one raster's objects, px of its grid, with scores.

    Args:
        exported: of the exported detector.
        found: of `detect`.
        shape_hw: of the raster.
    """
    assert exported.scores is not None
    assert found.scores is not None
    rows, cols = pair_objects(exported, found)
    is_inside = _is_inside(found, shape_hw)[cols]
    only_exported = exported.select(_others(len(exported), rows))
    only_found = found.select(_others(len(found), cols))
    differing = _is_inside(only_exported, shape_hw).sum() + _is_inside(only_found, shape_hw).sum()
    differences = np.abs(exported.scores[rows] - found.scores[cols])[is_inside]
    return Parity(
        rasters=1,
        both=len(rows),
        only_exported=len(only_exported),
        only_detect=len(only_found),
        differing_inside=int(differing),
        largest_score_difference=float(differences.max(initial=0.0)),
    )


def add_parities(parities: Sequence[Parity]) -> Parity:
    """Return the comparison of several rasters as one."""
    return Parity(
        rasters=sum(one.rasters for one in parities),
        both=sum(one.both for one in parities),
        only_exported=sum(one.only_exported for one in parities),
        only_detect=sum(one.only_detect for one in parities),
        differing_inside=sum(one.differing_inside for one in parities),
        largest_score_difference=max((one.largest_score_difference for one in parities), default=0),
    )


def _others(count: int, rows: np.ndarray) -> Bools:
    """Return which of `count` rows are not among some."""
    others = np.ones(count, bool)
    others[rows] = False
    return others


def pair_objects(first: Objects, second: Objects) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the same objects in two tables, each at most once, nearest pairs in sum."""
    distance = cdist(first.centers_xy, second.centers_xy)
    reach = SAME_OBJECT * second.longer_side[None, :]
    allowed = (distance <= reach) & (first.class_index[:, None] == second.class_index[None, :])
    rows, cols = linear_sum_assignment(np.where(allowed, distance, 1e6))
    is_pair = allowed[rows, cols]
    return rows[is_pair], cols[is_pair]


def detect_objects(detector: Detector, scene: Scene, thresholds: dict[str, float]) -> Objects:
    """Return what `detect` finds in a scene, px of its grid, with calibrated scores."""
    bundle = detector.bundle
    candidates = detector.plan(scene, thresholds).run().candidates
    class_index = candidates.class_index
    scores = detection_scores(candidates.logits, bundle.calibration, class_index)
    lowest = np.array([thresholds[name] for name in bundle.card.classes])[class_index]
    objects = replace(candidates.objects, scores=scores)
    return objects.select(scores >= lowest)


def _is_inside(objects: Objects, shape_hw: tuple[int, int]) -> Bools:
    """Return which objects are further than `BORDER_PX` from the raster's border."""
    height, width = shape_hw
    extent = (0.0, 0.0, float(width), float(height))
    return objects.within(extent, margin=-BORDER_PX)
