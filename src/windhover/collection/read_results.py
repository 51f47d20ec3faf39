"""Files that `windhover detect` wrote as scenes of a collection; searches and merges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import geopandas
import numpy as np

from windhover.errors import DataError
from windhover.export.collected_scene import CollectedScene
from windhover.export.detection_summary import DetectionSummary, SceneSummary
from windhover.export.detections import read_summary
from windhover.export.read_result import read_result
from windhover.imagery.ground_mask import GroundMask
from windhover.inference.detection_columns import DetectionColumns


def collected_scenes(
    paths: Sequence[Path],
) -> tuple[Iterator[CollectedScene], DetectionSummary]:
    """Return the scenes of results, one at a time, and the search they share.

    One file is held in memory at once.

    Args:
        paths: of GeoParquet files or GeoPackages of `windhover detect`, one or more.

    Raises:
        FormatError: one is none of them, or damaged.
        DataError: two are of different models or thresholds.
    """
    summaries = [read_summary(path) for path in paths]
    header = summaries[0]
    for path, summary in zip(paths, summaries, strict=True):
        if (summary.model, summary.thresholds) != (header.model, header.thresholds):
            raise DataError(
                f"{path}: is of the model {summary.model} at {summary.thresholds}, and {paths[0]} "
                f"of {header.model} at {header.thresholds}: their scores mean different things. "
                "Search both by one model, or collect them apart."
            )
    return _scenes(paths), header


def _scenes(paths: Sequence[Path]) -> Iterator[CollectedScene]:
    """Yield the scenes of results."""
    for path in paths:
        table, summary = read_result(path)
        rows_of_scene = table.groupby("scene", sort=False).indices
        for scene in summary.scenes:
            rows = np.asarray(rows_of_scene.get(scene.scene, ()), np.int64)
            yield CollectedScene(scene, _columns(table.iloc[rows]), mask=_mask(scene))


def _columns(table: geopandas.GeoDataFrame) -> DetectionColumns:
    """Return rows as plain columns."""
    columns: DetectionColumns = {}
    for name in table:
        if name == "geometry":
            columns[name] = np.asarray(table.geometry.to_numpy(), object)
        elif table[name].dtype.kind in "fb":
            columns[name] = table[name].to_numpy()
        else:
            columns[name] = table[name].astype(object).where(table[name].notna(), None).to_numpy()
    return columns


def _mask(scene: SceneSummary) -> GroundMask | None:
    """Return the mask that a scene was searched with."""
    if scene.clear is None:
        return None
    values = scene.clear.values
    return GroundMask(scene.clear.mask, None if values is None else frozenset(values))
