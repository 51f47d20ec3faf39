"""The map page: one HTML file that opens offline, with imagery, detections, labels and a slider.

Leaflet draws the map; its file is taken from the package `xstatic-leaflet` when a page is written.
Equal inputs give equal bytes. Fetches nothing, and computes no detection.
"""

from __future__ import annotations

import base64
import html
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from numpy.typing import NDArray

from windhover.disk_space import check_space
from windhover.errors import DataError, WindhoverError
from windhover.export.detection_summary import DetectionSummary
from windhover.export.map_files import PAGE_HEAD
from windhover.export.map_imagery import (
    MIN_SIDE_PX,
    OVERLAY_PX,
    Overlay,
    read_chips,
    read_overlay,
    side_of_overlays,
)
from windhover.export.map_layout import Grid, Placement, corners_cm, place_scenes
from windhover.export.map_truth import MapTruth, no_truth
from windhover.files import atomic_file
from windhover.progress import counted
from windhover.rendering.images import evenly_chosen

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).with_name("templates")
LEAFLET_PACKAGE = "xstatic-leaflet"
MAX_CHIPS = 400
PAGE_BYTES = 1_000_000  # of a page without detections and imagery, about twice over
ROW_BYTES = 120
MAX_ROWS = 250_000  # detections; with more, the page of some 30 MB would open too slowly
MAX_SCENES_UINT16 = 65_535  # as the page's script has it
MAX_OVERLAYS = OVERLAY_PX // MIN_SIDE_PX**2  # scenes with a picture


@dataclass(frozen=True)
class MapContent:
    """What a page shows.

    Attributes:
        table: of detections, best first, each box in its own scene's coordinate system.
        summary: of the search.
        truth: what labels say of them.
        places: where each scene is.
        grid: `earth` or `plane`.
    """

    table: geopandas.GeoDataFrame
    summary: DetectionSummary
    truth: MapTruth
    places: Mapping[str, Placement]
    grid: Grid


