"""Ground that is not valid: alpha and masks of any number of bands, stacks, missing sources."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp

from windhover.errors import FormatError
from windhover.geometry.windows import Window
from windhover.imagery.gdal_messages import undecodable_messages_raised
from windhover.imagery.missing_sources import missing_sources
from windhover.imagery.rasters import files_read, inspect_scene
from windhover.imagery.scenes import Scene, open_scene
from windhover.imagery.virtual_rasters import write_stack, write_window

SHAPE = (40, 60)
EMPTY = (slice(0, 10), slice(0, 30))
TRANSFORM = Affine(1, 0, 500_000, 0, -1, 5_000_000)


def write(path: Path, n_bands: int, *, alpha: bool = False, col: int = 0, **options: Any) -> Path:
    """Write a raster of 100 everywhere; with `alpha` the corner `EMPTY` is transparent."""
    profile = {
        "driver": "GTiff",
        "width": SHAPE[1],
        "height": SHAPE[0],
        "count": n_bands + alpha,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": TRANSFORM @ Affine.translation(col, 0),
    }
    with rasterio.open(path, "w", **profile | options) as out:
        out.write(np.full((n_bands, *SHAPE), 100, np.uint8), list(range(1, n_bands + 1)))
        if alpha:
            out.write(opacity(), n_bands + 1)
            out.colorinterp = [*list(out.colorinterp)[:n_bands], ColorInterp.alpha]
    return path


def opacity() -> np.ndarray:
    values = np.full(SHAPE, 255, np.uint8)
    values[EMPTY] = 0
    return values


def valid_px(path: Path, bands: tuple[str, ...] | None = None) -> np.ndarray:
    with Scene(inspect_scene(path), bands=bands) as scene:
        return scene.read(0, 0, *SHAPE).valid


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 6, 9])
def test_what_is_transparent_is_not_valid(tmp_path: Path, n_bands: int) -> None:
    path = write(tmp_path / "a.tif", n_bands, alpha=True)
    np.testing.assert_array_equal(valid_px(path), opacity() > 0)
    window = tmp_path / "w.vrt"
    write_window(inspect_scene(path), Window(0, 0, *SHAPE), window)
    np.testing.assert_array_equal(valid_px(window), opacity() > 0)


@pytest.mark.parametrize("n_bands", [1, 2])
def test_a_stack_keeps_the_alpha_of_its_files(tmp_path: Path, n_bands: int) -> None:
    sources = {
        "red": write(tmp_path / "red.tif", n_bands),
        "nir": write(tmp_path / "nir.tif", n_bands, alpha=True),
    }
    write_stack(sources, tmp_path / "s.vrt")
    np.testing.assert_array_equal(valid_px(tmp_path / "s.vrt"), opacity() > 0)
    assert valid_px(tmp_path / "s.vrt", ("red",)).all()


def test_a_stack_keeps_the_masks_of_its_files(tmp_path: Path) -> None:
    masked = write(tmp_path / "b.tif", 1)
    with rasterio.open(masked, "r+") as out:
        out.write_mask(opacity())
    write_stack({"a": write(tmp_path / "a.tif", 1), "b": masked}, tmp_path / "s.vrt")
    np.testing.assert_array_equal(valid_px(tmp_path / "s.vrt"), opacity() > 0)
    # a window of the stack too, whose bands have a mask each
    write_window(inspect_scene(tmp_path / "s.vrt"), Window(0, 0, *SHAPE), tmp_path / "w.vrt")
    np.testing.assert_array_equal(valid_px(tmp_path / "w.vrt"), opacity() > 0)
    assert valid_px(tmp_path / "w.vrt", ("a",)).all()


MOSAIC = """<VRTDataset rasterXSize="120" rasterYSize="40"><SRS>EPSG:32633</SRS>
<GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>
<VRTRasterBand dataType="Byte" band="1">{sources}</VRTRasterBand></VRTDataset>"""
SOURCE = """<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>
<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="60" ySize="40"/>
<DstRect xOff="{col}" yOff="0" xSize="60" ySize="40"/></SimpleSource>"""


def write_mosaic(folder: Path) -> Path:
    write(folder / "west.tif", 1)
    write(folder / "east.tif", 1, col=60)
    sources = [
        SOURCE.format(name=f"{name}.tif", col=col) for name, col in (("west", 0), ("east", 60))
    ]
    (folder / "mosaic.vrt").write_text(MOSAIC.format(sources="".join(sources)))
    return folder / "mosaic.vrt"


def test_a_missing_source_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path)
    assert missing_sources(str(mosaic)) == ()
    assert str(tmp_path / "east.tif") in files_read(mosaic)
    (tmp_path / "east.tif").unlink()
    (source,) = missing_sources(str(mosaic))
    assert source == (str(tmp_path / "east.tif"), 0, 60, 40, 60)
    info = inspect_scene(mosaic)
    sentence = f"1 of its sources are missing or damaged ({tmp_path}/east.tif): no data there"
    assert sentence in info.notes
    with open_scene(mosaic) as scene:
        pixels, valid = scene.read(0, 0, 40, 120)
    assert valid[:, :60].all()
    assert (pixels[0, :, :60] == 100).all()
    assert not valid[:, 60:].any()
    (tmp_path / "west.tif").unlink()
    with pytest.raises(FormatError, match=r"west\.tif"), open_scene(mosaic) as scene:
        scene.read(0, 0, 40, 120)


NESTED = MOSAIC.replace('"120"', '"240"')
INNER = (
    '<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
    '<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="120" ySize="40"/>'
    '<DstRect xOff="{col}" yOff="0" xSize="120" ySize="40"/></SimpleSource>'
)


def write_nested(folder: Path) -> Path:
    """Write a mosaic of two mosaics of two tiles each, of 60 x 40 px."""
    for name in ("left", "right"):
        (folder / name).mkdir()
        write_mosaic(folder / name)
    places = {"left/mosaic.vrt": 0, "right/mosaic.vrt": 120}
    sources = [INNER.format(name=name, col=col) for name, col in places.items()]
    (folder / "outer.vrt").write_text(NESTED.format(sources="".join(sources)))
    return folder / "outer.vrt"


def test_a_missing_source_of_a_mosaic_in_a_mosaic_is_named_and_the_rest_is_read(
    tmp_path: Path,
) -> None:
    outer = write_nested(tmp_path)
    assert missing_sources(str(outer)) == ()
    (tmp_path / "right/east.tif").unlink()
    assert missing_sources(str(outer)) == ((f"{tmp_path}/right/east.tif", 0, 180, 40, 60),)
    with open_scene(outer) as scene:
        pixels, valid = scene.read(0, 0, 40, 240)
    assert valid[:, :180].all()
    assert (pixels[0, :, :180] == 100).all()
    assert not valid[:, 180:].any()


@pytest.mark.parametrize("junk", [b"", b"junk" * 99])
def test_a_source_that_is_no_raster_is_never_read_as_zeros(tmp_path: Path, junk: bytes) -> None:
    outer = write_nested(tmp_path)
    (tmp_path / "left/west.tif").write_bytes(junk)
    for _ in range(3):  # GDAL fails once, and gives zeros from then on
        with open_scene(outer) as scene:
            pixels, valid = scene.read(0, 0, 40, 240)
        assert not valid[:, :60].any()
        assert valid[:, 60:].all()
        assert (pixels[0, :, 60:] == 100).all()


def test_a_mosaic_without_any_source_is_a_sentence(tmp_path: Path) -> None:
    outer = write_nested(tmp_path)
    for tile in tmp_path.glob("*/*.tif"):
        tile.unlink()
    with pytest.raises(FormatError, match=r"outer\.vrt: every source .* missing .*west\.tif"):
        inspect_scene(outer)


@pytest.mark.parametrize("place", [b"west", b"<SourceBand>", b"</VRTDataset>"])
def test_bytes_that_are_not_utf8_are_one_sentence_wherever_they_stand(
    tmp_path: Path, place: bytes
) -> None:
    mosaic = write_mosaic(tmp_path)
    mosaic.write_bytes(mosaic.read_bytes().replace(place, b"\xff" + place, 1))
    with pytest.raises(FormatError, match=r"mosaic\.vrt: holds bytes that are not UTF-8"):
        inspect_scene(mosaic)


def test_an_error_that_rasterio_drops_is_raised() -> None:
    def drop() -> None:
        with undecodable_messages_raised():
            error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
            sys.unraisablehook(SimpleNamespace(exc_value=error, object="rasterio._err.log_error"))

    before = sys.unraisablehook
    with pytest.raises(UnicodeDecodeError, match="invalid start byte"):
        drop()
    assert sys.unraisablehook is before


def test_a_virtual_raster_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    mosaic = write_mosaic(tmp_path)
    band = b'band="1"><Description>\xe4\xf6</Description>'
    mosaic.write_bytes(mosaic.read_bytes().replace(b'band="1">', band))
    with pytest.raises(FormatError, match=r"mosaic\.vrt.*not UTF-8: write it again in UTF-8"):
        inspect_scene(mosaic)
