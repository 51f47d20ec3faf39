"""Alignment of labels with scenes: of any file -> boxes in the native pixels of the scenes.

Map coordinates go through the scene's coordinate system and its full affine, vertex by vertex, in
float. A label belongs to every scene that contains its center.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from windhover.dataset.catalog_tables import BOX_COLUMNS
from windhover.dataset.label_pieces import LabelPiece, is_on_raster, pieces_on_map
from windhover.errors import DataError
from windhover.geometry.arrays import Bools
from windhover.geometry.move_shapes import swap_axes
from windhover.imagery.rasters import SceneInfo
from windhover.labels.raster_names import RasterNames, ResolvedNames
from windhover.labels.table import NO_GEOMETRY, RawLabels, objects_array
from windhover.progress import counted

SAME_PX = 1e-3  # two labels of one class whose boxes agree to this are one
CRS_CHARS = 40  # of a coordinate system that a message shows
UNKNOWN_IMAGE = "of an image that is not there"  # reasons in the report
AMBIGUOUS_IMAGE = "of an image name that several rasters have"
OUTSIDE_RASTER = "centre outside the raster"
LARGER_THAN_SCENE = "not finite, or much larger than the scene"
# boxes are corners where such a share would fit as corners and so many leave their rasters
CORNER_SHARE = 0.95
LEAVING_SHARE = 0.2
MIN_BOXES = 3
MAX_SCENE_SIDES = 2.0  # longer sides of its scene that no object exceeds
N_NAMES_SHOWN = 3  # in a note

# labels of a file, and the scene they belong to; "" where they name it themselves, None where the
# file is of a raster that is not there
LabelSource = tuple[RawLabels, str | None]


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
        n_label_files: that were read.
        notes: a sentence on each file whose names or sizes do not fit the rasters.
    """

    labels: geopandas.GeoDataFrame
    covered_scenes: set[str]
    dropped: dict[str, int]
    n_labels_in_files: int
    n_leaving: int
    n_label_files: int
    notes: list[str]


@dataclass
class _NamedScenes:
    """What the label files name: collected file by file.

    Attributes:
        covered: scenes that a file covers.
        files_of: scene -> files of image coordinates that are of it.
        missing: label files of one raster that is not there.
        notes: a sentence on each file whose names do not fit.
    """

    covered: set[str] = field(default_factory=set)
    files_of: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """Return all notes, those over all files first."""
        notes = []
        if self.missing:
            notes.append(
                f"{counted(len(self.missing), 'label file')} of rasters that are not there, or of "
                f"several ({shown_names(self.missing)}): left out"
            )
        repeated = {scene: files for scene, files in self.files_of.items() if len(files) > 1}
        if repeated:
            scene, files = next(iter(repeated.items()))
            notes.append(
                f"{counted(len(repeated), 'raster')} with several label files, all of which are "
                f"taken ({scene}: {shown_names(files)})"
            )
        return notes + self.notes


def align_labels(
    infos: list[SceneInfo], sources: Sequence[LabelSource], names: RasterNames
) -> AlignedLabels:
    """Place labels on scenes.

    Args:
        infos: the scenes.
        sources: label files, each with the scene it belongs to.
        names: by which label files may call the scenes.

    Raises:
        DataError: there are labels, but none is on a scene, or they are in another unit.
    """
    by_name = {info.name: info for info in infos}
    pieces: list[LabelPiece] = []
    named = _NamedScenes()
    dropped: Counter[str] = Counter()
    claimed = {scene for _, scene in sources if scene}
    for labels, scene in sources:
        dropped.update(labels.dropped)
        if scene is None:
            dropped[UNKNOWN_IMAGE] += len(labels)
            named.missing.append(labels.source)
        elif labels.space == "map":
            on_scenes = [by_name[scene]] if scene else infos
            found = pieces_on_map(labels, on_scenes, dropped)
            named.covered.update([scene] if scene else [piece.scene for piece in found])
            pieces += found
        else:
            scene_of = _scenes_of_images(labels, scene, names, claimed=claimed, named=named)
            pieces += _pieces_in_pixels(labels, by_name, scene_of, dropped=dropped)
            named.notes += _size_conflicts(labels, by_name, scene_of)
    table = _table_of_pieces(pieces)
    tiny_note = _check_unit(table)
    is_sound = _has_sound_size(table, by_name)
    if not is_sound.all():
        dropped[LARGER_THAN_SCENE] = int((~is_sound).sum())
        table = table[is_sound].reset_index(drop=True)
    is_inside, is_leaving = _inside_raster(table, by_name)
    _check_not_corners(table, by_name, is_leaving)
    dropped[OUTSIDE_RASTER] += int((~is_inside).sum())
    n_labels = sum(len(labels) for labels, _ in sources)
    _check_any_found(infos, sources, dropped, n_labels=n_labels, n_inside=int(is_inside.sum()))
    unique, n_repeated = _without_duplicates(table[is_inside])
    dropped["repeated"] += n_repeated
    return AlignedLabels(
        labels=unique.reset_index(drop=True),
        covered_scenes=named.covered,
        dropped=dict(sorted(dropped.items())),
        n_labels_in_files=n_labels,
        n_leaving=int(is_leaving[is_inside].sum()),
        n_label_files=len(sources),
        notes=named.sentences() + tiny_note + _notes_of_readers(sources),
    )