def write_map_page(
    table: geopandas.GeoDataFrame,
    summary: DetectionSummary,
    path: str | Path,
    *,
    truth: MapTruth | None = None,
) -> None:
    """Write detections as a page for a browser, atomically.

    Args:
        table: of detections, each box in its own scene's coordinate system; either all
            georeferenced or all local.
        summary: of the search.
        path: of the page.
        truth: of the same detections; None where nothing is labelled.

    Raises:
        DataError: the package that ships Leaflet is not installed.
        FullDiskError: the disk has no room for it.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check_space(path, PAGE_BYTES + ROW_BYTES * min(len(table), MAX_ROWS))
    content = _content(table, summary, truth)
    data, notes = _page_data(content)
    if len(table) > MAX_ROWS:
        notes.insert(0, _note_on_rows(len(table)))
    values = {
        "title": html.escape(f"{counted(len(table), 'detection')} of {summary.model}"),
        "heading": html.escape(f"Detections by {summary.model}"),
        "leaflet_css": _leaflet("leaflet.css"),
        "css": _template("map.css"),
        "notes": "\n".join(f'<p class="note">{html.escape(note)}</p>' for note in notes),
        "licence": _template("leaflet_licence.txt").strip(),
        "leaflet_js": _leaflet("leaflet.js"),
        "data": json.dumps(data, allow_nan=False, ensure_ascii=False).replace("</", "<\\/"),
        "js": _template("map.js"),
    }
    page = _template("map.html")
    parts = []
    for piece in page.split("{{"):
        name, mark, rest = piece.partition("}}")
        parts.append(values[name] + rest if mark and name in values else piece)
    with atomic_file(path) as temporary:
        temporary.write_text(PAGE_HEAD + "".join(parts), encoding="utf-8")


def _content(
    table: geopandas.GeoDataFrame, summary: DetectionSummary, truth: MapTruth | None
) -> MapContent:
    """Return what a page shows, the detections best first."""
    if truth is None:
        truth = no_truth(len(table))
    order = np.argsort(-table["score"].to_numpy(np.float64), kind="stable")[:MAX_ROWS]
    is_local = bool(summary.scenes) and all(scene.crs is None for scene in summary.scenes)
    grid: Grid = "plane" if is_local else "earth"
    return MapContent(
        table=geopandas.GeoDataFrame(table.iloc[order].reset_index(drop=True)),
        summary=summary,
        truth=MapTruth(truth.outcome[order], truth.objects),
        places=place_scenes(summary.scenes, grid),
        grid=grid,
    )


def _note_on_rows(n_rows: int) -> str:
    """Return and log a sentence on detections that the page leaves out."""
    note = (
        f"The {MAX_ROWS:,} detections of the highest scores are shown, {n_rows - MAX_ROWS:,} are "
        "left out: every other format holds all."
    )
    logger.warning(note)
    return note


def _page_data(content: MapContent) -> tuple[dict[str, Any], list[str]]:
    """Return what the page's script reads, and sentences about the page."""
    table, summary = content.table, content.summary
    overlays, notes = _overlays(content)
    chips, chip_notes = _chips(content, overlays)
    classes = sorted({*summary.thresholds, *table["class"], *content.truth.objects["class"]})
    scene_index = {scene.scene: index for index, scene in enumerate(summary.scenes)}
    index_type = np.uint16 if len(summary.scenes) <= MAX_SCENES_UINT16 else np.uint32
    lowest = min(summary.thresholds.values(), default=0.0)
    place = table[["col", "row", "length_m", "width_m"]].to_numpy(np.float32)
    found = {
        "corners": _base64(_corners(table, content.places)),
        "score": _base64(table["score"].to_numpy(np.float32)),
        "place": _base64(place),
        "scene": _base64(_indices(table["scene"], scene_index, index_type)),
        "class": _base64(_indices(table["class"], _numbered(classes), np.uint8)),
        "outcome": _base64(content.truth.outcome),
        "id": table["id"].tolist(),
    }
    objects = geopandas.GeoDataFrame(content.truth.objects, geometry="geometry")
    truth = {
        "corners": _base64(_corners(objects, content.places)),
        "score": _base64(objects["found_score"].to_numpy(np.float32)),
        "scene": _base64(_indices(objects["scene"], scene_index, index_type)),
        "class": _base64(_indices(objects["class"], _numbered(classes), np.uint8)),
    }
    data = {
        "crs": content.grid,
        "is_metric": all(scene.gsd_m is not None for scene in summary.scenes),
        "min_score": float(np.float32(np.floor(lowest * 1000) / 1000)),
        "has_truth": bool(content.truth.outcome.any() or len(objects)),
        "classes": classes,
        "scenes": _scenes(content, overlays),
        "found": found,
        "truth": truth,
        "chips": chips,
    }
    return data, [*_sentences(content, len(chips)), *notes, *chip_notes, *summary.notes]


def _scenes(content: MapContent, overlays: Mapping[str, Overlay]) -> list[dict[str, Any]]:
    """Return the scenes as the page's script reads them."""
    scenes = []
    for scene in content.summary.scenes:
        place = content.places[scene.scene]
        entry: dict[str, Any] = {
            "name": scene.scene,
            "split": scene.split,
            "acquired": scene.acquired,
            "outline": [place.outline.round(2).tolist()],
            "bounds": place.bounds,
        }
        if scene.scene in overlays:
            overlay = overlays[scene.scene]
            entry["image"] = overlay.data_uri
            entry["image_bounds"] = overlay.bounds
        scenes.append(entry)
    return scenes


def _overlays(content: MapContent) -> tuple[dict[str, Overlay], list[str]]:
    """Return the pictures of the scenes that can be read, and a sentence on the others."""
    shown = _scenes_with_imagery(content)
    side_px = side_of_overlays(len(shown))
    overlays = {}
    reasons = []
    for name in shown:
        try:
            overlays[name] = read_overlay(content.places[name], side_px)
        except WindhoverError as error:
            reasons.append(error.sentence())
    notes = []
    if len(shown) < len(content.places):
        notes.append(
            f"Imagery of {len(shown):,} of {len(content.places):,} scenes, those with the most "
            "detections, so that the page opens."
        )
    if reasons:
        notes.append(f"No imagery of {counted(len(reasons), 'scene')}: {reasons[0]}")
    for note in notes:
        logger.warning(note)
    return overlays, notes


