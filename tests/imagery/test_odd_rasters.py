"""Rasters in which something is odd: sizes that cannot be, systems without a place, addresses."""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioIOError

from conftest import MakeScene
from windhover.errors import (
    DataError,
    FormatError,
    MissingFileError,
    ParameterError,
    WindhoverError,
    shown_path,
)
from windhover.imagery import rasters
from windhover.imagery.band_names import is_numbered_band_name
from windhover.imagery.rasters import files_read, gdal_options, inspect_scene, scene_name

LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def write(path: Path, crs: str | None, gsd: float, origin: tuple[float, float]) -> Path:
    transform = Affine(gsd, 0, origin[0], 0, -gsd, origin[1])
    profile = {"width": 30, "height": 20, "count": 1, "dtype": "uint8", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, **profile) as out:
        out.write(np.full((1, 20, 30), 7, np.uint8))
    return path


def test_degrees_taken_for_metres_are_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", "EPSG:32633", 2e-5, (13.4, 52.5))
    with pytest.raises(DataError, match=r"a px of 2e-05 m cannot be.*look like degrees.*a_srs"):
        inspect_scene(path)
    far = write(tmp_path / "b.tif", "EPSG:32633", 5e5, (500_000, 5_000_000))
    with pytest.raises(DataError, match=r"b\.tif: "):
        inspect_scene(far)


@pytest.mark.parametrize("gsd_m", [0.0005, 2e5, 1e9, 1e-300])
def test_a_stated_size_that_cannot_be_is_a_sentence(tmp_path: Path, gsd_m: float) -> None:
    path = write(tmp_path / "a.tif", None, 1.0, (0, 0))
    with pytest.raises(ParameterError, match=r"stated GSD must be in 0\.001\.\.100000 m"):
        inspect_scene(path, gsd_m)


def test_a_system_without_a_place_is_read_with_a_stated_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", LOCAL, 0.5, (100, 200))
    with pytest.raises(DataError, match=r"cannot be reprojected.*--gsd"):
        inspect_scene(path)
    info = inspect_scene(path, 0.5)
    assert (info.crs, info.gsd_m) == (None, (0.5, 0.5))
    assert "its coordinate system has no place on Earth: a local grid is used" in info.notes


def test_an_archive_names_the_raster_in_it(tmp_path: Path) -> None:
    raster = write(tmp_path / "a.tif", "EPSG:32633", 1.0, (500_000, 5_000_000))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("read.me", "text")
        archive.write(raster, "deep/a.tif")
    member = f"/vsizip/{tmp_path}/all.zip/deep/a.tif"
    with pytest.raises(FormatError, match=f"is an archive: name a raster in it, such as {member}"):
        inspect_scene(tmp_path / "all.zip")
    assert inspect_scene(member).name == "a"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("{0}/all.zip/deep/a.tif", "/vsizip/{0}/all.zip/deep/a.tif"),
        ("{0}/all.tar", "/vsitar/{0}/all.tar/NAME.tif"),
        ("{0}/all.tgz/deep/a.tif", "/vsitar/{0}/all.tgz/deep/a.tif"),
        ("{0}/a.tif.gz", "/vsigzip/{0}/a.tif.gz"),
    ],
)
def test_other_ways_to_name_what_is_in_an_archive_end_in_gdals(
    tmp_path: Path, given: str, named: str
) -> None:
    raster = write(tmp_path / "a.tif", "EPSG:32633", 1.0, (500_000, 5_000_000))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(raster, "deep/a.tif")
    for name, mode in (("all.tar", "w"), ("all.tgz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            tar.add(raster, "deep/a.tif")
    (tmp_path / "a.tif.gz").write_bytes(gzip.compress(raster.read_bytes()))
    advice = re.escape(f"name a raster in it, such as {named.format(tmp_path)}.")
    with pytest.raises((FormatError, MissingFileError), match=advice):
        inspect_scene(given.format(tmp_path))
    if "NAME" not in named:
        assert inspect_scene(named.format(tmp_path)).width_px > 0


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("https://h.org/x/base.tif?token=AA.BB.CC", "base"),
        ("/vsicurl/https://h.org/x/base.tif?sig=a/b.c", "base"),
        ("/vsicurl?max_retry=3&url=https%3A%2F%2Fh.org%2Fbase.tif%3Fsig%3DS", "base"),
        ("s3://bucket/x/base.v2.tif", "base.v2"),
        ("folder/base.v2.tif", "base.v2"),
        ("a?b.tif", "a?b"),
    ],
)
def test_a_scene_is_called_as_its_file(path: str, name: str) -> None:
    assert scene_name(path) == name


