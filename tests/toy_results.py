"""Results of searches on real rasters: made-up detections with their table and summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_detections import columns_of
from windhover.detection.detect_scene import summarize_scene
from windhover.export.detection_summary import DetectionSummary
from windhover.imagery.scenes import open_scene
from windhover.inference.result_table import table_of_columns
from windhover.inference.search_results import SearchReport

BOX = (50, 60, 10, 20)


def searched(paths: list[Path], *rows: Any, gsd: float | None = None) -> tuple[Any, Any]:
    """Return the table and the summary of a search that found the same boxes in each scene."""
    parts = [columns_of(path, *rows, gsd=gsd) for path in paths]
    scenes = []
    for path, part in zip(paths, parts, strict=True):
        with open_scene(path, None, gsd) as scene:
            scenes.append(summarize_scene(scene, part, SearchReport(9, 0, 0.04)))
    summary = DetectionSummary.of_scenes(
        scenes, model="model", run="r", thresholds={"plane": 0.5}, search={}
    )
    return table_of_columns(parts), summary
