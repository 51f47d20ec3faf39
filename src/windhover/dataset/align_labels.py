"""Alignment of labels with scenes: of any file -> boxes in the native pixels of the scenes.

Map coordinates go through the scene's coordinate system and its full affine, vertex by vertex, in
float. A label belongs to every scene that contains its center.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.dataset.catalog import BOX_COLUMNS
from windhover.errors import DataError
from windhover.geometry import antimeridian, georef
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.imagery.rasters import SceneInfo
from windhover.labels import RawLabels
from windhover.labels.table import NO_GEOMETRY, objects_array

SAME_PX = 1e-3  # two labels of one class whose boxes agree to this are one
CRS_CHARS = 40  # of a coordinate system that a message shows
UNKNOWN_IMAGE = "of an image that is not there"  # reasons in the report
OUTSIDE_RASTER = "centre outside the raster"

LabelSource = tuple[RawLabels, str]  # labels of a file, and the scene they belong to or ""


class LabelPiece(NamedTuple):
    """Labels of one file on one scene."""

    scene: str
    labels: RawLabels
    rows: Ints  # of the file
    geometry: NDArray[np.object_]  # native px of the scene


@dataclass(frozen=True)
class AlignedLabels:
    """Labels on their scenes.

    Attributes:
        labels: `scene`, `class` as in the file, `ignored`, `col`, `row`, `left`, `top`, `right`,
            `bottom`, `source`, `geometry`; native px, sorted by scene and position.
        covered_scenes: that a label file covers, also where it has no label.
        dropped: reason -> labels.
        n_labels_in_files: all of them.
        n_leaving: labels that reach beyond their raster.
        size_conflicts: a sentence for each image whose file states another size than the raster's.
    """

    labels: geopandas.GeoDataFrame
    covered_scenes: set[str]
    dropped: dict[str, int]
    n_labels_in_files: int
    n_leaving: int
    size_conflicts: list[str]


def align_labels(
    infos: list[SceneInfo],
    sources: Sequence[LabelSource],
    aliases: Mapping[str, str] | None = None,
) -> AlignedLabels:
    """Place labels on scenes.

    Args:
        infos: the scenes.
        sources: label files, each with the scene it belongs to, "" where the labels name it
            themselves.
        aliases: other names of scenes.

    Raises:
        DataError: there are labels, but none is on a scene.
    """
    by_name = {info.name: info for info in infos}
    aliases = aliases or {}
    pieces: list[LabelPiece] = []
    covered: set[str] = set()
    dropped: Counter[str] = Counter()
    for labels, scene in sources:
        dropped.update(labels.dropped)
        if labels.space == "map":
            on_scenes = [by_name[scene]] if scene else infos
            found = _pieces_on_map(labels, on_scenes, dropped)
            covered.update([scene] if scene else [piece.scene for piece in found])
        else:
            scene_of = _scenes_of_images(labels, by_name, scene, aliases=aliases)
            found = _pieces_in_pixels(labels, by_name, scene_of, dropped=dropped)
            covered |= set(scene_of.values()) - {""}
        pieces += found
    table = _table_of_pieces(pieces)
    is_inside, is_leaving = _inside_raster(table, by_name)
    dropped[OUTSIDE_RASTER] += int((~is_inside).sum())
    n_labels = sum(len(labels) for labels, _ in sources)
    _check_any_found(infos, sources, dropped, n_labels=n_labels, n_inside=int(is_inside.sum()))
    unique, n_repeated = _without_duplicates(table[is_inside])
    dropped["repeated"] += n_repeated
    return AlignedLabels(
        labels=unique.reset_index(drop=True),
        covered_scenes=covered,
        dropped=dict(sorted(dropped.items())),
        n_labels_in_files=n_labels,
        n_leaving=int(is_leaving[is_inside].sum()),
        size_conflicts=_size_conflicts(by_name, sources, aliases),
    )


def _check_any_found(
    infos: list[SceneInfo],
    sources: Sequence[LabelSource],
    dropped: Counter[str],
    *,
    n_labels: int,
    n_inside: int,
) -> None:
    """Check that labels are on scenes.

    Raises:
        DataError: none of the labels is.
    """
    if not n_labels and dropped[NO_GEOMETRY]:
        raise DataError(
            f"{sources[0][0].source}: none of the {dropped[NO_GEOMETRY]} labels has a shape: "
            "coordinates are missing, not finite, or end before they begin. Export the labels "
            "again."
        )
    if n_labels and not n_inside:
        labels = next(labels for labels, _ in sources if len(labels))
        if labels.space == "map":
            raise DataError(_sentence_on_map_labels(infos, labels))
        raise DataError(_sentence_on_image_labels(infos, labels, dropped))


def _size_conflicts(
    by_name: Mapping[str, SceneInfo], sources: Sequence[LabelSource], aliases: Mapping[str, str]
) -> list[str]:
    """Return a sentence for each image whose label file states another size than the raster's."""
    sentences = []
    for labels, scene in sources:
        for image, size in labels.image_sizes_wh.items():
            info = by_name.get(scene or _scene_of_image(image, by_name, aliases))
            if info is not None and size != (info.width_px, info.height_px):
                sentences.append(
                    f"{labels.source} says that {image} has {size[0]} x {size[1]} px, but the "
                    f"raster has {info.width_px} x {info.height_px}: its boxes may be of another "
                    "picture"
                )
    return sentences


