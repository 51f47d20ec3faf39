"""A model checked on the scenes of an acceptance list, with a picture of each that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from windhover.errors import DataError, WindhoverError
from windhover.evaluation.acceptance_list import AcceptanceList, AcceptanceScene
from windhover.files import atomic_file, check_output
from windhover.geometry.arrays import Bools, Floats
from windhover.imagery.rasters import SceneInfo, inspect_scene
from windhover.imagery.scenes import open_scene
from windhover.inference.detector import Detector
from windhover.progress import counted
from windhover.rendering.images import draw_cross, scene_overview

OWN_KEY = "windhover"  # of the text in a picture
PICTURE_PX = 1200  # longest side
FOUND_COLOR = (255, 190, 0)
FAULT_COLOR = (224, 49, 49)
FOUND_RADIUS_PX = 6


@dataclass(frozen=True)
class SceneOutcome:
    """What a model did on one scene of the list.

    Attributes:
        name: of the scene.
        n_found: objects in its area.
        faults: sentences on what does not hold.
        image: picture of a failed scene.
    """

    name: str
    n_found: int
    faults: list[str] = field(default_factory=list)
    image: Path | None = None

    def lines(self) -> list[str]:
        """Return lines for the terminal."""
        if not self.faults:
            return [f"{self.name}: passed, {counted(self.n_found, 'object')}"]
        picture = "" if self.image is None else f" -> {self.image}"
        return [f"{self.name}: FAILED{picture}", *(f"  {fault}" for fault in self.faults)]


def check_scenes(
    detector: Detector, wanted: AcceptanceList, image_folder: Path
) -> list[SceneOutcome]:
    """Search each scene and return what does not hold.

    Args:
        detector: of the model.
        wanted: the list.
        image_folder: folder of the pictures of scenes that fail.

    Raises:
        WindhoverError: a raster cannot be searched, or what is wanted of it cannot be checked; a
            note names the scene.
    """
    card = detector.bundle.card
    card.require_objects()
    for scene in wanted.scenes:
        with _named_in_errors(scene):
            _check_wanted(scene, card.classes)
            check_output(_image_path(scene, image_folder), inputs=[scene.raster], is_own=_is_own)
    outcomes = []
    for scene in wanted.scenes:
        with _named_in_errors(scene):
            outcomes.append(_check_scene(detector, scene, image_folder))
    return outcomes


@contextmanager
def _named_in_errors(scene: AcceptanceScene) -> Iterator[None]:
    """Add the name of a scene to the errors of the block."""
    try:
        yield
    except WindhoverError as error:
        error.add_note(f"It is the scene {scene.name!r} of the acceptance list.")
        raise


def _check_wanted(scene: AcceptanceScene, classes: Sequence[str]) -> None:
    """Check that all that is wanted of a scene can be found in it.

    Raises:
        DataError: a class that the model does not have, or a point or the area is off the raster.
        WindhoverError: the raster cannot be opened.
    """
    strange = sorted(set(scene.counts) - set(classes))
    if strange:
        raise DataError(
            f"counts: the model has no class {strange[0]!r}, its classes are "
            f"{', '.join(classes)}. Correct the name."
        )
    info = inspect_scene(scene.raster, scene.gsd_m)
    raster = (0.0, 0.0, float(info.width_px), float(info.height_px))
    left, top, right, bottom = scene.area or raster
    if left >= raster[2] or top >= raster[3] or right <= 0 or bottom <= 0:
        raise DataError(
            f"area: is off the raster of {info.width_px} x {info.height_px} px. Correct it."
        )
    for key, points in (("must_find", scene.must_find), ("must_not_find", scene.must_not_find)):
        for col, row in points:
            if not (max(left, 0) <= col <= min(right, raster[2])) or not (
                max(top, 0) <= row <= min(bottom, raster[3])
            ):
                raise DataError(
                    f"{key}: px {col:g}, {row:g} is off the raster of {info.width_px} x "
                    f"{info.height_px} px, or outside of `area`. Correct it."
                )


def _check_scene(detector: Detector, scene: AcceptanceScene, image_folder: Path) -> SceneOutcome:
    """Search one scene and compare it with what is wanted."""
    table = detector.detect(scene.raster, gsd_m=scene.gsd_m)
    with open_scene(scene.raster, None, scene.gsd_m) as opened:
        info = opened.info
    inside = table[_in_area(table, scene)]
    found = inside[["col", "row"]].to_numpy(np.float64)
    within = [scene.within_m / gsd for gsd in info.gsd_m]
    faults = []
    wrong = []
    for point, is_found in zip(scene.must_find, _near(scene.must_find, found, within), strict=True):
        if not is_found:
            faults.append(f"nothing is found at px {point[0]:g}, {point[1]:g}")
            wrong.append(point)
    for point, is_found in zip(
        scene.must_not_find, _near(scene.must_not_find, found, within), strict=True
    ):
        if is_found:
            faults.append(f"an object is found at px {point[0]:g}, {point[1]:g}, and none is there")
            wrong.append(point)
    for name, count in scene.counts.items():
        n_found = int((inside["class"] == name).sum())
        if abs(n_found - count.count) > count.tolerance:
            faults.append(
                f"{n_found} {name} are found, and {count.count} +- {count.tolerance} are there"
            )
    picture = None
    if faults:
        picture = _image_path(scene, image_folder)
        _draw(info, scene, found, wrong, path=picture)
    return SceneOutcome(scene.name, len(inside), faults, picture)


def _image_path(scene: AcceptanceScene, folder: Path) -> Path:
    """Return the path of a scene's picture."""
    return folder / f"{scene.name}.png"


def _is_own(path: Path) -> bool:
    """Return whether a file that is there is such a picture."""
    try:
        with Image.open(path) as picture:
            return bool(picture.info.get(OWN_KEY))
    except UnidentifiedImageError:
        return False


def _in_area(table: pd.DataFrame, scene: AcceptanceScene) -> Bools:
    """Return which detections have their center in the area."""
    if scene.area is None:
        return np.ones(len(table), bool)
    left, top, right, bottom = scene.area
    is_inside = table["col"].between(left, right) & table["row"].between(top, bottom)
    return np.asarray(is_inside, bool)


def _near(
    points: Sequence[tuple[float, float]], found: Floats, within_px: Sequence[float]
) -> list[bool]:
    """Return of each point whether a detection's center is near."""
    near = []
    for point in points:
        away = np.hypot(*((found - np.array(point)) / np.array(within_px)).T)
        near.append(bool((away <= 1).any()))
    return near


def _draw(
    info: SceneInfo,
    scene: AcceptanceScene,
    found: Floats,
    wrong: Sequence[tuple[float, float]],
    *,
    path: Path,
) -> None:
    """Write a picture of a scene: what was found as circles, faults as crosses."""
    picture, scale = scene_overview(info, PICTURE_PX)
    picture = picture.convert("RGB")
    draw = ImageDraw.Draw(picture)
    for x, y in found * scale:
        reach = FOUND_RADIUS_PX
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=FOUND_COLOR)
    for col, row in wrong:
        draw_cross(draw, col * scale, row * scale, color=FAULT_COLOR)
    if scene.area is not None:
        draw.rectangle(tuple(value * scale for value in scene.area), outline=FOUND_COLOR)
    about = PngInfo()
    about.add_text(OWN_KEY, "a scene of an acceptance list")
    with atomic_file(path) as temporary:
        picture.save(temporary, pnginfo=about)
