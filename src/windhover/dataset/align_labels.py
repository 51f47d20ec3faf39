"""Labels of any file -> boxes in the native pixels of the scenes they lie on.

Map coordinates go through the scene's coordinate system and its full affine, vertex by vertex, in
float. A label belongs to every scene that its centre lies on.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.errors import DataError
from windhover.geometry import georef
from windhover.imagery.rasters import SceneInfo
from windhover.labels import RawLabels
from windhover.labels.table import NO_GEOMETRY, objects_array

SAME_PX = 1e-3  # two labels of one class whose boxes agree to this are one
Piece = tuple[
    str, RawLabels, NDArray[np.int64], NDArray[np.object_]
]  # scene, file, rows of the file, geometry in native px


def locate_labels(
    infos: list[SceneInfo],
    sources: list[tuple[RawLabels, str]],
    aliases: Mapping[str, str] | None = None,
) -> tuple[geopandas.GeoDataFrame, set[str], dict[str, Any]]:
    """Put labels on scenes.

    Args:
        infos: the scenes.
        sources: label files, each with the scene it speaks of, "" where the labels say so
            themselves.
        aliases: other names of scenes.

    Returns:
        The labels (scene, class, ignored, col, row, left, top, right, bottom, source, geometry;
        native px), sorted by scene and position; the scenes that a file speaks of; and counts for
        the report.

    Raises:
        DataError: there are labels, but none lies on a scene.
    """
    by_name = {info.name: info for info in infos}
    pieces: list[Piece] = []
    spoken_of: set[str] = set()
    dropped: Counter[str] = Counter()
    for labels, scene in sources:
        dropped.update(labels.dropped)
        if labels.space == "map":
            found = _on_map(labels, [by_name[scene]] if scene else infos, dropped)
            spoken_of |= {scene} if scene else {name for name, *_ in found}
        else:
            found, named = _in_pixels(labels, by_name, scene, aliases or {}, dropped)
            spoken_of |= named
        pieces += found
    total = sum(len(labels) for labels, _ in sources)
    table = _table(pieces)
    inside, leaving = _inside(table, by_name)
    dropped["centre outside the raster"] += int((~inside).sum())
    table = table[inside]
    if not total and dropped[NO_GEOMETRY]:
        raise DataError(
            f"{sources[0][0].source}: none of the {dropped[NO_GEOMETRY]} labels has a shape: coordinates are missing, "
            "not finite, or end before they begin. Export the labels again."
        )
    if total and table.empty:
        raise DataError(_nothing_fits(infos, sources, dropped))
    table, repeated = _without_repeats(table)
    dropped["repeated"] += repeated
    report = {
        "sizes_that_differ": _other_sizes(by_name, sources, aliases or {}),
        "label_files": len(sources),
        "labels_in_files": total,
        "dropped": dict(sorted(dropped.items())),
        "leaving_the_raster": int(leaving[inside].sum()),
    }
    return table.reset_index(drop=True), spoken_of, report


def _other_sizes(
    by_name: Mapping[str, SceneInfo],
    sources: list[tuple[RawLabels, str]],
    aliases: Mapping[str, str],
) -> list[str]:
    """Return a sentence for each image that a label file says to be of another size than the raster
    is.
    """
    sentences = []
    for labels, scene in sources:
        for image, size in labels.sizes.items():
            info = by_name.get(scene or _scene_of(image, by_name, aliases))
            if info is not None and size != (info.width_px, info.height_px):
                sentences.append(
                    f"{labels.source} says that {image} has {size[0]} x {size[1]} px, but the raster has "
                    f"{info.width_px} x {info.height_px}: its boxes may be of another picture"
                )
    return sentences


def to_pixels(
    geometry: NDArray[np.object_], crs: str | None, info: SceneInfo
) -> NDArray[np.object_]:
    """Return map geometries in native px of a scene, vertex by vertex.

    Raises:
        DataError: exactly one of the two has a coordinate system.
    """
    if (crs is None) != (info.crs is None):
        without, other = (
            ("The label file", info.path) if crs is None else (info.path, "the label file")
        )
        raise DataError(
            f"{without} has no coordinate system but {other} has one, so they cannot be laid over "
            "each other. Give it its coordinate system."
        )
    to_scene = (
        None if georef.same_crs(crs, info.crs) else georef.transformer(str(crs), str(info.crs))
    )
    middle = georef.pixel_to_world(info.transform, info.width_px / 2, info.height_px / 2)[0]
    turn = 360.0 if georef.is_geographic(info.crs) else None

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points[:, 0], points[:, 1]
        if to_scene is not None:
            x, y = to_scene.transform(x, y)
        if turn is not None:  # 181 is -179: the way of writing it that is nearer to the scene
            x = x + turn * np.round((middle - x) / turn)
        return np.stack(georef.world_to_pixel(info.transform, x, y), axis=1)

    moved: NDArray[np.object_] = shapely.transform(shapely.force_2d(geometry), place)
    return moved


def _on_map(labels: RawLabels, infos: list[SceneInfo], dropped: Counter[str]) -> list[Piece]:
    """Return the pieces of a map layer on each scene; a layer for one scene is taken whole."""
    if len(infos) == 1:
        return [
            (
                infos[0].name,
                labels,
                np.arange(len(labels)),
                to_pixels(labels.geometry, labels.crs, infos[0]),
            )
        ]
    centers = shapely.centroid(labels.geometry)
    tree = shapely.STRtree(centers)
    pieces = []
    used = np.zeros(len(labels), bool)
    round_the_globe = (
        georef.is_geographic(labels.crs)
        and np.ptp(shapely.bounds(labels.geometry)[:, ::2], axis=1) > 180
    )
    for info in infos:
        if (labels.crs is None) != (info.crs is None):
            continue
        outline = georef.outline_in(info.transform, info.shape_hw, info.crs, labels.crs)
        if outline is not None and georef.is_geographic(labels.crs):
            outline = georef.with_turns(outline)
        rows = np.arange(len(labels))
        if outline is not None:  # a shape from 179.9 to -179.9 has its centre nowhere near
            rows = np.union1d(tree.query(outline), np.flatnonzero(round_the_globe))
        if len(rows):
            geometry = to_pixels(labels.geometry[rows], labels.crs, info)
            middle = shapely.bounds(geometry)
            col, row = (middle[:, 0] + middle[:, 2]) / 2, (middle[:, 1] + middle[:, 3]) / 2
            on = (col >= 0) & (col < info.width_px) & (row >= 0) & (row < info.height_px)
            used[rows[on]] = True
            if on.any():
                pieces.append((info.name, labels, rows[on], geometry[on]))
    dropped["on no scene"] += int((~used).sum())
    return pieces


def _in_pixels(
    labels: RawLabels,
    by_name: dict[str, SceneInfo],
    scene: str,
    aliases: Mapping[str, str],
    dropped: Counter[str],
) -> tuple[list[Piece], set[str]]:
    """Return the pieces of a file in pixels by the image that each label names, and the scenes that
    it names.
    """
    known = {unicodedata.normalize("NFC", name): info for name, info in by_name.items()}
    names = {
        image: scene or _scene_of(str(image), known, aliases)
        for image in {*labels.images, *labels.image}
    }
    rows_of: dict[str, list[int]] = {}
    for row, image in enumerate(labels.image):
        rows_of.setdefault(names[image], []).append(row)
    dropped["of an image that is not there"] += len(rows_of.pop("", []))
    pieces = []
    for name, rows in rows_of.items():
        geometry = labels.geometry[rows]
        if labels.space == "fraction":
            geometry = _scaled(geometry, by_name[name])
        pieces.append((name, labels, np.array(rows), geometry))
    return pieces, set(names.values()) - {""}


def _scaled(geometry: NDArray[np.object_], info: SceneInfo) -> NDArray[np.object_]:
    """Return fractions of an image's size as its px."""
    size = np.array([info.width_px, info.height_px], np.float64)
    return np.asarray(shapely.transform(geometry, lambda points: points * size), dtype=object)


