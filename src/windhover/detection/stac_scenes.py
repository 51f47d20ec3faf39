"""A request whose scenes are STAC items, made into one whose scenes are their rasters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from windhover.detection.detect_request import DetectRequest
from windhover.detection.stac_input import StacScene, common_bands, is_stac, read_stac_scenes
from windhover.errors import DataError
from windhover.imagery.rasters import SceneInfo
from windhover.models.card import CARD, read_card


def with_stac_scenes(request: DetectRequest) -> tuple[DetectRequest, dict[str, StacScene]]:
    """Return a request for the rasters that STAC files name, and the items by their rasters.

    Raises:
        WindhoverError: a STAC file that cannot be read, or an item without the model's bands.
    """
    if not any(is_stac(scene) for scene in request.scenes):
        return request, {}
    card = read_card(request.model / CARD)
    rasters: list[str] = []
    items: dict[str, StacScene] = {}
    for scene in request.scenes:
        if not is_stac(scene):
            rasters.append(scene)
            continue
        for item in read_stac_scenes(scene, card.bands):
            if item.path in items:
                raise DataError(
                    f"{scene}: the items {items[item.path].name} and {item.name} name the same "
                    f"raster, {item.path}. Take one of them out."
                )
            items[item.path] = item
            rasters.append(item.path)
    bands = request.bands
    if bands is None:
        if len(items) < len(rasters):
            for item in items.values():
                if item.bands is not None:
                    raise DataError(
                        "STAC items and other rasters in one search: their bands are chosen in "
                        "different ways. Search them apart, or state --bands."
                    )
        bands = common_bands(items.values(), request.scenes[0])
    return replace(request, scenes=rasters, bands=bands), items


def named_by_item(info: SceneInfo, items: Mapping[str, StacScene]) -> SceneInfo:
    """Return a raster's description with the name and the time of its item, if it has one."""
    item = items.get(info.path)
    if item is None:
        return info
    return replace(info, name=item.name, acquired=item.acquired or info.acquired)
