"""Inspection: every raster is described, near or far, or its fault is reported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from conftest import MakeScene
from toy_catalog import import_folder
from windhover.dataset import check_rasters
from windhover.dataset.inspect_scenes import inspect_rasters
from windhover.errors import DataError, FormatError
from windhover.imagery.scenes import open_scene


def test_every_raster_is_described_or_its_fault_said(labeled_folder: Path) -> None:
    (labeled_folder / "raw/broken.tif").write_text("nothing")
    (labeled_folder / "none").mkdir()
    lines: list[str] = []
    failed = inspect_rasters([str(labeled_folder / "raw")], None, lines.append)
    assert len(failed) == 1
    assert any("turned.tif: 210 x 150 px" in line and "EPSG:32631" in line for line in lines)
    assert any(line.startswith("cannot be used") and "broken.tif" in line for line in lines)
    with pytest.raises(DataError, match="holds no raster"):
        inspect_rasters([str(labeled_folder / "none")], None, lines.append)


def test_what_is_missing_in_a_large_raster_is_estimated_and_said_to_be(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.full((3, 1100, 1500), 7, np.uint8)
    data[:, :120] = data[:, -120:] = data[:, :, :150] = data[:, :, -150:] = (
        0  # 37.5 % is missing, and every corner
    )
    path = make_scene("raw/border.tif", data=data, nodata=0)
    make_scene("raw/thin.tif", shape_hw=(30, 2000), origin=(5e5, 5e6))
    lines: list[str] = []
    inspect_rasters([str(path)], None, lines.append)
    assert ", 37.5% missing" in lines[0]
    assert "every band has one value everywhere: red (7), green (7), blue (7)" in lines.pop()
    monkeypatch.setattr(check_rasters, "MAX_WHOLE_PX", 50_000)
    inspect_rasters([str(path)], None, lines.append)
    share = float(lines[1].partition("about ")[2].partition("% missing")[0])
    assert share == pytest.approx(37.5, abs=4)
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\nborder.tif,301,302,330,340\n")
    report = import_folder(tmp_path / "labels.csv", tmp_path, "out").report
    assert [row["valid"] for row in report.scene_table or []] == [
        f"about {1 - share / 100:.2g}",
        "about 1",
    ]


def notes_on(path: Path) -> list[str]:
    """Return what inspection says of a raster beside its line."""
    lines: list[str] = []
    assert not inspect_rasters([str(path)], None, lines.append)
    return [line.strip() for line in lines[1:]]


def test_bands_of_one_value_are_told(make_scene: MakeScene) -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(1, 255, (3, 40, 70)).astype(np.uint8)
    assert notes_on(make_scene("good.tif", data=data)) == []
    data[1] = 9
    assert notes_on(make_scene("one.tif", data=data))[0].startswith(
        "has bands of one value everywhere: green (9)."
    )


@pytest.mark.parametrize(
    ("dtype", "fill"), [("float32", -9999), ("int16", -32768), ("uint16", 65535), ("float32", 9e36)]
)
def test_values_that_may_mean_missing_pixels_are_told(
    make_scene: MakeScene, dtype: str, fill: float
) -> None:
    data = np.random.default_rng(2).integers(1, 4000, (2, 40, 70)).astype(dtype)
    assert notes_on(make_scene("whole.tif", data=data)) == []
    data[:, :3] = fill
    (note,) = notes_on(make_scene("filled.tif", data=data))
    assert note.startswith(f"many pixels are {fill:g} in every band, far from all other values")
    assert notes_on(make_scene("stated.tif", data=data, nodata=fill)) == []


def test_a_scale_and_a_nodata_value_that_cannot_be_are_told(make_scene: MakeScene) -> None:
    path = make_scene("scaled.tif", dtype="uint16")
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (1e-4, 1e-4, 1e-4)
    assert notes_on(path) == [
        "has a scale or an offset, which is not applied: pixels are read as stored"
    ]
    assert notes_on(make_scene("odd.tif", bands=1, nodata=7.5)) == [
        "its nodata value 7.5 cannot be in uint8, so no pixel is missing by it"
    ]


def test_a_fill_value_is_told_with_the_catalog(tmp_path: Path, make_scene: MakeScene) -> None:
    data = np.random.default_rng(2).integers(1, 4000, (2, 90, 130)).astype(np.float32)
    data[:, :, :30] = -9999
    make_scene("raw/a.tif", data=data)
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\na.tif,50,12,70,40\n")
    notes = import_folder(tmp_path / "labels.csv", tmp_path, "out").report.notes
    assert any("a.tif: many pixels are -9999 in every band" in note for note in notes)


SERVER = """
import http.server, pathlib, sys

class Ranges(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = pathlib.Path(sys.argv[1]) / self.path.lstrip("/")
        if not path.is_file():
            return self.send_error(404)
        data, wanted = path.read_bytes(), self.headers.get("Range", "")
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = 0, len(data) - 1
        if wanted:
            start, stop = int(first), min(int(last or stop), stop)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start + 1))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            with open(sys.argv[2], "a") as log:
                log.write(f"{stop - start + 1}\\n")
            self.wfile.write(data[start : stop + 1])

    do_HEAD = do_GET

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Address of a server on this machine that serves parts of the test's files and logs how many
    bytes were asked.

    A process of its own: GDAL keeps Python's lock while it opens a file.
    """
    command = [sys.executable, "-c", SERVER, str(tmp_path), str(tmp_path / "asked.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


def test_a_raster_over_http_is_read_in_parts(
    served: str, tmp_path: Path, make_scene: MakeScene
) -> None:
    path = make_scene(
        "cog.tif", shape_hw=(2000, 1500), driver="COG", compress="deflate", blocksize=256
    )
    with open_scene(path, 2.5) as near, open_scene(f"{served}/cog.tif", 2.5) as far:
        assert far.info.name == "cog"
        assert (far.read(300, 200, 64, 64)[0] == near.read(300, 200, 64, 64)[0]).all()
    asked = [int(line) for line in (tmp_path / "asked.txt").read_text().split()]
    assert 0 < sum(asked) < path.stat().st_size / 2


def test_a_raster_in_a_bucket_is_read_by_gdals_own_means(
    served: str, tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "AWS_S3_ENDPOINT": served.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    for name, value in (settings | {"AWS_NO_SIGN_REQUEST": "YES"}).items():
        monkeypatch.setenv(name, value)
    path = make_scene(
        "bucket/folder/cog.tif",
        shape_hw=(1300, 900),
        driver="COG",
        compress="deflate",
        blocksize=256,
    )
    lines: list[str] = []
    assert inspect_rasters(["s3://bucket/folder/cog.tif"], None, lines.append) == []
    assert lines[0].startswith("s3://bucket/folder/cog.tif: 900 x 1300 px, 1.25 m, uint8")
    with open_scene(path, 2.5) as near, open_scene("s3://bucket/folder/cog.tif", 2.5) as far:
        assert far.info.name == "cog"
        assert (far.read(300, 200, 64, 64)[0] == near.read(300, 200, 64, 64)[0]).all()
    with pytest.raises(FormatError, match=r"s3://bucket/none\.tif: GDAL cannot open it"):
        open_scene("s3://bucket/none.tif")
