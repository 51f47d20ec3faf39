"""Which detections the labels of a project answer already, so that no row is asked for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas
import numpy as np
import shapely

from windhover.dataset.areas import settle_presumed_empty
from windhover.dataset.label_coverage import LabelCoverage
from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.pairing import pairs_by_center
from windhover.review.label_state import Label, LabelState
from windhover.review.search_result import SearchResult
from windhover.review.update_labels import SIZE_SHARE


def is_answered(
    detections: SearchResult, state: LabelState, *, around_labels: bool = False
) -> Bools:
    """Return (N,) whether a detection is a label, or on ground where all labels are known.

    Args:
        detections: of a search.
        state: the labels that there are.
        around_labels: whether only the ground around labels is known
            (`scenes.labelled_within_m`).
    """
    answered = np.zeros(len(detections.score), bool)
    for number, scene in enumerate(detections.scenes):
        members = np.flatnonzero(detections.scene == number)
        if not len(members):
            continue
        centers = detections.centers[members]
        longer = np.ptp(detections.box[members].reshape(-1, 2, 2), axis=1).max(axis=1)
        labels = state.labels_of(scene.scene)
        answered[members] = _is_label(centers, labels, of_points=float(np.median(longer)))
        if scene.scene in state.covered and not around_labels:
            areas = [area for area in state.areas if area.scene == scene.scene]
            table = geopandas.GeoDataFrame(
                {"scene": scene.scene, "role": [area.role for area in areas]},
                geometry=[area.shape for area in areas],
            )
            coverage = LabelCoverage.from_areas(settle_presumed_empty(table, learned_from=()))
            answered[members] |= coverage.is_background_known(centers)
    return answered


def label_centers(labels: Sequence[Label]) -> Floats:
    """Return (M, 2) x, y of the middles of labels, px."""
    bounds = shapely.bounds(np.array([label.shape for label in labels], object)).reshape(-1, 4)
    return np.asarray((bounds[:, :2] + bounds[:, 2:]) / 2, np.float64)


def _is_label(centers: Floats, labels: Sequence[Label], *, of_points: float) -> Bools:
    """Return (N,) whether a label is at a center, by the rule of a verdict.

    Args:
        centers: (N, 2) of the detections, px.
        labels: of their scene.
        of_points: longer side that an object has whose label is a point, px.
    """
    found = np.zeros(len(centers), bool)
    bounds = shapely.bounds(np.array([label.shape for label in labels], object)).reshape(-1, 4)
    longer = (bounds[:, 2:] - bounds[:, :2]).max(axis=1, initial=0.0)
    reach = SIZE_SHARE * np.where(longer > 0, longer, of_points)
    found[pairs_by_center(centers, label_centers(labels), reach).detection] = True
    return found