def _notes_of_readers(sources: Sequence[LabelSource]) -> list[str]:
    """Return what the readers noted, each sentence once, with the files it is of."""
    files_of: dict[str, list[str]] = {}
    for labels, _ in sources:
        for note in labels.notes if len(labels) else ():
            files_of.setdefault(note, []).append(labels.source)
    notes = []
    for note, files in files_of.items():
        more = f" and {len(files) - 1} more files" if len(files) > 1 else ""
        notes.append(f"{files[0]}{more}: {note}")
    return notes


def shown_names(names: Sequence[str]) -> str:
    """Return the first of some names for a message."""
    first = ", ".join(map(repr, names[:N_NAMES_SHOWN]))
    return first if len(names) <= N_NAMES_SHOWN else f"{first}, ..."


def _check_unit(table: geopandas.GeoDataFrame) -> list[str]:
    """Check that boxes given in px are not in another unit; return a note where some may be.

    Raises:
        DataError: all of them are smaller than one px.
    """
    in_px = table[table["space"] == "px"]
    boxes = in_px[list(BOX_COLUMNS)].to_numpy(np.float64).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    is_point = (sides == 0).all(axis=1)
    is_tiny = (sides < 1).all(axis=1) & ~is_point
    points_are_fractions = bool((boxes >= 0).all() and (boxes <= 1).all() and len(boxes) > 1)
    if not is_tiny.any() and not points_are_fractions:
        return []
    first = in_px.iloc[int(np.argmax(is_tiny))]
    values = ", ".join(f"{float(first[side]):.6g}" for side in BOX_COLUMNS)
    if (is_tiny | is_point).all():
        raise DataError(
            f"{first['source']}: all boxes are smaller than one px, the first is {values}, but "
            "this format is in px. If they are fractions of the image, multiply them by its width "
            "and height; if they are longitudes and latitudes, write them as GeoJSON."
        )
    note = (
        f"{int(is_tiny.sum())} boxes are smaller than one px (the first, of {first['source']}, is "
        f"{values}): are they fractions of the image?"
    )
    return [note]


def _check_not_corners(
    table: geopandas.GeoDataFrame, by_name: Mapping[str, SceneInfo], is_leaving: Bools
) -> None:
    """Check that boxes given by their size are not two corners.

    Boxes whose size is larger than their position, all of them, are none of real objects.

    Raises:
        DataError: many leave their raster, and nearly all would not if they were corners.
    """
    for space in ("px", "fraction"):
        rows = (table["space"] == space).to_numpy(bool)
        if rows.sum() < MIN_BOXES or is_leaving[rows].mean() < LEAVING_SHARE:
            continue
        boxes = table.loc[rows, list(BOX_COLUMNS)].to_numpy(np.float64)
        sides = boxes[:, 2:] - boxes[:, :2]
        first = boxes[:, :2] if space == "px" else (boxes[:, :2] + boxes[:, 2:]) / 2
        scenes = table.loc[rows, "scene"]
        sizes = [(by_name[name].width_px, by_name[name].height_px) for name in scenes]
        fits = ((sides > first) & (first >= 0) & (sides <= np.array(sizes))).all(axis=1)
        if fits.mean() >= CORNER_SHARE:
            read_as = "x, y, width, height" if space == "px" else "centre and size"
            raise DataError(
                f"{table.loc[rows, 'source'].iloc[0]}: {int(is_leaving[rows].sum())} of "
                f"{int(rows.sum())} boxes leave their rasters as {read_as}, and would fit as "
                f"two corners. Write {read_as}; in a CSV, corners are xmin, ymin, xmax, ymax."
            )


def _has_sound_size(table: geopandas.GeoDataFrame, by_name: Mapping[str, SceneInfo]) -> Bools:
    """Return which labels have a finite box that is not far larger than their scene."""
    longest = {name: max(info.width_px, info.height_px) for name, info in by_name.items()}
    limit = table["scene"].map(longest).to_numpy(np.float64) * MAX_SCENE_SIDES
    left, top, right, bottom = table[list(BOX_COLUMNS)].to_numpy(np.float64).T
    sides = np.maximum(right - left, bottom - top)
    return np.asarray(np.isfinite(sides) & (sides <= limit))


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
        if dropped[LARGER_THAN_SCENE] == n_labels:
            raise DataError(
                f"{labels.source}: no label has finite coordinates, or all are much larger than "
                "their scenes. Correct the file."
            )
        if labels.space == "map":
            raise DataError(_sentence_on_map_labels(infos, labels))
        raise DataError(_sentence_on_image_labels(infos, labels, dropped))


