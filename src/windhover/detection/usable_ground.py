"""Which ground of a search could be seen at all: by a mask of clouds.

Nothing is left out of the search. Each detection gets the clear share of its box, and each scene
the area that is clear; of a class that is not found on clear ground, the summary holds how many
there may be in spite of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from affine import Affine
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from windhover.detection.detect_request import DetectRequest
from windhover.errors import MissingFileError, shown_path
from windhover.export.detection_summary import ClearGround, SceneSummary
from windhover.files import file_stem
from windhover.geometry.arrays import Floats
from windhover.geometry.move_shapes import apply_affine
from windhover.geometry.windows import block_windows
from windhover.imagery.ground_mask import (
    CLEAR,
    UNKNOWN,
    GroundMask,
    MaskGrid,
    SceneMask,
    parse_mask_values,
)
from windhover.imagery.scenes import Scene
from windhover.inference.detection_columns import CLEAR_SHARE, DetectionColumns
from windhover.models.operating_point import OperatingPoint

BLOCK_PX = 1024
# a detection counts as on clear ground from this clear share of its box on
LEAST_CLEAR_SHARE = 0.5
# objects that may be there at 95 % where none is found: -ln(0.05) (Hanley 1983)
UPPER_COUNT = -math.log(0.05)
# names of masks in a folder, by the name of their scene
MASK_NAMES = ("{}_mask.tif", "{}.tif", "{}_mask.png", "{}.png")


@dataclass(frozen=True)
class MaskRequest:
    """What is known of the masks of a search.

    Attributes:
        path: a raster, or a folder with one for each scene.
        values: that stand for unusable ground, whole numbers or names; None for the default.
    """

    path: Path
    values: tuple[str, ...] | None = None

    def mask_of(self, scene: str) -> GroundMask:
        """Return the mask of a scene.

        Raises:
            MissingFileError: the folder holds none of that name.
            ParameterError: a value is neither a number nor a name.
        """
        path = self.path
        if path.is_dir():
            found = [path / name.format(file_stem(scene)) for name in MASK_NAMES]
            present = [one for one in found if one.is_file()]
            if not present:
                raise MissingFileError(
                    f"{path}: holds no mask of scene {scene}, such as {found[0].name}. Put it "
                    "there, or search that scene apart."
                )
            path = present[0]
        return GroundMask(str(path), parse_mask_values(str(path), self.values))


def mask_request(request: DetectRequest) -> MaskRequest | None:
    """Return the masks that a search was asked for, None where there are none."""
    if request.mask is None:
        return None
    return MaskRequest(request.mask, request.mask_values)


def check_mask(request: DetectRequest, scene: Scene) -> None:
    """Check, before the search, that the mask of a scene can be laid on it.

    Raises:
        WindhoverError: a child that names the fault of the mask.
    """
    masks = mask_request(request)
    if masks is not None:
        with masks.mask_of(scene.info.name).on_grid(grid_of(scene)):
            pass


def grid_of(scene: Scene) -> MaskGrid:
    """Return the grid on which the mask of a scene is read: that of the search."""
    return MaskGrid(scene.info.path, scene.crs, scene.transform, scene.shape_hw)


class ClearPx(NamedTuple):
    """Px of a scene that are valid and in the area of interest, by their mask."""

    valid: int = 0
    clear: int = 0
    known: int = 0

    def __add__(self, other: object) -> ClearPx:
        if not isinstance(other, ClearPx):
            return NotImplemented
        return ClearPx(*(one + two for one, two in zip(self, other, strict=True)))


def count_clear_px(
    request: MaskRequest,
    scene: Scene,
    *,
    aoi: BaseGeometry | None,
    share: tuple[float, float],
) -> ClearPx:
    """Return how many px of a share of a scene are clear; counts of all shares add up to those of
    the scene.

    Args:
        request: the masks.
        scene: to be read.
        aoi: polygon in the scene's coordinate system.
        share: where the share begins and ends, 0..1, in the order of the scene's blocks.

    Raises:
        WindhoverError: a child that names the fault of the mask.
    """
    with request.mask_of(scene.info.name).on_grid(grid_of(scene)) as mask:
        return _count_clear_px(mask, scene, aoi, share)


def measure_ground(
    request: MaskRequest,
    scene: Scene,
    detections: DetectionColumns,
    *,
    km2: float | None,
    aoi: BaseGeometry | None,
    counts: ClearPx | None = None,
) -> ClearGround:
    """Return how much of the searched ground is clear; detections get their clear share.

    Args:
        request: the masks.
        scene: that was searched, still open.
        detections: of it; gets the column `clear`.
        km2: that was searched, None where the GSD is unknown.
        aoi: polygon in the scene's coordinate system.
        counts: of the whole scene, which is not read then; None to count them.

    Raises:
        WindhoverError: a child that names the fault of the mask.
    """
    mask = request.mask_of(scene.info.name)
    with mask.on_grid(grid_of(scene)) as opened:
        if counts is None:
            counts = _count_clear_px(opened, scene, aoi)
        share = counts.clear / max(counts.valid, 1)
        share_known = counts.known / max(counts.valid, 1)
        clear = _clear_shares_of_boxes(opened, scene, detections)
    detections[CLEAR_SHARE] = clear
    is_clear = clear >= LEAST_CLEAR_SHARE
    scores = np.asarray(detections["score"], np.float64)
    km2_clear = None if km2 is None else round(km2 * share, 6)
    false_alarms = None
    if km2_clear:
        false_alarms = round(float((1 - scores[is_clear]).sum()) / km2_clear, 6)
    names, n_of_class = np.unique(detections["class"][is_clear].astype(str), return_counts=True)
    return ClearGround(
        mask=shown_path(mask.path),
        share=round(share, 6),
        share_known=round(share_known, 6),
        km2=km2_clear,
        objects=int(is_clear.sum()),
        by_class=dict(zip(names.tolist(), n_of_class.tolist(), strict=True)),
        expected_false_alarms_per_km2=false_alarms,
        values=None if mask.values is None else tuple(sorted(mask.values)),
    )


def _count_clear_px(
    mask: SceneMask,
    scene: Scene,
    aoi: BaseGeometry | None,
    share: tuple[float, float] = (0.0, 1.0),
) -> ClearPx:
    """Return how many px of the blocks in a share of a scene are clear."""
    windows = list(block_windows(scene.shape_hw, (BLOCK_PX, BLOCK_PX)))
    first, stop = (round(len(windows) * part) for part in share)
    total = ClearPx()
    for window in windows[first:stop]:
        states = mask.read(*window)
        counted = scene.read(*window).valid
        if aoi is not None:
            place = scene.transform @ Affine.translation(window.col, window.row)
            counted &= ~geometry_mask([aoi], counted.shape, place)
        total += ClearPx(
            valid=int(counted.sum()),
            clear=int((counted & (states == CLEAR)).sum()),
            known=int((counted & (states != UNKNOWN)).sum()),
        )
    return total


def _clear_shares_of_boxes(mask: SceneMask, scene: Scene, detections: DetectionColumns) -> Floats:
    """Return the clear share (N,) of the known px of each box; NaN where none is known."""
    shares = np.full(len(detections["score"]), np.nan)
    to_px = ~scene.transform
    height, width = scene.shape_hw
    for number, polygon in enumerate(detections["geometry"]):
        left, top, right, bottom = shapely.bounds(apply_affine(polygon, to_px))
        row = int(np.clip(math.floor(top), 0, height - 1))
        col = int(np.clip(math.floor(left), 0, width - 1))
        n_rows = max(min(math.ceil(bottom), height) - row, 1)
        n_cols = max(min(math.ceil(right), width) - col, 1)
        states = mask.read(row, col, n_rows, n_cols)
        known = states != UNKNOWN
        if known.any():
            shares[number] = round(float((states[known] == CLEAR).mean()), 6)
    return shares


def notes_on_ground(
    scenes: Sequence[SceneSummary],
    classes: Sequence[str],
    recalls: Mapping[str, float | None],
) -> list[str]:
    """Return sentences on the ground of all scenes, and on each class not found where it is clear.

    Args:
        scenes: of the search.
        classes: of the model.
        recalls: of each class on validation, at the threshold of the search; None where unknown.
    """
    masked = [scene for scene in scenes if scene.clear is not None]
    if not masked:
        return []
    grounds = [scene.clear for scene in scenes if scene.clear is not None]
    if any(scene.km2 is None for scene in masked):
        return ["the GSD is unknown, so it is not known how many km2 are clear"]
    km2 = sum(scene.km2 for scene in masked if scene.km2 is not None)
    km2_clear = sum(ground.km2 or 0.0 for ground in grounds)
    n_clear = sum(ground.objects for ground in grounds)
    n_objects = sum(scene.objects for scene in masked)
    areas = f"{km2_clear:.2f} of {km2:.2f} km2 searched are clear"
    notes = [f"{areas}, with {n_clear} of {n_objects} objects"]
    if not km2_clear:
        return notes
    false_alarms = sum(
        (ground.expected_false_alarms_per_km2 or 0.0) * (ground.km2 or 0.0) for ground in grounds
    )
    notes.append(
        f"by their scores {false_alarms:.1f} of the objects on clear ground are false alarms: "
        f"{false_alarms / km2_clear:.3g} per clear km2"
    )
    found = {name for ground in grounds for name in ground.by_class}
    absent = [name for name in classes if name not in found]
    return notes + [_none_found(name, km2_clear, recalls.get(name)) for name in absent]


def _none_found(name: str, km2_clear: float, recall: float | None) -> str:
    """Return a sentence on a class that is not found, with the upper limit of its density."""
    if recall:
        limit = UPPER_COUNT / (km2_clear * recall)
        reason = f"of which {recall:.0%} are found on validation"
    else:
        limit = UPPER_COUNT / km2_clear
        reason = "if all of them were found; the recall at this threshold is not known"
    return (
        f"no {name} found in {km2_clear:.2f} clear km2: at 95 % there are fewer than {limit:.3g} "
        f"per km2, {reason}"
    )


def validation_recalls(
    point: OperatingPoint | None, thresholds: Mapping[str, float]
) -> dict[str, float | None]:
    """Return the recall of each class on validation; None where another threshold is searched at.

    Args:
        point: of the model.
        thresholds: of the search.
    """
    recalls: dict[str, float | None] = dict.fromkeys(thresholds)
    if point is None:
        return recalls
    for name, threshold in thresholds.items():
        of_class = point.per_class.get(name)
        if of_class is not None and of_class.threshold == threshold:
            recalls[name] = of_class.recall
    return recalls
