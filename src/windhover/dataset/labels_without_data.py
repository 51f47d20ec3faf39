"""Labels on ground where their raster has no valid pixel: nobody can see the object there.

No window holds such an object, so it is never learned; in a test it would be a miss of every model.
Pixels are read around labels alone, and only of rasters that may have missing ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import geopandas
import numpy as np

from windhover.dataset.catalog_report import PixelShares
from windhover.dataset.catalog_tables import BOX_COLUMNS
from windhover.errors import DataError
from windhover.geometry.arrays import Bools, Floats, Ints
from windhover.geometry.windows import Bounds, block_windows
from windhover.imagery.native_resolution_reader import may_lack_pixels
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.progress import counted, track

ON_NO_DATA = "where the raster has no data"  # reason in the report
CELL_PX = 512  # labels with their centers in one such square are read at once
MIN_SIDE_PX = 3  # of the pixels that are read of a point or of a smaller box
N_SCENES_SHOWN = 5  # in a note


class LabelsWithData(NamedTuple):
    """Labels that can be seen.

    Attributes:
        labels: that stay.
        n_dropped: those without a valid pixel in their box.
        notes: a sentence on them, with their scenes; empty where there are none.
    """

    labels: geopandas.GeoDataFrame
    n_dropped: int
    notes: list[str]


def drop_labels_without_data(
    labels: geopandas.GeoDataFrame,
    infos: Sequence[SceneInfo],
    pixels: Mapping[str, PixelShares],
    *,
    bands: Sequence[str],
) -> LabelsWithData:
    """Return the labels with a valid pixel in their box, and what was left out.

    Args:
        labels: of all scenes, with boxes in native px.
        infos: the scenes, at the paths where they can be read.
        pixels: scene -> shares of its valid pixels; a scene that it lacks is read.
        bands: that are learned from; they decide which pixels are valid.

    Raises:
        FormatError: a raster is damaged at a label.
        DataError: no label has a valid pixel.
    """
    by_name = {info.name: info for info in infos}
    incomplete = {
        str(name): rows
        for name, rows in labels.groupby("scene").indices.items()
        if not _is_complete(by_name[str(name)], pixels.get(str(name)), bands)
    }
    boxes = labels[list(BOX_COLUMNS)].to_numpy(np.float64)
    has_data = np.ones(len(labels), bool)
    for name, rows in track(incomplete.items(), "checking labels", len(incomplete)):
        has_data[rows] = _have_valid_pixels(by_name[name], boxes[rows], bands)
    if has_data.all():
        return LabelsWithData(labels, 0, [])
    counts = labels.loc[~has_data, "scene"].value_counts(sort=False).sort_index()
    shown = [f"{scene} ({count})" for scene, count in counts.head(N_SCENES_SHOWN).items()]
    scenes = ", ".join(shown) + (", ..." if len(counts) > N_SCENES_SHOWN else "")
    n_dropped = int((~has_data).sum())
    if n_dropped == len(labels):
        raise DataError(_sentence_on_all(labels, by_name[str(counts.index[0])], scenes))
    lie = "label lies where its" if n_dropped == 1 else "labels lie where their"
    left_out = "it is" if n_dropped == 1 else "they are"
    note = f"{n_dropped} {lie} raster has no data; {left_out} left out: {scenes}"
    return LabelsWithData(labels[has_data].reset_index(drop=True), n_dropped, [note])


def _sentence_on_all(labels: geopandas.GeoDataFrame, first: SceneInfo, scenes: str) -> str:
    """Return the error sentence for labels none of which can be seen."""
    return (
        f"{labels['source'].iloc[0]}: none of the {counted(len(labels), 'label')} lies where its "
        f"raster has data: {scenes}. Correct the nodata value (gdal_edit.py -unsetnodata), the "
        f"alpha band or the mask of the rasters, such as {first.path}."
    )


def _is_complete(info: SceneInfo, shares: PixelShares | None, bands: Collection[str]) -> bool:
    """Return whether all pixels are known to be valid, in these bands too."""
    if shares is None or shares.sampled or shares.valid < 1:
        return False
    return info.nodata is None or list(bands) == list(info.bands)


def _have_valid_pixels(info: SceneInfo, boxes: Floats, bands: Sequence[str]) -> Bools:
    """Return which boxes (N, 4), native px, hold a valid pixel of a raster.

    Raises:
        FormatError: the raster is damaged there.
    """
    has_data = np.ones(len(boxes), bool)
    if not may_lack_pixels(info, bands):
        return has_data
    extents = _pixels_of_boxes(boxes, info.shape_hw)
    with Scene(info, bands=bands) as scene:
        for rows in _rows_by_cell(extents):
            has_data[rows] = _valid_in_cell(scene, extents[rows])
    return has_data


def _pixels_of_boxes(boxes: Floats, shape_hw: tuple[int, int]) -> Ints:
    """Return top, bottom, left, right (N, 4) of the pixels that boxes touch, inside a raster."""
    lengths = np.array([shape_hw[1], shape_hw[0]])
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum((boxes[:, 2:] - boxes[:, :2]) / 2, MIN_SIDE_PX / 2)
    first = np.clip(np.floor(center - half), 0, lengths - 1).astype(np.int64)
    end = np.clip(np.ceil(center + half), first + 1, lengths).astype(np.int64)
    return np.stack([first[:, 1], end[:, 1], first[:, 0], end[:, 0]], axis=1)


def _rows_by_cell(extents: Ints) -> Iterator[Ints]:
    """Yield the rows of small extents with the middle in one cell, and each large one alone."""
    is_large = (extents[:, 1::2] - extents[:, ::2]).max(axis=1) > CELL_PX
    for row in np.flatnonzero(is_large):
        yield np.array([row])
    small = np.flatnonzero(~is_large)
    cells = (extents[small, ::2] + extents[small, 1::2]) // (2 * CELL_PX)
    _, numbers = np.unique(cells, axis=0, return_inverse=True)
    order = np.argsort(numbers.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(numbers.ravel()))
    for rows in np.split(small[order], ends[:-1]):
        if len(rows):
            yield rows


def _valid_in_cell(scene: Scene, extents: Ints) -> Bools:
    """Return which extents (N, 4) hold a valid pixel; a large one is read part by part."""
    top, left = extents[:, ::2].min(axis=0).tolist()
    bottom, right = extents[:, 1::2].max(axis=0).tolist()
    if len(extents) == 1 and max(bottom - top, right - left) > CELL_PX:
        parts = block_windows((bottom - top, right - left), (CELL_PX, CELL_PX))
        is_any = any(
            scene.read(top + part.row, left + part.col, part.height, part.width).valid.any()
            for part in parts
        )
        return np.array([is_any])
    valid = scene.read(top, left, bottom - top, right - left).valid
    if valid.all():
        return np.ones(len(extents), bool)
    bounds = [Bounds(*extent) for extent in extents.tolist()]
    return np.array([bool(valid[one.slices(top, left)].any()) for one in bounds])
