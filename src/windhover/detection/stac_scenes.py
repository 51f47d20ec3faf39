"""A request whose scenes are STAC items, made into one whose scenes are their rasters.

Bands in files of their own become a virtual raster in memory; nothing is written to disk.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from rasterio.io import MemoryFile

from windhover.detection.detect_request import DetectRequest
from windhover.detection.stac_input import StacScene, common_bands, is_stac, read_stac_scenes
from windhover.errors import DataError
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.virtual_rasters import stack_content
from windhover.models.card import CARD, read_card

STACKS = "windhover-stack"  # folder in the memory of GDAL
STACK_NAME_BYTES = 8
NO_FILE_NAME = r"[^0-9A-Za-z._-]"


def with_stac_scenes(
    request: DetectRequest, stacks: ExitStack
) -> tuple[DetectRequest, dict[str, StacScene]]:
    """Return a request for the rasters that STAC files name, and the items by their rasters.

    Args:
        request: what to do.
        stacks: keeps virtual rasters of stacked bands until it is closed.

    Raises:
        WindhoverError: a STAC file that cannot be read, an item without the model's bands, or
            bands that are on different grids.
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
        for item in read_stac_scenes(scene, card.bands, card.dtype):
            if item.sources:
                item = _stacked(item, card.bands, scene, stacks=stacks)
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


def _stacked(item: StacScene, bands: Sequence[str], source: str, *, stacks: ExitStack) -> StacScene:
    """Return an item whose raster is a stack of its bands, in the memory of GDAL.

    Its address is a digest of the stack, so that a killed search is resumed on the same one.

    Raises:
        DataError: the bands are on different grids.
    """
    try:
        content = stack_content(dict(zip(bands, item.sources, strict=True)))
    except DataError as error:
        raise DataError(f"{source}: the item {item.name}: {error}") from None
    name = f"{re.sub(NO_FILE_NAME, '_', item.name)}.vrt"
    memory = stacks.enter_context(open_stack(content, name))
    return item._replace(path=memory.name, stack=content)


def open_stack(content: bytes, file_name: str) -> MemoryFile:
    """Return a virtual raster of stacked bands as a file in the memory of GDAL, until it is closed.

    Equal content has equal addresses, in any process.

    Args:
        content: of the virtual raster.
        file_name: of its address.
    """
    digest = hashlib.blake2b(content, digest_size=STACK_NAME_BYTES).hexdigest()
    return MemoryFile(content, dirname=f"{STACKS}-{digest}", filename=file_name)


def named_by_item(info: SceneInfo, items: Mapping[str, StacScene]) -> SceneInfo:
    """Return a raster's description with the name and the time of its item, if it has one."""
    item = items.get(info.path)
    if item is None:
        return info
    return replace(
        info,
        name=item.name,
        acquired=item.acquired or info.acquired,
        stac_item=item.source,
    )
