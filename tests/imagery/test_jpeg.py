"""JPEG files decoded whole: GDAL's pixels, once a file, and never those of a damaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from scipy.ndimage import gaussian_filter

from conftest import MakeScene
from windhover.dataset.check_rasters import check_pixels
from windhover.errors import FormatError
from windhover.imagery import jpeg
from windhover.imagery.rasters import inspect_scene
from windhover.imagery.scenes import Scene

# counts; decoders differ by more where colours are stored coarser, which each enlarges in its own
# way
ROUNDING = 2
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def picture(bands: int = 3) -> np.ndarray:
    """Return (bands, 150, 210) uint8 that changes slowly."""
    noise = np.random.default_rng(5).normal(size=(bands, 150, 210))
    smooth = gaussian_filter(noise, (0, 6, 6))
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def write_jpeg(folder: Path, name: str = "scene.jpg", mode: str = "RGB", **options: object) -> Path:
    """Write a JPEG by another writer than GDAL."""
    bands = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    pixels = np.moveaxis(picture(bands), 0, -1)
    Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode).save(
        folder / name, quality=92, **options
    )
    return folder / name


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list that grows by one number for each file decoded whole."""
    counted: list[int] = []
    decode = jpeg.simplejpeg.decode_jpeg

    def counting(content: bytes, *args: object, **options: object) -> object:
        counted.append(len(content))
        return decode(content, *args, **options)

    monkeypatch.setattr(jpeg.simplejpeg, "decode_jpeg", counting)
    return counted


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_pixels_are_those_of_gdal(
    tmp_path: Path, decodings: list[int], mode: str, options: dict[str, object]
) -> None:
    path = write_jpeg(tmp_path, mode=mode, **options)
    with rasterio.open(path) as dataset:
        expected = dataset.read().astype(int)
    with Scene(inspect_scene(path, 0.5)) as scene:
        read, valid = scene.read(0, 0, 150, 210)
        part, _ = scene.read(31, 77, 40, 90)
    assert len(decodings) == 1
    assert valid.all()
    if mode == "L" or "subsampling" in options:
        assert np.abs(read - expected).max() <= ROUNDING
    drawn = picture(len(read)).astype(int)
    assert np.abs(read - drawn).mean() <= 1.02 * np.abs(expected - drawn).mean()
    assert np.array_equal(part, read[:, 31:71, 77:167])


def test_bands_come_in_the_order_asked_for(tmp_path: Path) -> None:
    info = inspect_scene(write_jpeg(tmp_path), 0.5)
    with Scene(info) as plain, Scene(info, bands=["blue", "red"]) as turned:
        assert np.array_equal(turned.read(3, 5, 60, 80)[0], plain.read(3, 5, 60, 80)[0][[2, 0]])


def test_grids_of_one_scene_share_one_decoding(tmp_path: Path, decodings: list[int]) -> None:
    with Scene(inspect_scene(write_jpeg(tmp_path), 0.5)) as scene:
        for ratio in (1.0, 1.6, 2.5):
            with scene.on_grid((ratio, ratio)) as grid:
                grid.read(0, 0, 20, 30)
        with scene.at_gsd(2.0) as seen:
            seen.read(0, 0, 20, 30)
    assert len(decodings) == 1


def test_memory_comes_back_when_the_scene_is_closed(tmp_path: Path) -> None:
    scene = Scene(inspect_scene(write_jpeg(tmp_path), 0.5))
    scene.read(0, 0, 20, 30)
    assert not scene._reader.jpeg.is_empty
    scene.close()
    assert scene._reader.jpeg.is_empty


def test_a_preloaded_scene_holds_its_pixels_once(tmp_path: Path, decodings: list[int]) -> None:
    with Scene(inspect_scene(write_jpeg(tmp_path), 0.5)) as scene:
        scene.preload()
        assert scene._reader.jpeg.is_empty
        scene.read(0, 0, 20, 30)
    assert len(decodings) == 1


def test_what_is_large_is_read_by_gdal_in_parts(
    tmp_path: Path, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, "MAX_DECODED_PX", 150 * 210 - 1)
    with Scene(inspect_scene(write_jpeg(tmp_path), 0.5)) as scene:
        assert scene.read(0, 0, 20, 30)[0].any()
    assert not decodings


def test_other_formats_and_colors_are_read_by_gdal(
    make_scene: MakeScene, tmp_path: Path, decodings: list[int]
) -> None:
    inks = write_jpeg(tmp_path, "inks.jpg", "CMYK")
    inside = make_scene("inside.tif", compress="jpeg", photometric="ycbcr")
    for path in (inks, inside):
        with Scene(inspect_scene(path, 0.5)) as scene, rasterio.open(path) as dataset:
            assert np.array_equal(scene.read(0, 0, *scene.shape_hw)[0], dataset.read())
    assert not decodings


def test_the_sound_part_of_a_damaged_file_is_still_read(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path)
    with Scene(inspect_scene(path, 0.5)) as scene:
        whole, _ = scene.read(0, 0, 40, 210)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with Scene(inspect_scene(path, 0.5)) as scene:
        assert np.abs(scene.read(0, 0, 40, 210)[0].astype(int) - whole).mean() <= ROUNDING
        with pytest.raises(
            FormatError, match=r"scene.jpg: cannot read rows 0 to 150 .*Premature end"
        ):
            scene.read(0, 0, 150, 210)


def test_the_check_of_rasters_hears_what_gdal_alone_warns_of(
    tmp_path: Path, decodings: list[int]
) -> None:
    check_pixels([inspect_scene(write_jpeg(tmp_path), 0.5)])
    assert not decodings
