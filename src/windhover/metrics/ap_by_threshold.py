"""AP under many rules of nearness at once: centres nearer and nearer, boxes that overlap more and
more, and the means.

One rule flatters a detector that finds but does not fit, another one that fits what it finds; a row
for each tells. Points only, without intervals. Refuses to choose between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from windhover.metrics.detection_metrics import Drawn, draw, tally_class
from windhover.metrics.ground_truth import Ground
from windhover.metrics.match_detections import Match, MatchBy, judge_many
from windhover.metrics.score_curve import average_precision

SWEEP: dict[MatchBy, tuple[float, ...]] = {
    "size": (0.1, 0.2, 0.3, 0.4, 0.5),
    "distance": (2.0, 4.0, 8.0, 16.0),
    "iou": tuple(round(0.5 + 0.05 * step, 2) for step in range(10)),  # COCO's (Lin 2014)
    "oriented_iou": tuple(round(0.5 + 0.05 * step, 2) for step in range(10)),
}


def sweep(
    found: pd.DataFrame,
    ground: Ground,
    classes: Sequence[str],
    by: MatchBy,
    values: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Return AP, its mean over classes, for each value of one kind of nearness, and a last row
    `mean`.

    Args:
        found: as `windhover.metrics.detection_metrics.judge` takes it.
        ground: the truth.
        classes: whose APs are averaged.
        by: kind of nearness.
        values: its values; `SWEEP` by default.

    Returns:
        `by`, `value` (NaN in the row of the mean), `ap` (NaN without objects).
    """
    wanted = tuple(values or SWEEP[by])
    drawn = draw(ground.scenes, 0, 0)
    matches = [Match(by, value) for value in wanted]
    aps = [
        _mean_ap(judged, ground, classes, drawn) for judged in judge_many(found, ground, matches)
    ]
    rows = [(by, value, ap) for value, ap in zip(wanted, aps, strict=True)]
    known = [ap for ap in aps if np.isfinite(ap)]
    return pd.DataFrame(
        [*rows, (by, np.nan, np.mean(known) if known else np.nan)], columns=["by", "value", "ap"]
    )


def _mean_ap(judged: pd.DataFrame, ground: Ground, classes: Sequence[str], drawn: Drawn) -> float:
    aps = [
        average_precision(tally_class(judged, ground, drawn, name).curve())[0] for name in classes
    ]
    known = [float(ap) for ap in aps if np.isfinite(ap)]
    return float(np.mean(known)) if known else float("nan")
