"""Pictures of the map page: of whole rasters, and of spatial blocks that count px of theirs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toy_results import searched
from windhover.export.map_imagery import CHIP_PX, read_chips, read_overlay
from windhover.export.map_layout import place_scenes

WHITE_PX = (33, 21)  # the one bright spot of the raster, in its own px


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize("origin", [(0, 0), (410, 157)])
def test_chips_of_a_block_show_what_the_raster_has_there(
    make_scene: Any, origin: tuple[int, int]
) -> None:
    pixels = np.zeros((3, 60, 101), np.uint8)
    pixels[:, WHITE_PX[1] - 3 : WHITE_PX[1] + 3, WHITE_PX[0] - 3 : WHITE_PX[0] + 3] = 255
    path = make_scene("a.tif", data=pixels)
    scene = searched([path])[1].scenes[0].model_copy(update={"origin_px": origin})
    overlay = read_overlay(place_scenes([scene], "earth")["a"], side_px=512)
    assert picture(overlay.data_uri)[..., 0].max() > 200
    center = (WHITE_PX[0] + origin[0], WHITE_PX[1] + origin[1])
    beside = (center[0] + 50, center[1] + 20)
    shown, dark = (picture(uri) for uri in read_chips(scene, [center, beside], [9, 9], (0, 255)))
    assert shown[CHIP_PX // 2, CHIP_PX // 2].min() > 200
    assert dark[CHIP_PX // 2, CHIP_PX // 2].max() < 60
