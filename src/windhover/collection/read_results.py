"""Files that `windhover detect` wrote as scenes of a collection; searches and merges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import geopandas
import numpy as np

from windhover.collection.match_views import MergeLimits
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

    One file is held in memory at once. Neither scenes nor search depend on the order of the files.

    Args:
        paths: of GeoParquet files or GeoPackages of `windhover detect`, one or more.

    Raises:
        MissingFileError: one is not there.
        FormatError: one is no such file, or damaged.
        DataError: two are of different models, thresholds or limits of merging.
    """
    summaries = [read_summary(path) for path in paths]
    for path, summary in zip(paths, summaries, strict=True):
        _check_same(path, summary, paths[0], summaries[0])
    return _scenes(paths), _shared_search(summaries)


def _check_same(
    path: Path, summary: DetectionSummary, first_path: Path, first: DetectionSummary
) -> None:
    """Raise if the detections of two results cannot be put together.

    Raises:
        DataError: so.
    """
    if (summary.model, summary.thresholds) != (first.model, first.thresholds):
        raise DataError(
            f"{path}: is of the model {summary.model} at {summary.thresholds}, and {first_path} "
            f"of {first.model} at {first.thresholds}: their scores mean different things. "
            "Search both by one model, or collect them apart."
        )
    limits = MergeLimits.of_search(summary.search)
    first_limits = MergeLimits.of_search(first.search)
    if limits != first_limits:
        raise DataError(
            f"{path}: its detections were merged at a distance of {limits.distance:g} and an IoU "
            f"of {limits.iou:g}, those of {first_path} at {first_limits.distance:g} and "
            f"{first_limits.iou:g}. Search both with the same settings, or collect them apart."
        )


def _shared_search(summaries: Sequence[DetectionSummary]) -> DetectionSummary:
    """Return the search of several results, without scenes: what differs is listed or left out."""
    first = min(summaries, key=lambda summary: summary.run)
    search = {
        name: value
        for name, value in first.search.items()
        if all(summary.search.get(name) == value for summary in summaries)
    }
    return DetectionSummary.of_scenes(
        [],
        model=first.model,
        run=", ".join(sorted({summary.run for summary in summaries})),
        program=", ".join(sorted({summary.program for summary in summaries})),
        thresholds=first.thresholds,
        operating_point=first.operating_point,
        search=search,
        notes=sorted({note for summary in summaries for note in summary.notes}),
    )


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
