"""Writes a collection: each object once, in a grid of GeoParquet files, with counts and manifest.

The folder is written aside and moved whole. Neither the order of the scenes nor how they were
searched changes a byte of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.collection.collected_objects import merge_views
from windhover.collection.collection_files import STAC, write_files
from windhover.collection.detection_spill import DetectionSpill
from windhover.collection.manifest import MANIFEST, FailedPart, Manifest
from windhover.collection.match_views import MergeLimits
from windhover.collection.seen_ground import SearchedGround
from windhover.errors import DataError, ParameterError
from windhover.export.collected_scene import CollectedScene, UnsearchedScene
from windhover.export.detection_summary import DetectionSummary
from windhover.files import atomic_folder, check_writable, is_json_with_keys
from windhover.geometry.georef import is_engineering, world_to_pixel

SPILL = ".detections.arrow"
BORDER_PX = 1.0  # a box that is nearer to its raster's border may go on beyond it


def write_collection(
    scenes: Iterable[CollectedScene],
    header: DetectionSummary,
    folder: Path,
    *,
    unsearched: Sequence[UnsearchedScene] = (),
    plan: Mapping[str, Any] | None = None,
    recalls: Mapping[str, float | None] | None = None,
    areas: Path | None = None,
) -> Manifest:
    """Merge the detections of overlapping scenes and write what is there, each object once.

    Args:
        scenes: that were searched, one at a time, in any order; each is asked for once.
        header: of the search; its scenes are not read.
        folder: to be written whole; an earlier collection in it is replaced.
        unsearched: rasters of which nothing was searched.
        plan: of the search, for the manifest.
        recalls: of each class at its threshold, for the probability of changes; None where
            unknown.
        areas: vector file of polygons to count objects in.

    Returns:
        what the manifest holds.

    Raises:
        ParameterError: the folder holds what is no collection.
        DataError: two scenes have one name, or only some have a place on Earth.
        FullDiskError: the disk has no room for it.
    """
    check_folder(folder)
    with atomic_folder(folder) as temporary:
        spill = DetectionSpill(temporary / SPILL)
        grounds, failed = _take_scenes(scenes, spill)
        limits = MergeLimits.of_search(header.search)
        objects = merge_views(spill, grounds, recalls or {}, limits)
        summary = header.of([ground.summary for ground in grounds])
        manifest = write_files(
            objects,
            summary,
            temporary,
            final=folder,
            unsearched=sorted(unsearched, key=lambda scene: (scene.scene, scene.path)),
            failed=failed,
            plan=plan,
            areas=areas,
        )
        (temporary / SPILL).unlink()
        manifest.save(temporary / MANIFEST)
    return manifest


def check_folder(folder: Path, inputs: Iterable[Path] = ()) -> None:
    """Raise if writing a collection to a folder would delete anything but an earlier one.

    Args:
        folder: it may be missing or empty.
        inputs: files and folders that are read.

    Raises:
        ParameterError: it holds an input, or anything that no collection wrote.
        FullDiskError: the disk is full.
    """
    check_writable(folder / MANIFEST)
    for kept in inputs:
        if kept.resolve().is_relative_to(folder.resolve()):
            raise ParameterError(
                f"{folder}: would be replaced whole, with {kept}, which is read. Name another "
                "folder."
            )
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not is_json_with_keys(folder / MANIFEST, ("found", "searched", "files")):
        raise ParameterError(
            f"{folder}: would be replaced whole, and is no collection of an earlier run. Name a "
            "folder that is new or empty."
        )
    if foreign := _foreign_file(folder):
        raise ParameterError(
            f"{folder}: would be replaced whole, and holds {foreign}, which is not of the earlier "
            "collection. Move it, or name a folder that is new."
        )


def _foreign_file(folder: Path) -> Path | None:
    """Return a file in the folder of a collection that the collection has not written."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    listed = content["files"] if isinstance(content["files"], list) else []
    own = {MANIFEST, *(file.get("path") for file in listed if isinstance(file, dict))}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_stac = name.parts[0] == STAC and path.suffix == ".json"
        if not (path.is_dir() or is_stac or name.as_posix() in own):
            return name
    return None


def _take_scenes(
    scenes: Iterable[CollectedScene], spill: DetectionSpill
) -> tuple[list[SearchedGround], list[FailedPart]]:
    """Spill the detections of all scenes, and return their ground in the order of their names.

    Raises:
        DataError: two scenes have one name, or only some have a place on Earth.
    """
    grounds = []
    failed = []
    with spill.writing():
        for number, scene in enumerate(scenes):
            grounds.append(SearchedGround.of(scene.summary, scene.mask))
            failed += _failed_parts(scene)
            spill.append(number, scene.detections, _cut_by_edge(scene))
    order = sorted(range(len(grounds)), key=lambda number: grounds[number].summary.scene)
    ordered = [grounds[number] for number in order]
    _check_scenes(ordered)
    new_number = {number: place for place, number in enumerate(order)}
    spill.renumber([new_number[number] for number in range(len(order))])
    return ordered, sorted(failed, key=lambda part: (part.scene, part.row_px, part.col_px))


def _cut_by_edge(scene: CollectedScene) -> NDArray[np.bool_]:
    """Return which detections (N,) may be of a part of an object: at the edge of their raster."""
    detections = scene.detections
    edge = np.asarray(detections["edge"], bool)
    boxes = detections["geometry"]
    if not len(edge):
        return edge
    summary = scene.summary
    coordinates, index = shapely.get_coordinates(boxes, return_index=True)
    cols, rows = world_to_pixel(summary.affine, *coordinates.T)
    beyond = (cols <= BORDER_PX) | (cols >= summary.width_px - BORDER_PX)
    beyond |= (rows <= BORDER_PX) | (rows >= summary.height_px - BORDER_PX)
    return edge | (np.bincount(index[beyond], minlength=len(edge)) > 0)


def _failed_parts(scene: CollectedScene) -> list[FailedPart]:
    """Return the parts of a scene that could not be read, with their area where it is known."""
    summary = scene.summary
    px_km2 = None
    if summary.gsd_m is not None and summary.km2 is not None:
        px_km2 = summary.gsd_m[0] * summary.gsd_m[1] / 1e6
    parts = []
    for block in scene.failed:
        km2 = None
        if px_km2 is not None:
            km2 = round(block.height_px * block.width_px * px_km2, 6)
        parts.append(
            FailedPart(
                scene=block.scene,
                row_px=block.row_px,
                col_px=block.col_px,
                height_px=block.height_px,
                width_px=block.width_px,
                km2=km2,
                reason=block.reason,
            )
        )
    return parts


def _check_scenes(grounds: Sequence[SearchedGround]) -> None:
    """Raise if scenes have one name or share no space.

    Raises:
        DataError: two have one name, or only some have a place on Earth.
    """
    names = [ground.summary.scene for ground in grounds]
    for before, name in pairwise(names):
        if before == name:
            raise DataError(
                f"{name}: two scenes have this name, so their objects cannot be told apart. Rename "
                "one of the rasters and search it again."
            )
    systems = [ground.summary.crs for ground in grounds]
    is_placed = [crs is not None and not is_engineering(crs) for crs in systems]
    if any(is_placed) and not all(is_placed):
        name = names[is_placed.index(False)]
        raise DataError(
            f"{name}: has no place on Earth and other scenes have one, so they cannot share one "
            "collection. Collect them apart."
        )