def test_no_message_shows_a_token() -> None:
    text = "https://me:pass@h.org/a.tif?token=AAA.BBB: damaged; /vsicurl/http://h/a.tif?sig=S (no)"
    shown = "https://h.org/a.tif: damaged; /vsicurl/http://h/a.tif (no)"
    assert shown_path(text) == shown
    error = FormatError(text)
    assert str(error) == error.sentence() == shown
    assert str(MissingFileError(text)) == shown
    assert shown_path("is it so? yes") == "is it so? yes"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "may have expired. Get a new one"),
        (404, "has no such file"),
        (410, "get a new addr"),
        (401, "with its token"),
        (503, "server failed: try again later"),
    ],
)
def test_what_a_server_refuses_is_no_damaged_file(
    monkeypatch: pytest.MonkeyPatch, status: int, advice: str
) -> None:
    def refuse(*_: Any) -> None:
        raise RasterioIOError(f"HTTP response code: {status}")

    monkeypatch.setattr(rasters, "open_dataset", refuse)
    with pytest.raises(WindhoverError, match=advice) as caught:
        inspect_scene("https://h.org/base.tif?sig=SECRET")
    assert "SECRET" not in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "reason", "advice"),
    [
        (
            "https://h.org/base.tif",
            "CURL error: Failed to connect to h.org port 443 after 2 ms: Could not connect",
            "No server answers there: check the address and the network",
        ),
        (
            "s3://bucket/base.tif",
            "AWS_SECRET_ACCESS_KEY and AWS_NO_SIGN_REQUEST configuration options not defined",
            "credentials in the environment, or AWS_NO_SIGN_REQUEST=YES",
        ),
    ],
)
def test_what_no_server_gives_is_no_damaged_file(
    monkeypatch: pytest.MonkeyPatch, path: str, reason: str, advice: str
) -> None:
    def fail(*_: Any) -> None:
        raise RasterioIOError(reason)

    monkeypatch.setattr(rasters, "open_dataset", fail)
    with pytest.raises(WindhoverError, match=advice) as caught:
        inspect_scene(path)
    assert "damaged" not in str(caught.value)


def test_bands_called_by_a_number_have_no_telling_name() -> None:
    assert is_numbered_band_name("1")
    assert is_numbered_band_name("Band_12")
    assert not is_numbered_band_name("B04")


def test_descriptions_that_leave_a_band_out_are_not_taken(make_scene: MakeScene) -> None:
    path = make_scene(bands=3)
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ("near", "", "far")
        dataset.colorinterp = [ColorInterp.undefined] * 3
    assert inspect_scene(path).bands == ("band1", "band2", "band3")
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(2, "between")
    assert inspect_scene(path).bands == ("near", "between", "far")


def test_the_files_of_a_raster_are_those_that_gdal_names_when_it_is_opened(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    path = make_scene()
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2])
    sidecar = path.with_name(f"{path.name}.aux.xml")
    sidecar.write_text("<PAMDataset></PAMDataset>")
    info = inspect_scene(path)
    assert files_read(path, info.files) == files_read(path) == (str(path), str(sidecar))
    mosaic = tmp_path / "mosaic.vrt"
    rasterio.shutil.copy(path, mosaic, driver="VRT")
    files = files_read(mosaic, inspect_scene(mosaic).files)
    assert files == files_read(mosaic)
    assert str(sidecar) in files


def test_options_of_gdal_are_set_once_and_gone_after(make_scene: MakeScene) -> None:
    path = make_scene()
    with gdal_options(), patch.object(rasterio, "Env", side_effect=AssertionError("set again")):
        assert rasterio.env.getenv().items() >= rasters.GDAL_OPTIONS.items()
        assert inspect_scene(path).width_px == 210
    assert not rasterio.env.hasenv()
    with rasterio.Env(GDAL_NUM_THREADS=1), gdal_options():
        assert rasterio.env.getenv().items() >= rasters.GDAL_OPTIONS.items()
