"""Odd and damaged rasters: read right, or one sentence that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from command_line import windhover
from conftest import MakeScene
from windhover.imagery.rasters import inspect_scene

SOUND = Affine(1.25, 0, 4e5, 0, -1.25, 5e6)


PLACES: dict[str, tuple[Any, Affine, str]] = {
    "nan": ("EPSG:32631", Affine(1.25, 0, np.nan, 0, -1.25, 5e6), "is not finite"),
    "inf": ("EPSG:32631", Affine(1.25, 0, np.inf, 0, -1.25, 5e6), "is not finite"),
    "flat": ("EPSG:32631", Affine(0, 0, 4e5, 0, 0, 5e6), "has no size in metres"),
    "distance": ("EPSG:4326", SOUND, "beyond the pole"),
    "swapped": (
        "EPSG:4326",
        Affine(1e-5, 0, 48, 0, -1e-5, 120),
        "latitude 119.999, beyond the pole",
    ),
    "geocentric": ("EPSG:4978", SOUND, "is geocentric"),
    "engineering": ('LOCAL_CS["here",UNIT["metre",1]]', SOUND, "cannot be reprojected"),
}


@pytest.mark.parametrize("name", PLACES)
def test_rasters_that_lie_nowhere_end_in_one_sentence(
    name: str, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    crs, transform, sentence = PLACES[name]
    path = make_scene(f"{name}.tif", crs=crs, transform=transform)
    code, said = windhover(monkeypatch, capsys, "inspect", str(path))
    assert code == 1
    assert f"{path}: " in said
    assert sentence in said


@pytest.mark.parametrize(
    "kind",
    [
        "half.tif",
        "eight.tif",
        "zero.tif",
        "text.tif",
        "half.png",
        "half.jpg",
        "bits.png",
        "bits.tif",
        "none.vrt",
    ],
)
def test_damaged_rasters_end_in_one_sentence(
    kind: str, make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    how, suffix = kind.split(".")
    driver = {"tif": "GTiff", "png": "PNG", "jpg": "JPEG", "vrt": "GTiff"}[suffix]
    profile = {"compress": "jpeg", "photometric": "ycbcr"} if kind == "bits.tif" else {}
    data = make_scene(
        f"whole.{suffix if suffix != 'vrt' else 'tif'}", driver=driver, **profile
    ).read_bytes()
    middle = len(data) // 2
    source = (
        "<SimpleSource><SourceFilename>gone.tif</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource>"
    )
    damaged = {
        "half": data[:middle],
        "eight": data[:8],
        "zero": b"",
        "text": b"<html>404 not found</html>",
        "bits": data[:middle] + bytes(200) + data[middle + 200 :],
        "none": (
            '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1">'
            f"{source}</VRTRasterBand></VRTDataset>"
        ).encode(),
    }[how]
    (tmp_path / "sick").mkdir()
    path = tmp_path / "sick" / kind
    path.write_bytes(damaged)
    code, said = windhover(monkeypatch, capsys, "inspect", str(path), "--gsd", "0.5")
    assert code == 1
    assert said.startswith(f"cannot be used: {path}: ")
    assert len(said.strip().splitlines()) == 1


def test_a_deflated_block_that_is_overwritten_is_noticed_where_gdal_does_not(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tiled = {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64}
    noise = np.random.default_rng(0).normal(0, 4, (3, 150, 210))
    data = (100 + 60 * np.sin(np.arange(210) / 17) + noise).astype(np.uint8)
    for interleave in ("pixel", "band"):
        path = make_scene(f"{interleave}.tif", data=data, interleave=interleave, **tiled)
        sound, quiet = path.read_bytes(), 0
        for at in np.linspace(len(sound) // 4, len(sound) * 3 // 4, 6).astype(int):
            path.write_bytes(sound[:at] + bytes(16) + sound[at + 16 :])
            code, said = windhover(monkeypatch, capsys, "inspect", str(path))
            assert (code, "damage" in said) == (1, True), said
            quiet += "(checksum)" in said
        assert quiet  # GDAL alone would have let these pass
        path.write_bytes(sound)
        assert windhover(monkeypatch, capsys, "inspect", str(path))[0] == 0


def picture(path: Path, kind: str) -> Path:
    """Write a picture of a kind that readers stumble over; return its path."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (30, 50, 4), np.uint8)
    image = Image.fromarray(pixels[..., :3])
    how, suffix = kind.split(".")
    path = path / f"pic.{suffix}"
    if how == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    elif how in ("palette", "cmyk", "bits", "grey_alpha"):
        modes = {"cmyk": "CMYK", "bits": "1", "grey_alpha": "LA"}
        (image.quantize(16) if how == "palette" else image.convert(modes[how])).save(path)
    else:
        image.save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("turned.jpg", "its EXIF marks it to be turned"),
        ("palette.png", "holds colour numbers of a palette"),
        ("cmyk.jpg", "50 x 30 px, 0.5 m, uint8, red, green, blue, local grid"),
        ("bits.png", "50 x 30 px, 0.5 m, uint8, band1"),
        ("grey_alpha.png", "50 x 30 px, 0.5 m, uint8, band1"),
        ("plain.JPG", "50 x 30 px, 0.5 m, uint8, red, green, blue"),
        ("plain.jp2", "50 x 30 px, 0.5 m, uint8, red, green, blue"),
        ("plain.bmp", "50 x 30 px, 0.5 m, uint8, red, green, blue"),
    ],
)
def test_odd_pictures_enter_or_end_in_one_sentence(
    kind: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = picture(tmp_path, kind)
    code, said = windhover(monkeypatch, capsys, "inspect", str(tmp_path), "--gsd", "0.5")
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert (code == 1) == said.startswith(f"cannot be used: {path}: ")


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        ({"bands": 17}, "has 17 bands, at most 16 are taken"),
        ({"dtype": "int8"}, "dtype int8 is not taken"),
        ({"dtype": "complex64"}, "dtype complex64 is not taken"),
        (
            {"bands": 5, "photometric": "MINISBLACK", "alpha": "yes"},
            "its alpha band stands before others",
        ),
    ],
)
def test_rasters_that_one_could_only_read_wrongly_are_refused(
    profile: dict[str, Any],
    sentence: str,
    make_scene: MakeScene,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    code, said = windhover(monkeypatch, capsys, "inspect", str(make_scene(**profile)))
    assert (code, sentence in said, len(said.strip().splitlines())) == (1, True, 1), said


def test_a_whole_disc_seen_from_space_has_a_footprint(make_scene: MakeScene) -> None:
    crs = rasterio.CRS.from_proj4(
        "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80"
    ).to_wkt()
    path = make_scene("disc.tif", crs=crs, transform=Affine(55_000, 0, -5.5e6, 0, -74_000, 5.5e6))
    from windhover.geometry.georef import footprint_4326

    info = inspect_scene(path)
    outline = footprint_4326(info.transform, info.crs, info.shape_hw)
    assert outline is not None
    assert outline.contains(shapely.Point(-75, 0))
    assert not outline.contains(shapely.Point(100, 0))
