"""The `windhover explain` flow: a picture of the attribution of a patch, or of a point's window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.evaluation.attribution import attribute_logit
from windhover.files import check_output, is_figure, lock_output
from windhover.geometry.arrays import Bools
from windhover.geometry.lattice import outside_scene, read_padded
from windhover.imagery.rasters import files_read
from windhover.imagery.scenes import Scene
from windhover.inference.model_input import open_for_model
from windhover.metrics.evaluation_result import WindowExplanation
from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import Bundle, load_bundle
from windhover.rendering.images import to_rgb
from windhover.report.plot_errors import plot_explanations

TARGET_FORMS = "SCENE:col,row (px of the raster as delivered) or FOLDER/val.npy:ROW"


def explain_target(
    target: str,
    model: Path,
    output: Path,
    *,
    class_name: str | None = None,
    gsd_m: float | None = None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> list[str]:
    """Draw the attribution of a window's score.

    Args:
        target: `SCENE:col,row`, a point in a raster (native px), or `PATCHES.npy:row`, a patch
            of the store.
        model: folder of the bundle.
        output: PNG to write.
        class_name: of a class of the model; its first by default.
        gsd_m: metres per px of an image without georeference.
        match_radiometry: as for `Detector`.
        bands: as for `Detector`.

    Returns:
        lines for the terminal.

    Raises:
        ParameterError: the target or the class is of no known form, or outside, the output is
            called as no PNG, or another run writes it.
        MissingFileError: the file or the model is not there.
    """
    path, _ = _parse_target(target)
    if output.suffix.lower() != ".png":
        raise ParameterError(f"{output}: must end in .png, since a PNG is written. Rename it.")
    check_output(output, inputs=files_read(path), is_own=is_figure)
    with lock_output(output):
        bundle = load_bundle(model)
        classes = bundle.card.classes
        name = class_name or classes[0]
        if name not in classes:
            raise ParameterError(
                f"--class must be one of {', '.join(classes)}, got {name!r}. Choose one of them."
            )
        window, valid = read_target(
            target, bundle, gsd_m=gsd_m, match_radiometry=match_radiometry, bands=bands
        )
        class_index = classes.index(name)
        explanation = explain_window(
            bundle, window, valid, class_index=class_index, caption=f"{Path(target).name}\n{name}"
        )
        plot_explanations(output, [explanation])
    logit = explanation.logit
    score = float(window_scores(logit, bundle.calibration.of_class(class_index)))
    return [
        f"{target}: {name}, window score {score:.4f} (logit {logit:.2f})",
        f"saliency, occlusion, activation -> {output}",
    ]


def explain_window(
    bundle: Bundle, window: NDArray[Any], valid: Bools, *, class_index: int, caption: str
) -> WindowExplanation:
    """Return the attribution of one window, with its picture.

    Args:
        bundle: the model.
        window: (C, H, W) pixels as read.
        valid: (H, W).
        class_index: of the class.
        caption: text under the picture.
    """
    maps = attribute_logit(bundle.network(), bundle.normalizer(), window, class_index=class_index)
    return WindowExplanation(
        image=to_rgb(window, valid),
        caption=caption,
        logit=maps.logit,
        saliency=maps.saliency,
        occlusion=maps.occlusion,
        activation=maps.activation,
    )


def read_target(
    target: str,
    bundle: Bundle,
    *,
    gsd_m: float | None = None,
    match_radiometry: bool = False,
    bands: Sequence[str] | None = None,
) -> tuple[NDArray[Any], Bools]:
    """Return the window (C, H, W) as read, and its valid pixels (H, W).

    Raises:
        ParameterError: the target is of neither form, or outside.
        MissingFileError: the file is not there.
        UnsupportedError: a raster that does not fit the model.
        DataError: the window has no valid pixel.
    """
    path, numbers = _parse_target(target)
    if path.endswith(".npy"):
        return _read_patch(Path(path), int(numbers[0]), len(bundle.card.bands))
    with open_for_model(
        bundle.card, path, gsd_m=gsd_m, match_radiometry=match_radiometry, bands=bands
    ) as scene:
        col = numbers[0] / scene.ratio_xy[0]
        row = numbers[1] / scene.ratio_xy[1]
        card = bundle.card
        window = read_window(
            scene, col, row, window_px=card.window_px, padding_value=card.padding_value
        )
        _check_has_data(scene, col, row, window_px=card.window_px)
        return window


def _check_has_data(scene: Scene, col: float, row: float, *, window_px: int) -> None:
    """Check that a search scores the window around a point (scene px).

    Raises:
        DataError: it has no valid pixel.
    """
    top = round(row - window_px / 2)
    left = round(col - window_px / 2)
    if scene.read(top, left, window_px, window_px).valid.any():
        return
    ratio_x, ratio_y = scene.ratio_xy
    raise DataError(
        f"{scene.info.name}: the window around {col * ratio_x:.0f},{row * ratio_y:.0f} has no "
        "valid pixel (nodata, alpha band or mask), so no search scores it. Give col,row of ground "
        "with data."
    )


def _parse_target(target: str) -> tuple[str, list[float]]:
    """Return the path of a target, and its one number (of a patch) or two (of a point).

    Raises:
        ParameterError: it is of neither form.
    """
    path, colon, place = target.rpartition(":")
    n_numbers = 1 if path.endswith(".npy") else 2
    try:
        numbers = [float(part) for part in place.split(",")]
    except ValueError:
        numbers = []
    if not colon or len(numbers) != n_numbers or not np.isfinite(numbers).all():
        raise ParameterError(
            f"the target must read {TARGET_FORMS}, got {target!r}. Write it in one of these forms."
        )
    return path, numbers


def _read_patch(path: Path, row: int, n_bands: int) -> tuple[NDArray[Any], Bools]:
    """Return a patch (C, H, W) of a store, and its valid pixels.

    Raises:
        MissingFileError: the file is not there.
        FormatError: it is damaged, or holds no patches of so many bands.
        ParameterError: it has no such row.
    """
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file. Name an array of the patch store, such as data/patches/val.npy."
        )
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        is_array = isinstance(images, np.ndarray)
        is_sound = is_array and images.ndim == 4 and images.shape[3] == n_bands
    except (ValueError, OSError, EOFError, SyntaxError):
        is_sound = False
    if not is_sound:
        raise FormatError(
            f"{path}: is damaged, or holds no patches of {n_bands} bands. Name an array of the "
            "patch store, such as data/patches/val.npy."
        )
    if not 0 <= row < len(images):
        raise ParameterError(
            f"{path}: holds patches 0 to {len(images) - 1}, got {row}. Choose one of them."
        )
    image = np.array(images[row])
    return image.transpose(2, 0, 1), np.ones(image.shape[:2], bool)


def read_window(
    scene: Scene,
    col: float,
    row: float,
    *,
    window_px: int,
    padding_value: Sequence[float] | None = None,
) -> tuple[NDArray[Any], Bools]:
    """Return the window (C, H, W) around a point (scene px), padded beyond the scene's borders.

    It is what a search scores there; the padding counts as valid, so that it is shown.

    Raises:
        ParameterError: the point is not in the scene.
    """
    height, width = scene.shape_hw
    if not (0 <= col <= width and 0 <= row <= height):
        ratio_x, ratio_y = scene.ratio_xy
        info = scene.info
        raise ParameterError(
            f"{info.name}: {col * ratio_x:.0f},{row * ratio_y:.0f} is outside its "
            f"{info.width_px} x {info.height_px} px. Give col,row within."
        )
    top = round(row - window_px / 2)
    left = round(col - window_px / 2)
    extent = (top, top + window_px, left, left + window_px)
    window, valid = read_padded(scene.read, scene.shape_hw, extent, padding_value)
    if padding_value is not None:
        valid = valid | outside_scene(scene.shape_hw, extent)
    return window, valid
