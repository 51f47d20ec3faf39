"""Whether a request fits its model, by the model's card before torch is loaded.

Errors are raised within a second. Reads no pixel and scores nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from shapely.geometry.base import BaseGeometry

from windhover.detection.detect_request import DetectRequest
from windhover.errors import DataError, ParameterError
from windhover.geometry.georef import box_polygons
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.inference.aoi import describe_misplacement, read_aoi
from windhover.inference.model_input import find_bands_for_model
from windhover.inference.search_settings import SearchSettings
from windhover.models.bundle import Bundle
from windhover.models.card import Card
from windhover.models.network_names import DENSE_NETWORKS
from windhover.params.allowed_values import INFERENCE_PRECISIONS

DEVICES = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")


def check_against_model(
    request: DetectRequest,
    bundle: Bundle,
    infos: Sequence[SceneInfo],
    areas: Sequence[BaseGeometry | None],
) -> None:
    """Check options, areas and rasters of a request against a model.

    Args:
        request: what to do.
        bundle: the model.
        infos: of the rasters.
        areas: of interest in each, None for all of it.

    Raises:
        WindhoverError: a child that names the fault.
    """
    bundle.choose_thresholds(request.threshold)
    _check_options(request, bundle.card)
    is_inside = [has_ground(info, area) for info, area in zip(infos, areas, strict=True)]
    if not any(is_inside):
        raise not_in_area(request, infos)
    for info, inside in zip(infos, is_inside, strict=True):
        if inside:
            _check_raster(request, bundle.card, info)


def _check_options(request: DetectRequest, card: Card) -> None:
    """Check device, number type, scales, stride and batch.

    Raises:
        ParameterError: one is not possible with this model.
    """
    if not DEVICES.fullmatch(request.device):
        raise ParameterError(
            f"device {request.device!r} cannot be had here. Use auto, cpu or cuda."
        )
    if request.inference_precision not in ("auto", *INFERENCE_PRECISIONS):
        raise ParameterError(
            f"inference_precision must be auto or one of {', '.join(INFERENCE_PRECISIONS)}, "
            f"got {request.inference_precision!r}. Choose one of them."
        )
    if request.searched_scales is not None:
        SearchSettings(scales=request.searched_scales)
    if request.batch_px is not None and request.batch_px < card.window_px**2:
        raise ParameterError(
            f"batch_px must hold one window of {card.window_px}x{card.window_px} px, "
            f"got {request.batch_px} px. Raise it."
        )
    if request.stride_px is not None:
        _check_stride(request.stride_px, card)


def _check_stride(stride_px: int, card: Card) -> None:
    """Check that a model's network offers a stride."""
    own = card.stride_px
    if card.network.name in DENSE_NETWORKS:
        if stride_px == own or 2 * stride_px == own:
            return
        raise ParameterError(
            f"stride must be {own} or {own // 2} px for this network, got {stride_px} px. "
            "Choose one of them."
        )
    if not 1 <= stride_px <= card.window_px:
        raise ParameterError(
            f"stride must be in 1..window ({card.window_px} px), got {stride_px} px. "
            "Choose a smaller one."
        )


def has_ground(info: SceneInfo, area: BaseGeometry | None) -> bool:
    """Return whether a raster has a part in an area of its own system."""
    if area is None:
        return True
    outline = box_polygons(np.array([[0, 0, info.width_px, info.height_px]]), info.transform)[0]
    return bool(outline.intersects(area))


def not_in_area(request: DetectRequest, infos: Sequence[SceneInfo]) -> DataError:
    """Return the error of rasters of which no part is in the area of interest."""
    hint = ""
    if request.aoi is not None:
        hint = describe_misplacement(read_aoi(request.aoi), infos)
    return DataError(
        f"{infos[0].path}: no part of it lies in the area to be searched. "
        f"{hint or 'Correct the area.'}"
    )


def _check_raster(request: DetectRequest, card: Card, info: SceneInfo) -> None:
    """Check bands, number type and scale of a raster.

    Raises:
        UnsupportedError: another number type than the model's, or bands that are missing.
        ParameterError: bands that the raster or the model has not.
        DataError: one px of the raster is a whole window of the model, or the whole raster is
            less than a px of it.
    """
    bands = find_bands_for_model(
        card, info, match_radiometry=request.match_radiometry, bands=request.bands
    )
    scene = Scene(info, card.gsd_m, bands)
    ratio_x, ratio_y = scene.ratio_xy
    advice = "Is the georeference, or --gsd, right?"
    if min(ratio_x, ratio_y) < 1 / card.window_px:
        raise DataError(
            f"{info.path}: one px of {max(info.gsd_m):.3g} m is larger than the model's whole "
            f"window of {card.window_px} px of {min(scene.gsd_m):.3g} m. {advice}"
        )
    if info.width_px < ratio_x or info.height_px < ratio_y:
        raise DataError(
            f"{info.path}: its {info.width_px} x {info.height_px} px of {min(info.gsd_m):.3g} m "
            f"are less than one px of the model, {max(scene.gsd_m):.3g} m. {advice}"
        )
