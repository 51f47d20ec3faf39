"""Masks of usable ground made by a model of coverage, before the search that needs them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from windhover.detection.detect_request import DetectRequest
from windhover.models.card import CARD

logger = logging.getLogger(__name__)


def with_mapped_masks(request: DetectRequest) -> DetectRequest:
    """Return a request whose mask is a raster or a folder of rasters.

    Where it is the folder of a model of coverage, the scenes are mapped by that model into a folder
    next to the output, `OUTPUT_masks`, which stays there.

    Raises:
        WindhoverError: a child that names why the scenes cannot be mapped by the model.
    """
    if request.mask is None or not (request.mask / CARD).is_file():
        return request
    # loads what writes maps of coverage, which a search without a mask does not need
    from windhover.detection.map_rasters import map_rasters

    folder = mask_folder(request.output)
    logger.info("mapping the ground that can be used, by %s", request.mask)
    mapped = DetectRequest(
        scenes=request.scenes,
        model=request.mask,
        output=folder,
        aoi=request.aoi,
        gsd_m=request.gsd_m,
        device=request.device,
        batch_px=request.batch_px,
        block_px=request.block_px,
        resume=request.resume,
    )
    map_rasters(mapped)
    return replace(request, mask=folder)


def mask_folder(output: Path) -> Path:
    """Return the folder of the masks that are made for a file of detections."""
    return output.with_name(f"{output.stem}_masks")
