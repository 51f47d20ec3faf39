"""Which detections the labels of a project answer already, so that no row is asked for nothing."""

from __future__ import annotations

import geopandas
import numpy as np

from windhover.dataset.areas import settle_presumed_empty
from windhover.dataset.label_coverage import LabelCoverage
from windhover.geometry.arrays import Bools
from windhover.review.label_state import LabelState
from windhover.review.search_result import SearchResult
from windhover.review.update_labels import pairs_with_shapes


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
        labels = [label.shape for label in state.labels_of(scene.scene)]
        pairs = pairs_with_shapes(centers, labels, of_points=float(np.median(longer)))
        answered[members[pairs.detection]] = True
        if scene.scene in state.covered and not around_labels:
            areas = state.areas_of(scene.scene)
            table = geopandas.GeoDataFrame(
                {"scene": scene.scene, "role": [area.role for area in areas]},
                geometry=[area.shape for area in areas],
            )
            coverage = LabelCoverage.from_areas(settle_presumed_empty(table, learned_from=()))
            answered[members] |= coverage.is_background_known(centers)
    return answered
