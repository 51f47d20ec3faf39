"""Pictures: one stretch to bytes for all, bands chosen by name, boxes that can be seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from conftest import MakeScene
from windhover.imagery.rasters import inspect_scene
from windhover.imagery.scenes import open_scene
from windhover.rendering.contact_sheet import Cell, draw_sheet
from windhover.rendering.images import (
    NODATA_GRAY,
    draw_box,
    draw_cross,
    evenly_chosen,
    rgb_bands,
    scene_overview,
    stretch_range,
    thumbnail_around,
    to_bytes,
    to_rgb,
)

RED = (255, 0, 0)


def reflectance(border_px: int = 0) -> np.ndarray:
    """Return (3, 60, 90) uint16 values about 1,000 to 3,000, 0 in a border without data."""
    pixels = np.random.default_rng(0).integers(1_000, 3_000, (3, 60, 90)).astype(np.uint16)
    pixels[:, :, :border_px] = 0
    return pixels


def drawn_on(image: Image.Image) -> np.ndarray:
    """Return the rows and columns of what was drawn in red: top, left, bottom, right, inclusive."""
    rows, columns = np.nonzero((np.asarray(image) == RED).all(-1))
    return np.array([rows.min(), columns.min(), rows.max(), columns.max()])


def test_bytes_stay_as_they_are() -> None:
    pixels = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16)
    np.testing.assert_array_equal(to_rgb(pixels), pixels.transpose(1, 2, 0))


def test_every_byte_stays_as_it_is_on_a_contact_sheet() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=-1)
    shown = np.asarray(draw_sheet([[Cell(image, "")]], ""))
    assert {tuple(color) for color in image.reshape(-1, 3).tolist()} <= {
        tuple(color) for color in shown.reshape(-1, 3).tolist()
    }


@pytest.mark.parametrize("border_px", [3, 30, 80])
def test_pixels_without_data_do_not_change_the_stretch(border_px: int) -> None:
    bordered = reflectance(border_px).transpose(1, 2, 0)
    inside = bordered[:, border_px:]
    assert stretch_range(bordered) == stretch_range(inside)
    low, high = stretch_range(bordered)
    assert 1_000 < low < 1_100
    assert 2_900 < high < 3_000


def test_a_mask_and_zeros_give_the_same_stretch() -> None:
    pixels = reflectance(20)
    valid = np.ones(pixels.shape[1:], bool)
    valid[:, :20] = False
    masked = to_rgb(pixels, valid)
    np.testing.assert_array_equal(masked[:, 20:], to_rgb(pixels)[:, 20:])
    assert (masked[:, :20] == NODATA_GRAY).all()


def test_the_picture_and_the_contact_sheet_show_16_bits_alike() -> None:
    pixels = reflectance(20)[:, :60, :60]
    sheet = draw_sheet([[Cell(pixels.transpose(1, 2, 0), "")]], "")
    colors = {tuple(color) for color in np.asarray(sheet).reshape(-1, 3).tolist()}
    assert {tuple(color) for color in to_rgb(pixels).reshape(-1, 3).tolist()} <= colors


def test_a_dark_band_stays_dark() -> None:
    pixels = reflectance()
    pixels[2] //= 2
    red, _, blue = to_rgb(pixels).reshape(-1, 3).mean(axis=0)
    assert blue < 0.6 * red


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_the_stretch_is_one_rising_line(dtype: str) -> None:
    pixels = np.linspace(1, 4_000, 3 * 40 * 50).reshape(3, 40, 50).astype(dtype)
    shown = to_rgb(pixels).transpose(2, 0, 1).ravel().astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[0] == 0
    assert shown[-1] == 255


def test_values_that_are_not_numbers_are_black_and_not_counted() -> None:
    pixels = np.linspace(1, 2, 3 * 40 * 50, dtype=np.float32).reshape(3, 40, 50)
    damaged = pixels.copy()
    damaged[:, 0, 0] = np.nan
    assert stretch_range(damaged.transpose(1, 2, 0)) == pytest.approx(
        stretch_range(pixels.transpose(1, 2, 0)), abs=1e-3
    )
    assert (to_rgb(damaged)[0, 0] == 0).all()


@pytest.mark.parametrize("value", [0, 7])
def test_a_picture_of_one_value_is_no_error(value: int) -> None:
    assert to_rgb(np.full((1, 8, 9), value, np.int16)).shape == (8, 9, 3)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(0, 2**32 - 1))
def test_bytes_are_within_their_range(low: float, width: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(low - width, low + 2 * width, (5, 7, 3))
    shown = to_bytes(values, (low, low + width))
    assert (shown[values <= low] == 0).all()
    assert (shown[values >= low + width] == 255).all()


@pytest.mark.parametrize(
    ("n_bands", "names", "bands"),
    [
        (3, ("red", "green", "blue"), [0, 1, 2]),
        (4, ("blue", "green", "red", "nir"), [2, 1, 0]),
        (5, ("B02", "B03", "B04", "B08", "B11"), [2, 1, 0]),
        (4, ("a", "b", "c", "d"), [0, 1, 2]),
        (4, (), [0, 1, 2]),
        (2, ("vv", "vh"), [0, 0, 0]),
        (1, (), [0, 0, 0]),
    ],
)
def test_three_bands_are_chosen_by_name(
    n_bands: int, names: tuple[str, ...], bands: list[int]
) -> None:
    assert rgb_bands(n_bands, names) == bands


def test_bands_by_name_are_shown_in_their_colors() -> None:
    pixels = np.stack([np.full((4, 5), value, np.uint8) for value in (10, 20, 30, 40)])
    assert to_rgb(pixels, band_names=("blue", "green", "red", "nir"))[0, 0].tolist() == [30, 20, 10]


@given(st.integers(0, 300), st.integers(1, 60))
def test_evenly_chosen_rows_differ_and_reach_both_ends(length: int, count: int) -> None:
    rows = evenly_chosen(length, count)
    assert len(rows) == len(set(rows.tolist())) == min(length, count)
    if length and count > 1:
        assert rows[0] == 0
        assert rows[-1] == length - 1
        assert np.ptp(np.diff(rows)) <= 1 if len(rows) > 1 else True


def test_a_box_is_drawn_at_its_corners() -> None:
    image = Image.new("RGB", (40, 30))
    draw_box(ImageDraw.Draw(image), (5, 6, 20, 15), RED)
    assert drawn_on(image).tolist() == [6, 5, 15, 20]


def test_a_small_box_is_grown_around_its_middle() -> None:
    image = Image.new("RGB", (40, 30))
    draw_box(ImageDraw.Draw(image), (20, 10, 20.5, 10.5), RED)
    top, left, bottom, right = drawn_on(image)
    assert bottom - top >= 2
    assert right - left >= 2
    assert (top + bottom) / 2 == pytest.approx(10.25, abs=1)


def test_a_box_is_clipped_to_the_cell() -> None:
    image = Image.new("RGB", (40, 30))
    draw_box(ImageDraw.Draw(image), (-9, 6, 99, 15), RED, within=(10, 10, 19, 19))
    assert drawn_on(image).tolist() == [10, 10, 15, 19]


@pytest.mark.parametrize("box", [(np.nan,) * 4, (50, 6, 60, 15)])
def test_an_unknown_box_or_one_outside_is_not_drawn(box: tuple[float, ...]) -> None:
    image = Image.new("RGB", (40, 30))
    draw_box(ImageDraw.Draw(image), box, RED, within=(0, 0, 39, 29))
    assert not np.asarray(image).any()


def test_a_cross_is_drawn_around_its_point() -> None:
    image = Image.new("RGB", (40, 30))
    draw_cross(ImageDraw.Draw(image), 20, 12, color=RED)
    assert drawn_on(image).tolist() == [9, 17, 15, 23]


@pytest.mark.parametrize(
    ("center", "corner"), [((100, 70), (68, 38)), ((5, 140), (0, 86)), ((209, 2), (146, 0))]
)
def test_a_thumbnail_is_moved_into_the_scene(
    make_scene: MakeScene, center: tuple[float, float], corner: tuple[int, int]
) -> None:
    with open_scene(make_scene()) as scene:
        thumbnail = thumbnail_around(scene, center, 64)
        assert (thumbnail.left, thumbnail.top) == corner
        pixels, _ = scene.read(corner[1], corner[0], 64, 64)
    np.testing.assert_array_equal(thumbnail.image, pixels.transpose(1, 2, 0))


def test_a_thumbnail_of_a_smaller_scene_ends_in_gray(make_scene: MakeScene) -> None:
    with open_scene(make_scene(shape_hw=(50, 210))) as scene:
        thumbnail = thumbnail_around(scene, (100, 25), 64)
    assert (thumbnail.left, thumbnail.top) == (68, 0)
    assert (thumbnail.image[50:] == NODATA_GRAY).all()


def test_an_overview_shows_the_whole_scene_in_its_proportions(make_scene: MakeScene) -> None:
    image, scale = scene_overview(inspect_scene(make_scene(dtype="uint16", bands=4)), 70)
    assert image.size == (70, 50)
    assert scale == pytest.approx(1 / 3)
    assert np.asarray(image).std() > 20


def test_a_small_scene_is_not_enlarged(make_scene: MakeScene) -> None:
    image, scale = scene_overview(inspect_scene(make_scene()), 1_000)
    assert image.size == (210, 150)
    assert scale == 1