def to_pixels(
    geometry: NDArray[np.object_], crs: str | None, info: SceneInfo
) -> NDArray[np.object_]:
    """Return map geometries in native px of a scene, vertex by vertex.

    Raises:
        DataError: exactly one of the two has a coordinate system.
    """
    _check_both_georeferenced(crs, info)
    to_scene = None
    if not georef.same_crs(crs, info.crs):
        to_scene = georef.transformer(str(crs), str(info.crs))
    middle = georef.pixel_to_world(info.transform, info.width_px / 2, info.height_px / 2)[0]
    in_degrees = georef.is_geographic(info.crs)

    def to_native_px(points: Floats) -> Floats:
        x, y = points[:, 0], points[:, 1]
        if to_scene is not None:
            x, y = to_scene.transform(x, y)
        if in_degrees:  # 181 is -179
            x = antimeridian.nearest_longitudes(x, middle)
        return np.stack(georef.world_to_pixel(info.transform, x, y), axis=1)

    moved: NDArray[np.object_] = shapely.transform(shapely.force_2d(geometry), to_native_px)
    return moved


def _check_both_georeferenced(crs: str | None, info: SceneInfo) -> None:
    """Check that labels and raster both have a coordinate system, or neither.

    Raises:
        DataError: exactly one of the two has one.
    """
    if (crs is None) == (info.crs is None):
        return
    without, other = "The label file", info.path
    if crs is not None:
        without, other = info.path, "the label file"
    raise DataError(
        f"{without} has no coordinate system but {other} has one, so they cannot be laid over "
        "each other. Give it its coordinate system."
    )


def _pieces_on_map(
    labels: RawLabels, infos: list[SceneInfo], dropped: Counter[str]
) -> list[LabelPiece]:
    """Return the pieces of a map layer on each scene; a layer for one scene is taken whole."""
    if len(infos) == 1:
        geometry = to_pixels(labels.geometry, labels.crs, infos[0])
        return [LabelPiece(infos[0].name, labels, np.arange(len(labels)), geometry)]
    candidates = _CandidateSearch(labels)
    is_used = np.zeros(len(labels), bool)
    pieces = []
    for info in infos:
        if (labels.crs is None) != (info.crs is None):
            continue
        rows = candidates.rows_near(info)
        if not len(rows):
            continue
        geometry = to_pixels(labels.geometry[rows], labels.crs, info)
        left, top, right, bottom = shapely.bounds(geometry).T
        is_on = _is_on_raster((left + right) / 2, (top + bottom) / 2, info.width_px, info.height_px)
        is_used[rows[is_on]] = True
        if is_on.any():
            pieces.append(LabelPiece(info.name, labels, rows[is_on], geometry[is_on]))
    dropped["on no scene"] += int((~is_used).sum())
    return pieces