def _scenes_with_imagery(content: MapContent) -> list[str]:
    """Return the scenes that get a picture, in their order: those with the most detections."""
    names = list(content.places)
    if len(names) <= MAX_OVERLAYS:
        return names
    counts = content.table["scene"].value_counts()
    best = sorted(names, key=lambda name: -int(counts.get(name, 0)))[:MAX_OVERLAYS]
    chosen = set(best)
    return [name for name in names if name in chosen]


def _chips(
    content: MapContent, overlays: Mapping[str, Overlay]
) -> tuple[dict[str, str], list[str]]:
    """Return pictures of some detections by their row, spread evenly over the scores.

    And a sentence on scenes whose pictures cannot be read: an overlay may come from an overview of
    a damaged file.
    """
    table = content.table
    chosen = table.iloc[evenly_chosen(len(table), MAX_CHIPS)]
    chips: dict[str, str] = {}
    reasons = []
    for name, rows in chosen.groupby("scene", sort=False):
        if name not in overlays:
            continue
        scene = content.places[str(name)].scene
        gsd_m = 1.0 if scene.gsd_m is None else min(scene.gsd_m)
        sides = np.nan_to_num(rows["length_m"].to_numpy(np.float64), nan=0.0) / gsd_m
        centers = list(zip(rows["col"], rows["row"], strict=True))
        try:
            pictures = read_chips(scene, centers, sides.tolist(), overlays[str(name)].value_range)
        except WindhoverError as error:
            reasons.append(error.sentence())
            continue
        chips |= dict(zip(map(str, rows.index), pictures, strict=True))
    notes = []
    if reasons:
        scenes = counted(len(reasons), "scene")
        notes.append(f"No pictures of the detections of {scenes}: {reasons[0]}")
        logger.warning(notes[0])
    return chips, notes


def _corners(table: geopandas.GeoDataFrame, places: Mapping[str, Placement]) -> NDArray[np.int32]:
    """Return the corners (N, 8) of each row's box on the map, centimetres."""
    corners = np.zeros((len(table), 8), np.int32)
    shapes = table.geometry.to_numpy()
    for name, rows in table.groupby("scene", sort=False).indices.items():
        corners[rows] = corners_cm(shapes[rows], places[str(name)])
    return corners


def _sentences(content: MapContent, n_chips: int) -> list[str]:
    """Return what a reader of the page must know."""
    meaning = (
        "The score is the calibrated probability that a detection is an object; the expected "
        "precision is the mean score of what is shown."
    )
    lines = [meaning]
    if content.grid == "plane":
        lines.append(
            "These scenes have no georeference: they are laid out side by side, not where they are."
        )
    if content.truth.outcome.any() or len(content.truth.objects):
        lines.append(
            "Correct: the centre within half of a labelled object's longer side. Results on train "
            "and val prove little."
        )
    if 0 < n_chips < len(content.table):
        lines.append(f"{n_chips} detections, spread over the scores, have a picture.")
    return lines


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _indices(names: Any, numbers: Mapping[str, int], dtype: Any) -> NDArray[Any]:
    """Return the number of each name."""
    return np.array([numbers[name] for name in names], dtype)


def _base64(values: NDArray[Any]) -> str:
    """Return an array's bytes, little-endian, as a text."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode()


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _leaflet(name: str) -> str:
    """Return a file of Leaflet.

    Raises:
        DataError: the package that ships it is not installed, or is another one.
    """
    try:
        files = metadata.files(LEAFLET_PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name:
            return Path(str(file.locate())).read_text(encoding="utf-8").partition("//# source")[0]
    raise DataError(
        f"a map page needs {name} of the package {LEAFLET_PACKAGE}, which is not installed. "
        f"Install it: pip install {LEAFLET_PACKAGE}."
    )
