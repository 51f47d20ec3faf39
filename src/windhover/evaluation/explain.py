"""The `windhover explain` flow: a patch, or a place in a scene, and a picture of why the model
scores it as it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.errors import MissingFileError, ParameterError
from windhover.evaluation.attribution import explain
from windhover.imagery.scenes import Scene
from windhover.inference.model_input import open_for
from windhover.models.bundle import Bundle, load_bundle
from windhover.models.calibrated_scores import window_scores
from windhover.report.error_gallery import to_rgb
from windhover.report.plots import Explained, explanations

FORMS = "SCENE:col,row (px of the raster as delivered) or FOLDER/val.npy:ROW"


def explain_target(
    target: str,
    model: Path,
    output: Path,
    class_name: str | None = None,
    gsd_m: float | None = None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> list[str]:
    """Draw why a window scores as it does.

    Args:
        target: `SCENE:col,row`, a place in a raster (native px), or `PATCHES.npy:row`, a patch
            of the store.
        model: folder of the bundle.
        output: PNG to write.
        class_name: of a class of the model; its first by default.
        gsd_m: metres per px of an image without georeference.
        match_radiometry: as for `Detector`.
        bands: as for `Detector`.

    Returns:
        what a person should read, one line an item.

    Raises:
        ParameterError: the target or the class cannot be understood, or lies outside.
        MissingFileError: the file or the model is not there.
    """
    bundle = load_bundle(model)
    name = class_name or bundle.card.classes[0]
    if name not in bundle.card.classes:
        known = ", ".join(bundle.card.classes)
        raise ParameterError(f"--class must be one of {known}, got {name!r}. Choose one of them.")
    window, valid = read_target(target, bundle, gsd_m, match_radiometry, bands)
    made = explained(
        bundle, window, valid, bundle.card.classes.index(name), f"{Path(target).name}\n{name}"
    )
    explanations(output, [made])
    score = float(
        window_scores(made.logit, bundle.calibration.of_class(bundle.card.classes.index(name)))
    )
    return [
        f"{target}: {name}, window score {score:.4f} (logit {made.logit:.2f})",
        f"saliency, occlusion, activation -> {output}",
    ]


def explained(
    bundle: Bundle, window: NDArray[Any], valid: NDArray[np.bool_], class_index: int, caption: str
) -> Explained:
    """Explain one window and keep what is drawn of it.

    Args:
        bundle: the model.
        window: (C, H, W) pixels as read.
        valid: (H, W).
        class_index: of the class.
        caption: words under the picture.
    """
    made = explain(bundle.network(), bundle.normalizer(), window, class_index)
    return Explained(
        to_rgb(window, valid), caption, made.logit, made.saliency, made.occlusion, made.activation
    )


def read_target(
    target: str,
    bundle: Bundle,
    gsd_m: float | None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the window (C, H, W) as read, and its valid pixels.

    Raises:
        ParameterError: the target is of neither form, or lies outside.
        MissingFileError: the file is not there.
        UnsupportedError: a raster that does not fit the model.
    """
    path, colon, where = target.rpartition(":")
    try:
        numbers = [float(part) for part in where.split(",")]
    except ValueError:
        numbers = []
    if not colon or len(numbers) != (1 if path.endswith(".npy") else 2):
        raise ParameterError(f"the target must read {FORMS}, got {target!r}. Write it so.")
    if path.endswith(".npy"):
        return _patch(Path(path), int(numbers[0]))
    with open_for(bundle.card, path, gsd_m, match_radiometry, bands) as scene:
        return read_window(
            scene,
            numbers[0] / scene.ratio_xy[0],
            numbers[1] / scene.ratio_xy[1],
            bundle.card.window_px,
        )


def _patch(path: Path, row: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file. Name an array of the patch store, such as data/patches/val.npy."
        )
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    if not 0 <= row < len(images):
        raise ParameterError(
            f"{path}: holds patches 0 to {len(images) - 1}, got {row}. Choose one of them."
        )
    image = np.array(images[row])
    return image.transpose(2, 0, 1), np.ones(image.shape[:2], bool)


def read_window(
    scene: Scene, col: float, row: float, window_px: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the window around a place (scene px), parts outside read as 0.

    Raises:
        ParameterError: the place is not in the scene.
    """
    height, width = scene.shape_hw
    if not (0 <= col <= width and 0 <= row <= height):
        x, y = scene.ratio_xy
        raise ParameterError(
            f"{scene.info.name}: {col * x:.0f},{row * y:.0f} lies outside its {scene.info.width_px} x "
            f"{scene.info.height_px} px. Give col,row within."
        )
    top, left = round(row - window_px / 2), round(col - window_px / 2)
    pixels, valid = scene.read(top, left, window_px, window_px)
    return pixels, valid