class _CandidateSearch:
    """Finds the labels of a map layer that may be on a scene, by their centers."""

    def __init__(self, labels: RawLabels) -> None:
        self._n_labels = len(labels)
        self._crs = labels.crs
        self._in_degrees = georef.is_geographic(labels.crs)
        self._tree = shapely.STRtree(shapely.centroid(labels.geometry))
        # a shape from 179.9 to -179.9 has its center nowhere near
        self._always = np.zeros(0, np.int64)
        if self._in_degrees:
            self._always = np.flatnonzero(antimeridian.spans_half_globe(labels.geometry))

    def rows_near(self, info: SceneInfo) -> Ints:
        """Return the rows of the labels that may be on a scene."""
        extent = georef.extent_in_crs(
            info.transform, info.shape_hw, scene_crs=info.crs, crs=self._crs
        )
        if extent is None:
            return np.arange(self._n_labels)
        if self._in_degrees:
            extent = antimeridian.with_wrapped_copies(extent)
        return np.union1d(self._tree.query(extent), self._always)


def _is_on_raster(col: Floats, row: Floats, width: Any, height: Any) -> Bools:
    """Return which positions, px, are on a raster of a width and a height, px."""
    return np.asarray((col >= 0) & (col < width) & (row >= 0) & (row < height))


def _scenes_of_images(
    labels: RawLabels,
    by_name: Mapping[str, SceneInfo],
    scene: str,
    *,
    aliases: Mapping[str, str],
) -> dict[str, str]:
    """Return image -> scene of all images that a file names; "" where there is no such scene."""
    normalized = {unicodedata.normalize("NFC", name): info for name, info in by_name.items()}
    scene_of = {}
    for image in {*labels.images, *labels.image}:
        scene_of[image] = scene or _scene_of_image(str(image), normalized, aliases)
    return scene_of


def _pieces_in_pixels(
    labels: RawLabels,
    by_name: Mapping[str, SceneInfo],
    scene_of: Mapping[str, str],
    *,
    dropped: Counter[str],
) -> list[LabelPiece]:
    """Return the pieces of a file in pixels, by the image that each label names."""
    rows_of: dict[str, list[int]] = {}
    for row, image in enumerate(labels.image):
        rows_of.setdefault(scene_of[image], []).append(row)
    dropped[UNKNOWN_IMAGE] += len(rows_of.pop("", []))
    pieces = []
    for name, rows in rows_of.items():
        geometry = labels.geometry[rows]
        if labels.space == "fraction":
            geometry = _fractions_to_pixels(geometry, by_name[name])
        pieces.append(LabelPiece(name, labels, np.array(rows), geometry))
    return pieces


def _fractions_to_pixels(geometry: NDArray[np.object_], info: SceneInfo) -> NDArray[np.object_]:
    """Return shapes in fractions of an image's size as shapes in its px."""
    size = np.array([info.width_px, info.height_px], np.float64)
    return np.asarray(shapely.transform(geometry, lambda points: points * size), dtype=object)