def _scene_of(image: str, by_name: Mapping[str, SceneInfo], aliases: Mapping[str, str]) -> str:
    """Return the scene that an image name means: its stem, or its path joined as clashing names
    are; "" for none.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", image).replace("\\", "/"))
    stem = path.stem if path.suffix else path.name
    for name in (stem, path.name, "--".join(path.with_suffix("").parts)):
        if name in by_name:
            return by_name[name].name
    return aliases.get(stem, "")


def _table(pieces: list[Piece]) -> geopandas.GeoDataFrame:
    counts = [len(rows) for _, _, rows, _ in pieces]
    geometry = np.concatenate([shapes for *_, shapes in pieces]) if pieces else objects_array([])
    boxes = shapely.bounds(geometry).reshape(-1, 4)
    ignored = [
        np.zeros(len(rows), bool) if raw.ignored is None else raw.ignored[rows]
        for _, raw, rows, _ in pieces
    ]
    columns: dict[str, Any] = {
        "scene": np.repeat(objects_array([name for name, *_ in pieces]), counts),
        "class": np.concatenate([raw.klass[rows] for _, raw, rows, _ in pieces])
        if pieces
        else objects_array([]),
        "ignored": np.concatenate(ignored) if pieces else np.zeros(0, bool),
        "col": (boxes[:, 0] + boxes[:, 2]) / 2,
        "row": (boxes[:, 1] + boxes[:, 3]) / 2,
        "left": boxes[:, 0],
        "top": boxes[:, 1],
        "right": boxes[:, 2],
        "bottom": boxes[:, 3],
        "source": np.repeat(objects_array([raw.source for _, raw, *_ in pieces]), counts),
    }
    table = geopandas.GeoDataFrame(columns, geometry=list(geometry), crs=None)
    return table.astype({"scene": "object", "class": "object", "source": "object"})


def _inside(
    table: geopandas.GeoDataFrame, by_name: dict[str, SceneInfo]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which labels have their centre on the raster, and which reach beyond it."""
    width = (
        table["scene"]
        .map({name: info.width_px for name, info in by_name.items()})
        .to_numpy(np.float64)
    )
    height = (
        table["scene"]
        .map({name: info.height_px for name, info in by_name.items()})
        .to_numpy(np.float64)
    )
    col, row = table["col"].to_numpy(np.float64), table["row"].to_numpy(np.float64)
    left, top, right, bottom = (
        table[name].to_numpy(np.float64) for name in ("left", "top", "right", "bottom")
    )
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    return inside, (left < -SAME_PX) | (top < -SAME_PX) | (right > width + SAME_PX) | (
        bottom > height + SAME_PX
    )


