"""The detections of val and test as `detect` would write them, each with its outcome.

One schema for both stages: a detection of the evaluation has the id, place and score that the
finished model gives it in a search. Matches nothing: `windhover.metrics.match_detections` did.
"""

from __future__ import annotations

from collections.abc import Mapping

import geopandas
import numpy as np
import pandas as pd

from windhover.inference.detection_columns import COLUMNS, SCENE_CRS, SPLIT, detection_ids
from windhover.inference.result_table import empty_result_table

OUTCOMES = ("is_tp", "ignored")


def evaluated_detections(
    found: Mapping[str, geopandas.GeoDataFrame],
    matches: Mapping[str, pd.DataFrame],
    *,
    model: str,
    run: str,
    thresholds: Mapping[str, float],
) -> geopandas.GeoDataFrame:
    """Return the detections of several splits in the schema of results, with `OUTCOMES`.

    Args:
        found: by split, from `SearchedSplit`.
        matches: by split, with calibrated scores and `found_row`.
        model: name of the finished model.
        run: name of a search with it.
        thresholds: score that is reported, by class; detections below it are rows too.

    Returns:
        `COLUMNS`, `split`, `is_tp`, `ignored` and `scene_crs`, each box in its own scene's system;
        in falling score within a split.
    """
    parts = []
    for split, table in found.items():
        matched = matches[split]
        rows = table.iloc[matched["found_row"].to_numpy(np.int64)].reset_index(drop=True)
        rows = rows.assign(
            score=matched["score"].to_numpy(np.float64),
            model=pd.Series([model] * len(rows), dtype="str"),
            run=pd.Series([run] * len(rows), dtype="str"),
            threshold=rows["class"].map(dict(thresholds)).astype(float),
            split=pd.Series([split] * len(rows), dtype="str"),
            **{name: matched[name].to_numpy(bool) for name in OUTCOMES},
        )
        rows["id"] = _ids(rows, model)
        parts.append(rows)
    columns = [*COLUMNS, SPLIT, *OUTCOMES, SCENE_CRS]
    filled = [part for part in parts if len(part)]
    if not filled:
        empty = empty_result_table()
        nothing = {name: np.zeros(0, bool) for name in OUTCOMES}
        return empty.assign(**{SPLIT: pd.Series([], dtype="str")}, **nothing)[columns]
    return geopandas.GeoDataFrame(pd.concat(filled, ignore_index=True)[columns])


def _ids(rows: pd.DataFrame, model: str) -> pd.Series[str]:
    """Return the id of each row; of equal places the better one has the plain id."""
    ids = pd.Series("", index=rows.index, dtype="str")
    for scene, part in rows.groupby("scene", sort=False):
        ids[part.index] = detection_ids(
            model,
            str(scene),
            part["class"].to_numpy(object),
            cols=part["col"].to_numpy(np.float64),
            rows=part["row"].to_numpy(np.float64),
        )
    return ids