def _size_conflicts(
    labels: RawLabels, by_name: Mapping[str, SceneInfo], scene_of: Mapping[str, str]
) -> list[str]:
    """Return a sentence for each image whose label file states another size than the raster's."""
    sentences = []
    for image, size in labels.image_sizes_wh.items():
        info = by_name.get(scene_of.get(image, ""))
        if info is not None and size != (info.width_px, info.height_px):
            sentences.append(
                f"{labels.source} says that {image} has {size[0]} x {size[1]} px, but the "
                f"raster has {info.width_px} x {info.height_px}: its boxes may be of another "
                "picture"
            )
    return sentences


def _scenes_of_images(
    labels: RawLabels,
    scene: str,
    names: RasterNames,
    *,
    claimed: set[str],
    named: _NamedScenes,
) -> dict[str, str]:
    """Return image -> scene of all images that a file names.

    Args:
        labels: of the file.
        scene: whose name the file has, "" for none; it counts where the file names one image.
        names: of the scenes.
        claimed: scenes with a label file of their own.
        named: notes on the names are added.

    Returns:
        "" for an image that is not there, and `AMBIGUOUS_IMAGE` where several may be meant.
    """
    images = list(dict.fromkeys(map(str, [*labels.images, *labels.image])))
    resolved = names.resolve(images, claimed - {scene})
    scene_of = resolved.scene_of
    if scene and len(images) == 1:
        other = scene_of[images[0]]
        if other not in ("", scene) and images[0] not in resolved.weak:
            named.notes.append(
                f"{labels.source} has the name of {scene} and says that it is of {images[0]}: its "
                f"labels are laid on {scene}"
            )
        scene_of = {images[0]: scene}
    else:
        named.notes += _notes_on_names(labels.source, resolved)
        scene_of |= dict.fromkeys(resolved.ambiguous, AMBIGUOUS_IMAGE)
    found = set(scene_of.values()) - {"", AMBIGUOUS_IMAGE}
    named.covered |= found
    for one in sorted(found):
        named.files_of.setdefault(one, []).append(labels.source)
    return scene_of


def _notes_on_names(source: str, resolved: ResolvedNames) -> list[str]:
    """Return a sentence on each kind of name of a file that does not fit one raster."""
    notes = []
    if resolved.unknown:
        notes.append(
            f"{source}: no raster for {counted(len(resolved.unknown), 'image')} that it names "
            f"({shown_names(resolved.unknown)})"
        )
    if resolved.ambiguous:
        name, scenes = next(iter(resolved.ambiguous.items()))
        notes.append(
            f"{source}: {counted(len(resolved.ambiguous), 'image name')} that may mean several "
            f"rasters ({name!r} may be {' or '.join(scenes)}): write the folder of the raster too"
        )
    if resolved.weak:
        name, scene = next(iter(resolved.weak.items()))
        notes.append(
            f"{source}: {counted(len(resolved.weak), 'image')} of another folder than the only "
            f"raster of the name ({name!r} is taken for {scene})"
        )
    return notes


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
    if AMBIGUOUS_IMAGE in rows_of:
        dropped[AMBIGUOUS_IMAGE] += len(rows_of.pop(AMBIGUOUS_IMAGE))
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


def _table_of_pieces(pieces: list[LabelPiece]) -> geopandas.GeoDataFrame:
    """Return the labels of all pieces as one table."""
    scenes: list[str] = []
    classes: list[Any] = []
    is_ignored: list[bool] = []
    sources: list[str] = []
    spaces: list[str] = []
    shapes: list[Any] = []
    for piece in pieces:
        count = len(piece.rows)
        ignored = piece.labels.ignored
        scenes += [piece.scene] * count
        classes += piece.labels.class_name[piece.rows].tolist()
        is_ignored += [False] * count if ignored is None else ignored[piece.rows].tolist()
        sources += [piece.labels.source] * count
        spaces += [piece.labels.space] * count
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
        "space": objects_array(spaces),
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
    return is_on_raster(col, row, width, height), is_leaving


def _without_duplicates(table: geopandas.GeoDataFrame) -> tuple[geopandas.GeoDataFrame, int]:
    """Return the labels sorted by scene and position, each once, and how many were dropped."""
    table = table.sort_values(["scene", "row", "col", "class"], kind="stable")
    key: pd.DataFrame = table[["scene", "class"]].copy()
    for name in BOX_COLUMNS:
        key[name] = (table[name] / SAME_PX).round()
    is_duplicate = key.duplicated()
    return table[~is_duplicate], int(is_duplicate.sum())


def _sentence_on_image_labels(
    infos: list[SceneInfo], labels: RawLabels, dropped: Counter[str]
) -> str:
    """Return the error sentence for labels in pixels that are on no scene."""
    if dropped[AMBIGUOUS_IMAGE]:
        return (
            f"{labels.source}: several rasters have the name of its images, such as "
            f"{labels.image[0]!r}. Write the folder of the raster too, as in folder/name.tif."
        )
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
    flipped = swap_axes(labels.geometry)
    swapped = RawLabels(
        labels.source,
        labels.image,
        labels.class_name,
        geometry=flipped,
        space="map",
        crs=labels.crs,
    )
    # more than one scene, so that the labels are not taken whole
    if pieces_on_map(swapped, [*infos, *infos[:1]], Counter()):
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