def _without_repeats(table: geopandas.GeoDataFrame) -> tuple[geopandas.GeoDataFrame, int]:
    """Return the labels sorted by scene and position, each once."""
    table = table.sort_values(["scene", "row", "col", "class"], kind="stable")
    key = table[["scene", "class"]].copy()
    for name in ("left", "top", "right", "bottom"):
        key[name] = (table[name] / SAME_PX).round()
    again = key.duplicated()
    return table[~again], int(again.sum())


def drop_near_repeats(
    labels: geopandas.GeoDataFrame, iou: float
) -> tuple[geopandas.GeoDataFrame, int]:
    """Return the labels without those that mark an object again; of two, the first in order stays.

    Hand-made labels often mark one object twice with slightly different boxes. Two of them cost
    every detector recall that nothing can win back, so they are dropped where that is asked for,
    and counted.

    Args:
        labels: of all scenes, with boxes in native px.
        iou: boxes of one class in one scene that overlap more than this are one object; 1 keeps
            all.

    Returns:
        The labels that stay, and how many were dropped.
    """
    if iou >= 1 or labels.empty:
        return labels, 0
    again = np.zeros(len(labels), bool)
    edges = labels[["left", "top", "right", "bottom"]].to_numpy(np.float64)
    for rows in labels.groupby(["scene", "class"], sort=False).indices.values():
        boxes = shapely.box(*edges[rows].T)
        first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
        first, second = first[first < second], second[first < second]
        shared = shapely.area(shapely.intersection(boxes[first], boxes[second]))
        together = shapely.area(boxes[first]) + shapely.area(boxes[second]) - shared
        pairs = sorted(
            zip(*(index[shared > iou * together] for index in (first, second)), strict=True)
        )
        for one, other in pairs:
            if not again[rows[one]]:
                again[rows[other]] = True
    return labels[~again].reset_index(drop=True), int(again.sum())


def _nothing_fits(
    infos: list[SceneInfo], sources: list[tuple[RawLabels, str]], dropped: Counter[str]
) -> str:
    """Return the sentence for labels of another place, with the likeliest cause."""
    labels = next(labels for labels, _ in sources if len(labels))
    if labels.space != "map":
        if dropped["of an image that is not there"]:
            first, known = labels.image[0], infos[0].name
            return (
                f"{labels.source}: none of its images is among the rasters (it names {first!r}, the "
                f"rasters are like {known!r}). Bring the images it names."
            )
        return (
            f"{labels.source}: all labels lie outside their images. They may be of another size or in "
            "another unit: look at the file."
        )
    flipped = shapely.transform(labels.geometry, lambda points: points[:, ::-1])
    swapped = RawLabels(labels.source, labels.image, labels.klass, flipped, "map", labels.crs)
    if _on_map(swapped, [*infos, *infos[:1]], Counter()):
        return (
            f"{labels.source}: its labels lie on no scene, but would with x and y swapped. Write x (east, "
            "longitude) before y (north, latitude)."
        )
    bounds = ", ".join(f"{value:.6g}" for value in shapely.total_bounds(labels.geometry))
    return (
        f"{labels.source}: its labels lie on no scene. They span {bounds} in "
        f"{(labels.crs or 'no coordinate system')[:40]}; the first scene is {infos[0].path} "
        f"in {(infos[0].crs or 'a local grid')[:40]}. They are of another place or their coordinate "
        "system is wrong: bring the labels of these rasters."
    )
