"""What a served model may read: below a folder, from named hosts, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from windhover.errors import ParameterError
from windhover.tracking.served_sources import (
    FOLDER_VARIABLE,
    HOSTS_VARIABLE,
    SERVING_VARIABLE,
    RefusedSourceError,
    ServedSources,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def write_raster(path: Path) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=20, count=1, dtype="uint8"
    ) as dataset:
        dataset.write(np.ones((1, 20, 30), np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    served = tmp_path / "served"
    (served / "below").mkdir(parents=True)
    write_raster(served / "below" / "scene.tif")
    write_raster(tmp_path / "secret.tif")
    write_raster(tmp_path / "served-not.tif")
    return served


@pytest.fixture
def sources(folder: Path) -> ServedSources:
    return ServedSources(folder.resolve(), frozenset({"maps.example.org"}))


def test_files_below_the_folder_are_read(folder: Path, sources: ServedSources) -> None:
    path = str((folder / "below" / "scene.tif").resolve())
    assert sources.raster("below/scene.tif") == path
    assert sources.raster(path) == path


@pytest.mark.parametrize(
    "name",
    [
        "../secret.tif",
        "below/../../secret.tif",
        "/etc/passwd",
        "missing.tif",
        "below",
        "../served-not.tif",
        "/vsizip/x.zip/a.tif",
        "/vsicurl/http://maps.example.org/a.tif",
        "a\0b",
        "<VRTDataset/>",
    ],
)
def test_other_files_are_refused_alike(sources: ServedSources, name: str) -> None:
    with pytest.raises(RefusedSourceError, match="no file below the folder that this server reads"):
        sources.raster(name)


def test_a_link_that_leaves_the_folder_is_refused(folder: Path, sources: ServedSources) -> None:
    (folder / "link.tif").symlink_to(folder.parent / "secret.tif")
    with pytest.raises(RefusedSourceError, match="no file below the folder"):
        sources.raster("link.tif")


@pytest.mark.parametrize(
    "name",
    [
        "http://elsewhere.org/a.tif",
        "https://maps.example.org.evil.org/a.tif",
        "http://maps.example.org@evil.org/a.tif",
        "http://maps.example.org:8080/a.tif",
        "http://evil.org\\@maps.example.org/a.tif",
        "ftp://maps.example.org/a.tif",
        "file:///etc/passwd",
        "s3://maps.example.org/a.tif",
        "NETCDF:/etc/passwd:x",
    ],
)
def test_other_hosts_and_kinds_of_address_are_refused(sources: ServedSources, name: str) -> None:
    with pytest.raises(RefusedSourceError, match="reads from no such host"):
        sources.raster(name)


def test_a_mosaic_that_points_out_of_the_folder_is_refused(
    folder: Path, sources: ServedSources
) -> None:
    inner = (
        '<VRTDataset rasterXSize="30" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{folder.parent}/secret.tif</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (folder / "mosaic.tif").write_text(inner)
    with pytest.raises(RefusedSourceError, match="mosaics such as VRT may point elsewhere"):
        sources.raster("mosaic.tif")


def test_an_area_is_a_plain_file_below_the_folder(folder: Path, sources: ServedSources) -> None:
    (folder / "area.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (folder / "area.vrt").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    assert sources.polygons("area.geojson") == (folder / "area.geojson").resolve()
    with pytest.raises(RefusedSourceError, match="Give GeoJSON or GeoPackage"):
        sources.polygons("area.vrt")
    with pytest.raises(RefusedSourceError, match="no file below the folder"):
        sources.polygons("../secret.tif")


def test_a_server_reads_nothing_until_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FOLDER_VARIABLE, HOSTS_VARIABLE, SERVING_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    assert ServedSources.from_environment().is_open  # in one's own process
    monkeypatch.setenv(SERVING_VARIABLE, "true")
    with pytest.raises(RefusedSourceError, match=f"names the folder by {FOLDER_VARIABLE}"):
        ServedSources.from_environment().raster("/etc/passwd")


def test_variables_name_folder_and_hosts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv(HOSTS_VARIABLE, "A.example.org, b.example.org:8080")
    sources = ServedSources.from_environment()
    assert not sources.is_open
    assert sources.folder == folder.resolve()
    assert sources.hosts == {"a.example.org", "b.example.org:8080"}
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder / "none"))
    with pytest.raises(ParameterError, match="no such folder"):
        ServedSources.from_environment()
