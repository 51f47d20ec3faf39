"""What a review is of: the detections of a result, or rasters alone, in px as delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from windhover.dataset.spatial_blocks import raster_name
from windhover.errors import MissingFileError
from windhover.export.detection_summary import SUMMARY, DetectionSummary, SceneSummary
from windhover.export.detections import load_table
from windhover.export.export_map import TABLE
from windhover.export.read_result import read_result
from windhover.geometry.arrays import Floats, Ints
from windhover.geometry.move_shapes import apply_affine
from windhover.imagery.rasters import inspect_scene
from windhover.labels.raster_names import RASTER_SUFFIXES
from windhover.review.label_state import scene_of_info
from windhover.review.placing import merged_scenes, review_scene
from windhover.review.review_record import ReviewScene


@dataclass(frozen=True)
class SearchResult:
    """What is reviewed.

    Attributes:
        summary: of the search, None for rasters that were not searched.
        scenes: rasters, by name.
        searched: name of a raster -> polygon that was searched, px.
        id: (N,) of the detections.
        scene: (N,) number of the raster.
        class_name: (N,).
        score: (N,).
        threshold: (N,) the operating point of the class; the search's own where the model had none.
        box: (N, 4) xyxy, px of the raster as delivered.
    """

    summary: DetectionSummary | None
    scenes: list[ReviewScene]
    searched: dict[str, BaseGeometry]
    id: NDArray[np.object_]
    scene: Ints
    class_name: NDArray[np.object_]
    score: Floats
    threshold: Floats
    box: Floats

    @property
    def centers(self) -> Floats:
        """(N, 2) x, y of the boxes."""
        return (self.box[:, :2] + self.box[:, 2:]) / 2

    def of_score(self, least: float) -> SearchResult:
        """Return the detections of a score, or above."""
        kept = self.score >= least
        names = ("id", "scene", "class_name", "score", "threshold", "box")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})


def read_search_result(path: Path) -> SearchResult:
    """Return the detections of a result in px of their rasters."""
    if path.is_dir():
        table = load_table(path / TABLE)
        summary = DetectionSummary.load(path / SUMMARY)
    elif path.is_file():
        table, summary = read_result(path)
    else:
        raise MissingFileError(f"{path}: no such file. Name a result of `windhover detect`.")
    scenes = merged_scenes([review_scene(scene) for scene in summary.scenes])
    numbers = {scene.scene: number for number, scene in enumerate(scenes)}
    names = table["scene"].map(raster_name)
    box = np.zeros((len(table), 4))
    for scene in summary.scenes:
        rows = np.flatnonzero((table["scene"] == scene.scene).to_numpy())
        box[rows] = shapely.bounds(_to_raster(table.geometry.to_numpy()[rows], scene))
    thresholds = summary.operating_point or summary.thresholds
    default = min(thresholds.values(), default=0.5)
    return SearchResult(
        summary=summary,
        scenes=scenes,
        searched=_searched_ground(summary),
        id=table["id"].to_numpy(object),
        scene=names.map(numbers).to_numpy(np.int64),
        class_name=table["class"].to_numpy(object),
        score=table["score"].to_numpy(np.float64),
        threshold=table["class"].map(thresholds).fillna(default).to_numpy(np.float64),
        box=box,
    )


def _to_raster(shapes: NDArray[np.object_], scene: SceneSummary) -> NDArray[np.object_]:
    """Return shapes of a searched scene in px of its raster as delivered."""
    to_px = Affine.translation(*scene.origin_px) @ ~scene.affine
    return np.asarray(apply_affine(shapes, to_px), object)


def _searched_ground(summary: DetectionSummary) -> dict[str, BaseGeometry]:
    """Return name of a raster -> the polygon of it that was searched, px."""
    parts: dict[str, list[BaseGeometry]] = {}
    for scene in summary.scenes:
        left, top = scene.origin_px
        piece = shapely.box(left, top, left + scene.width_px, top + scene.height_px)
        if scene.area_wkt is not None:
            area = np.array([shapely.from_wkt(scene.area_wkt)], object)
            piece = piece & _to_raster(area, scene)[0]
        parts.setdefault(raster_name(scene.scene), []).append(piece)
    return {name: shapely.union_all(pieces) for name, pieces in parts.items()}


def rasters_alone(rasters: Sequence[Path], gsd_m: float | None) -> SearchResult:
    """Return rasters without a detection.

    Args:
        rasters: rasters, or folders of rasters.
        gsd_m: of rasters without georeference.

    Raises:
        MissingFileError: no such raster, or a folder without one.
        DataError: scenes with and without georeference.
    """
    paths = [found for path in rasters for found in _rasters_at(path)]
    scenes = merged_scenes([scene_of_info(inspect_scene(path, gsd_m)) for path in paths])
    nothing = np.zeros(0)
    return SearchResult(
        summary=None,
        scenes=scenes,
        searched={scene.scene: scene.extent for scene in scenes},
        id=np.zeros(0, object),
        scene=np.zeros(0, np.int64),
        class_name=np.zeros(0, object),
        score=nothing,
        threshold=nothing,
        box=np.zeros((0, 4)),
    )


def _rasters_at(path: Path) -> list[Path]:
    """Return the raster at a path, or those of a folder.

    Raises:
        MissingFileError: there is none.
    """
    found = [path] if path.is_file() else []
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in RASTER_SUFFIXES)
    if not found:
        raise MissingFileError(f"{path}: no such raster, nor a folder of rasters. Name one.")
    return found
