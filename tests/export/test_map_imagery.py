"""Pictures of the map page: of whole rasters, and of spatial blocks that count px of theirs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from toy_results import searched
from windhover.export.map_imagery import CHIP_PX, read_chips, read_overlay
from windhover.export.map_layout import corners_cm, place_scenes
from windhover.geometry.georef import box_polygons

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


# where the antimeridian is 20 px from the left or the right side
ACROSS = {
    "EPSG:4326, left": ("EPSG:4326", Affine(1e-5, 0, 180 - 20e-5, 0, -1e-5, 0)),
    "EPSG:4326, right": ("EPSG:4326", Affine(1e-5, 0, 180 - 81e-5, 0, -1e-5, 0)),
    "EPSG:32760": ("EPSG:32760", Affine(1.25, 0, 756068 - 25, 0, -1.25, 5567743)),
    "EPSG:3832": ("EPSG:3832", Affine(1.25, 0, 3339584.724 - 101, 0, -1.25, 0)),
    "EPSG:3857": ("EPSG:3857", Affine(1.25, 0, 20037508.34 - 25, 0, -1.25, 0)),
}


@pytest.mark.parametrize("kind", ACROSS)
def test_picture_outline_and_boxes_are_at_one_place_across_the_antimeridian(
    make_scene: Any, kind: str
) -> None:
    crs, transform = ACROSS[kind]
    pixels = np.full((3, 60, 101), 30, np.uint8)
    pixels[:, 18:25, 5:12] = 255
    path = make_scene("a.tif", data=pixels, crs=crs, transform=transform)
    place = place_scenes(searched([path])[1].scenes, "earth")["a"]
    overlay = read_overlay(place, side_px=512)
    shown = picture(overlay.data_uri)
    assert overlay.bounds == pytest.approx(place.bounds, abs=4)
    assert shown.shape[1] >= 100
    spots = box_polygons([[5, 18, 12, 25], [90, 40, 97, 47]], transform)
    corners = corners_cm(spots[::-1], place).reshape(2, 4, 2)[::-1] / 100  # metres
    left, _, right, top = overlay.bounds
    scale = shown.shape[1] / (right - left)
    bright, dark = ((corners.mean(axis=1) - (left, top)) * (scale, -scale)).round().astype(int)
    assert shown[bright[1], bright[0], :3].min() > 150
    assert shown[dark[1], dark[0], :3].max() < 100


def test_a_disc_seen_from_space_has_an_outline(make_scene: Any) -> None:
    transform = Affine(11136000 / 140, 0, -5568000, 0, -11136000 / 120, 5568000)
    disc = "+proj=geos +h=35785831 +lon_0=0"
    path = make_scene("a.tif", (120, 140), crs=disc, transform=transform)
    scene = searched([path])[1].scenes[0]
    left, bottom, right, top = place_scenes([scene], "earth")["a"].bounds
    assert -9e6 < left < -6e6
    assert 6e6 < right < 9e6
    assert bottom < -8e6
    assert top > 8e6