def _scene_of_image(
    image: str, by_name: Mapping[str, SceneInfo], aliases: Mapping[str, str]
) -> str:
    """Return the scene that an image's name means, "" for none.

    It is the stem of the name, or its path joined as the names of clashing scenes are.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", image).replace("\\", "/"))
    stem = path.stem if path.suffix else path.name
    for name in (stem, path.name, "--".join(path.with_suffix("").parts)):
        if name in by_name:
            return by_name[name].name
    return aliases.get(stem, "")


def _table_of_pieces(pieces: list[LabelPiece]) -> geopandas.GeoDataFrame:
    """Return the labels of all pieces as one table."""
    scenes: list[str] = []
    classes: list[Any] = []
    is_ignored: list[bool] = []
    sources: list[str] = []
    shapes: list[Any] = []
    for piece in pieces:
        count = len(piece.rows)
        ignored = piece.labels.ignored
        scenes += [piece.scene] * count
        classes += piece.labels.class_name[piece.rows].tolist()
        is_ignored += [False] * count if ignored is None else ignored[piece.rows].tolist()
        sources += [piece.labels.source] * count
        shapes += piece.geometry.tolist()
    boxes = shapely.bounds(objects_array(shapes)).reshape(-1, 4)
    columns: dict[str, Any] = {
        "scene": objects_array(scenes),
        "class": objects_array(classes),
        "ignored": np.array(is_ignored, bool),
        "col": (boxes[:, 0] + boxes[:, 2]) / 2,
        "row": (boxes[:, 1] + boxes[:, 3]) / 2,
        "left": boxes[:, 0],
        "top": boxes[:, 1],
        "right": boxes[:, 2],
        "bottom": boxes[:, 3],
        "source": objects_array(sources),
    }
    table = geopandas.GeoDataFrame(columns, geometry=shapes, crs=None)
    return table.astype({"scene": "object", "class": "object", "source": "object"})


def _inside_raster(
    table: geopandas.GeoDataFrame, by_name: Mapping[str, SceneInfo]
) -> tuple[Bools, Bools]:
    """Return which labels have their center on the raster, and which reach beyond it."""
    widths = {name: info.width_px for name, info in by_name.items()}
    heights = {name: info.height_px for name, info in by_name.items()}
    width = table["scene"].map(widths).to_numpy(np.float64)
    height = table["scene"].map(heights).to_numpy(np.float64)
    col = table["col"].to_numpy(np.float64)
    row = table["row"].to_numpy(np.float64)
    left, top, right, bottom = table[list(BOX_COLUMNS)].to_numpy(np.float64).T
    is_leaving = (left < -SAME_PX) | (top < -SAME_PX)
    is_leaving |= (right > width + SAME_PX) | (bottom > height + SAME_PX)
    return _is_on_raster(col, row, width, height), is_leaving


def _without_duplicates(table: geopandas.GeoDataFrame) -> tuple[geopandas.GeoDataFrame, int]:
    """Return the labels sorted by scene and position, each once, and how many were dropped."""
    table = table.sort_values(["scene", "row", "col", "class"], kind="stable")
    key: pd.DataFrame = table[["scene", "class"]].copy()
    for name in BOX_COLUMNS:
        key[name] = (table[name] / SAME_PX).round()
    is_duplicate = key.duplicated()
    return table[~is_duplicate], int(is_duplicate.sum())


def drop_near_duplicates(
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
    is_dropped = np.zeros(len(labels), bool)
    edges = labels[list(BOX_COLUMNS)].to_numpy(np.float64)
    for rows in labels.groupby(["scene", "class"], sort=False).indices.values():
        for first, second in _overlapping_pairs(shapely.box(*edges[rows].T), iou):
            if not is_dropped[rows[first]]:
                is_dropped[rows[second]] = True
    return labels[~is_dropped].reset_index(drop=True), int(is_dropped.sum())


def _overlapping_pairs(boxes: NDArray[np.object_], iou: float) -> list[tuple[int, int]]:
    """Return the pairs of boxes, by number, that overlap more than an IoU; sorted, each once."""
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    is_once = first < second
    first = first[is_once]
    second = second[is_once]
    shared = shapely.area(shapely.intersection(boxes[first], boxes[second]))
    union = shapely.area(boxes[first]) + shapely.area(boxes[second]) - shared
    is_same = shared > iou * union
    return sorted(zip(first[is_same].tolist(), second[is_same].tolist(), strict=True))


def _sentence_on_image_labels(
    infos: list[SceneInfo], labels: RawLabels, dropped: Counter[str]
) -> str:
    """Return the error sentence for labels in pixels that are on no scene."""
    if dropped[UNKNOWN_IMAGE]:
        return (
            f"{labels.source}: none of its images is among the rasters (it names "
            f"{labels.image[0]!r}, the rasters are like {infos[0].name!r}). Bring the images it "
            "names."
        )
    return (
        f"{labels.source}: all labels lie outside their images. They may be of another size or in "
        "another unit: look at the file."
    )


def _sentence_on_map_labels(infos: list[SceneInfo], labels: RawLabels) -> str:
    """Return the error sentence for labels of another place, with the likeliest cause."""
    flipped = shapely.transform(labels.geometry, lambda points: points[:, ::-1])
    swapped = RawLabels(
        labels.source,
        labels.image,
        labels.class_name,
        geometry=flipped,
        space="map",
        crs=labels.crs,
    )
    # more than one scene, so that the labels are not taken whole
    if _pieces_on_map(swapped, [*infos, *infos[:1]], Counter()):
        return (
            f"{labels.source}: its labels lie on no scene, but would with x and y swapped. Write x "
            "(east, longitude) before y (north, latitude)."
        )
    bounds = ", ".join(f"{value:.6g}" for value in shapely.total_bounds(labels.geometry))
    first = infos[0]
    return (
        f"{labels.source}: its labels lie on no scene. They span {bounds} in "
        f"{(labels.crs or 'no coordinate system')[:CRS_CHARS]}; the first scene is {first.path} "
        f"in {(first.crs or 'a local grid')[:CRS_CHARS]}. They are of another place or their "
        "coordinate system is wrong: bring the labels of these rasters."
    )
