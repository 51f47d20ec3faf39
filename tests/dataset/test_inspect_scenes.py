"""Inspect and import: what is said, what is written, and that labels survive the way out and back."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from typer.testing import CliRunner

from conftest import MakeScene
from windhover.cli.app import app
from windhover.dataset import discover
from windhover.dataset.catalog import Catalog, load_catalog
from windhover.dataset.data_statistics import survey
from windhover.dataset.inspect_scenes import (
    Options,
    export_labels,
    import_labels,
    inspect_rasters,
    parse_stack,
)
from windhover.dataset.label_export import write_labels
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene
from windhover.imagery.scenes import open_scene


@pytest.fixture
def folder(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Two scenes: one rotated and sheared, one in degrees; with boxes, an oriented one, a point, an
    ignored box.
    """
    turned = (
        Affine.translation(4e5, 5e6)
        @ Affine.rotation(31)
        @ Affine.shear(5, 0)
        @ Affine.scale(1.25, -1.0)
    )
    scenes = [
        make_scene("raw/turned.tif", transform=turned),
        make_scene(
            "raw/degrees.tif",
            crs="EPSG:4326",
            transform=Affine(1e-5, 0, 8.0, 0, -1e-5, 47.0),
            seed=1,
        ),
    ]
    shapes = [
        shapely.box(10.25, 20.5, 40, 60),
        shapely.Polygon([(100, 50), (120, 60), (110, 80), (90, 70)]),
        shapely.Point(150.5, 90.25),
        shapely.box(170, 100, 172, 101),
        shapely.box(60, 10, 140, 40),
    ]
    for scene in scenes:
        info = inspect_scene(scene)
        placed = [
            shapely.transform(
                shape,
                lambda p, t=info.transform: np.stack(georef.pixel_to_world(t, p[:, 0], p[:, 1]), 1),
            )
            for shape in shapes
        ]
        frame = {
            "class": ["plane", "plane", "tree", "car", "plane"],
            "role": ["", "", "", "", "ignore"],
        }
        geopandas.GeoDataFrame(frame, geometry=placed, crs=info.crs).to_file(
            scene.with_suffix(".gpkg"), layer="labels"
        )
    return tmp_path


def imported(labels: Path, folder: Path, output: str, said: list[str] | None = None) -> Catalog:
    return import_labels(
        labels,
        folder / "raw",
        folder / output,
        Options(),
        (said if said is not None else []).append,
    )


def test_a_catalog_with_a_page_is_written(folder: Path) -> None:
    said: list[str] = []
    imported(folder / "raw", folder, "out", said)
    catalog = load_catalog(folder / "out")
    assert len(catalog.labels) == 10
    assert (catalog.labels["role"] == "ignore").sum() == 2
    page = (folder / "out/report.html").read_text()
    assert page.count("<figure>") == 3  # a sheet of objects and two scenes
    assert "http" not in page
    assert "src=" in page
    report = json.loads((folder / "out/report.json").read_text())
    assert report["larger_than_the_window"]["count"] == 0
    assert report["smaller_than_3_px"]["count"] == 2
    assert report["smaller_than_3_px"]["first"][0]["class"] == "car"
    assert any("smaller than 3 px" in line for line in said[-2].splitlines())
    assert "too few places to divide" in said[0]


def test_facts_are_counted_right(folder: Path) -> None:
    facts = survey(imported(folder / "raw", folder, "out"))
    plane = next(
        row for row in facts["class_table"] if (row["class"], row["role"]) == ("plane", "object")
    )
    assert (plane["labels"], plane["train"], plane["points"]) == (4, 4, 0)
    tree = next(row for row in facts["class_table"] if row["class"] == "tree")
    assert (tree["points"], tree["length_px"]) == (2, "no size")
    assert facts["prior"]["windows"] > 0
    assert facts["prior"]["one_in"] == round(
        facts["prior"]["windows"] / facts["prior"]["with_an_object"]
    )


@pytest.mark.parametrize("name", ["labels.json", "labels.geojson"])
def test_labels_survive_the_way_out_and_back(folder: Path, name: str) -> None:
    first = imported(folder / "raw", folder, "out")
    said: list[str] = []
    export_labels(first, folder / name, said.append)
    assert "cannot hold" in said[1]
    again = imported(folder / name, folder, "again")
    assert again.labels[["scene", "class", "role"]].equals(first.labels[["scene", "class", "role"]])
    sides = ["left", "top", "right", "bottom", "col", "row"]
    assert np.abs(again.labels[sides].to_numpy() - first.labels[sides].to_numpy()).max() < 1e-3
    for one, other in zip(first.labels.geometry, again.labels.geometry, strict=True):
        assert one.geom_type == other.geom_type
        assert shapely.hausdorff_distance(one, other) < 1e-3


def test_what_coco_cannot_hold_is_named_and_names_that_clash_find_their_scenes(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    shapes = [
        shapely.Point(30, 40).buffer(12).difference(shapely.Point(30, 40).buffer(5)),
        shapely.box(60, 70, 80, 95),
    ]
    for number, name in enumerate(("raw/one/tile.tif", "raw/two/tile.tif")):
        path = make_scene(name, origin=(4e5 + 1e4 * number, 5e6))
        transform = inspect_scene(path).transform
        placed = shapely.transform(
            shapes, lambda p, t=transform: np.stack(georef.pixel_to_world(t, *p.T), 1)
        )
        frame = geopandas.GeoDataFrame(
            {"class": ["ring", "hut"]}, geometry=list(placed), crs="EPSG:32631"
        )
        frame.to_file(tmp_path / "labels.gpkg", layer="labels", mode="a" if number else "w")
    first = imported(tmp_path / "labels.gpkg", tmp_path, "out")
    said: list[str] = []
    export_labels(first, tmp_path / "labels.json", said.append)
    assert "2 outlines with holes or of lines, of which it holds the box" in said[1]
    again = imported(tmp_path / "labels.json", tmp_path, "again")
    assert set(again.labels["scene"]) == {"one--tile", "two--tile"}
    sides = ["left", "top", "right", "bottom"]
    np.testing.assert_allclose(again.labels[sides], first.labels[sides], atol=1e-3)


def test_geojson_needs_a_georeference_and_other_suffixes_are_refused(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/a.png", crs=None, driver="PNG")
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\na.png,1,2,30,40\n")
    catalog = import_labels(
        tmp_path / "labels.csv",
        tmp_path / "raw",
        tmp_path / "out",
        Options(gsd_m=0.5),
        lambda _: None,
    )
    with pytest.raises(DataError, match="no scene has a georeference"):
        write_labels(catalog, tmp_path / "a.geojson")
    with pytest.raises(
        ParameterError, match=r"written as \.json \(COCO\) or \.geojson, got a\.kml"
    ):
        write_labels(catalog, tmp_path / "a.kml")
    assert not list(tmp_path.glob("a.*"))


def test_every_raster_is_described_or_its_fault_said(folder: Path) -> None:
    (folder / "raw/broken.tif").write_text("nothing")
    (folder / "none").mkdir()
    said: list[str] = []
    failed = inspect_rasters([str(folder / "raw")], None, said.append)
    assert len(failed) == 1
    assert any("turned.tif: 210 x 150 px" in line and "EPSG:32631" in line for line in said)
    assert any(line.startswith("cannot be used") and "broken.tif" in line for line in said)
    with pytest.raises(DataError, match="holds no raster"):
        inspect_rasters([str(folder / "none")], None, said.append)


def test_missing_labels_and_a_wrong_stack_are_named(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file or folder"):
        imported(folder / "none.csv", folder, "out")
    with pytest.raises(ParameterError, match=r"must read BAND=PATTERN, got 'B04'"):
        parse_stack(["B04"])
    assert parse_stack(["B04=*_B04.tif"]) == {"B04": "*_B04.tif"}


def test_nothing_is_left_when_an_import_fails(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\nother.tif,1,2,3,4\n")
    with pytest.raises(DataError, match="none of its images is among the rasters"):
        imported(folder / "labels.csv", folder, "out")
    assert not (folder / "out").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_commands_end_with_a_sentence_and_a_code(folder: Path) -> None:
    run = functools.partial(CliRunner().invoke, app)
    assert run(["inspect", str(folder / "raw/turned.tif")]).exit_code == 0
    made = run(
        [
            "import",
            str(folder / "raw"),
            "--scenes",
            str(folder / "raw"),
            "-o",
            str(folder / "out"),
            "--write",
            str(folder / "x.json"),
        ]
    )
    assert made.exit_code == 0, made.output
    assert (folder / "x.json").is_file()
    (folder / "raw/broken.tif").write_text("nothing")
    assert run(["inspect", str(folder / "raw")]).exit_code == 1


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_import_takes_the_place_of_nothing_but_an_earlier_catalog(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scene("mine/tiles/a.tif")
    (tmp_path / "mine/l.csv").write_text("image,xmin,ymin,xmax,ymax\na.tif,1,2,30,40\n")
    (tmp_path / "mine/groups.csv").write_text("image,place\na.tif,north\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    (tmp_path / "other/report.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "mine")
    before = everything(tmp_path)

    def run(output: str | Path, *more: str) -> str:
        command = ["import", "l.csv", "--scenes", "tiles", "-o", str(output), *more]
        return (CliRunner().invoke(app, command).exception or "").__str__()

    for output in (".", "..", tmp_path / "mine", "/"):
        assert "this is the working folder or holds it" in run(output)
    assert "is a file, and a folder is to be written" in run("l.csv")
    assert "holds notes.txt, which is not from an earlier run" in run(tmp_path / "other")
    assert "tiles: would be replaced whole, and tiles, which is read, lies there" in run("tiles")
    monkeypatch.chdir(tmp_path)
    for read in (
        ["mine/l.csv", "--scenes", "mine/tiles"],
        ["other/report.json", "--scenes", "mine/tiles/a.tif"],
    ):
        with pytest.raises(
            ParameterError,
            match=r"mine: would be replaced whole, and mine/.* which is read, lies there",
        ):
            CliRunner().invoke(app, ["import", *read, "-o", "mine"], catch_exceptions=False)
    with pytest.raises(ParameterError, match=r"and mine/groups\.csv, which is read"):
        import_labels(
            tmp_path / "other/report.json",
            tmp_path / "other",
            Path("mine"),
            Options(groups=Path("mine/groups.csv")),
            print,
        )
    assert everything(tmp_path) == before

    monkeypatch.chdir(tmp_path / "mine")
    for _ in range(2):
        assert run("check", "--stack", "B1=a.tif", "--write", "check/labels.json") == ""
    assert {path.name for path in Path("check").iterdir()} > {
        "tiles.vrt",
        "labels.json",
        "report.html",
    }
    assert "holds labels.json" in run("check")
    Path("check/labels.json").unlink()
    assert run("check") == ""
    Path("check/notes.txt").write_text("mine")
    assert "check: would be replaced whole, and holds notes.txt" in run("check")
    assert Path("check/notes.txt").read_text() == "mine"


def test_labels_are_laid_on_the_one_raster_that_is_named(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/a.tif")
    make_scene("raw/sub/a.tif", gsd_m=5.0, origin=(5e5, 5e6))
    make_scene("raw/b[1].tif", origin=(6e5, 5e6))
    for name, out in (("a", "one"), ("b[1]", "two")):
        labels = tmp_path / f"{out}.csv"
        labels.write_text(f"image,xmin,ymin,xmax,ymax\n{name}.tif,1,2,30,40\n")
        catalog = import_labels(
            labels, tmp_path / f"raw/{name}.tif", tmp_path / out, Options(), lambda _: None
        )
        assert catalog.scenes["scene"].tolist() == [name]
        assert catalog.gsd_m == 1.25
    two = ["inspect", str(tmp_path / "raw/a.tif"), str(tmp_path / "raw/b[1].tif")]
    assert CliRunner().invoke(app, two).exit_code == 0
    with pytest.raises(
        ParameterError, match="--labels are laid on one raster or one folder of rasters, got 2"
    ):
        CliRunner().invoke(
            app, [*two, "--labels", str(tmp_path / "one.csv")], catch_exceptions=False
        )


def test_the_whole_way_to_a_raster_is_asked_for_by_a_slash() -> None:
    folder = Path("raw")
    for pattern in ("a.tif", "/sub/a.tif", "sub/*.tif"):
        assert discover.matches(folder / "sub/a.tif", folder, pattern)
    for pattern in ("/a.tif", "/raw/sub/a.tif", "*/sub/a.tif"):
        assert not discover.matches(folder / "sub/a.tif", folder, pattern)


def test_what_is_missing_in_a_large_raster_is_estimated_and_said_to_be(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.full((3, 1100, 1500), 7, np.uint8)
    data[:, :120] = data[:, -120:] = data[:, :, :150] = data[:, :, -150:] = (
        0  # 37.5 % is missing, and every corner
    )
    path = make_scene("raw/border.tif", data=data, nodata=0)
    make_scene("raw/thin.tif", shape_hw=(30, 2000), origin=(5e5, 5e6))
    said: list[str] = []
    inspect_rasters([str(path)], None, said.append)
    assert ", 37.5% missing" in said[0]
    monkeypatch.setattr(discover, "CHECK_WHOLE_PX", 50_000)
    inspect_rasters([str(path)], None, said.append)
    share = float(said[1].partition("about ")[2].partition("% missing")[0])
    assert share == pytest.approx(37.5, abs=4)
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\nborder.tif,301,302,330,340\n")
    rows = survey(imported(tmp_path / "labels.csv", tmp_path, "out"))["scene_table"]
    assert [row["valid"] for row in rows] == [f"about {1 - share / 100:.2g}", "about 1"]


def test_a_large_raster_that_was_cut_short_is_noticed(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(
        "cut.tif", shape_hw=(2400, 3200), bands=1, tiled=True, blockxsize=64, blockysize=64
    )
    path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.setattr(discover, "CHECK_WHOLE_PX", 50_000)
    with pytest.raises(
        FormatError, match=r"cut\.tif: cannot read rows 2336 to 2400 and columns 3136 to 3200"
    ):
        discover.check_pixels([inspect_scene(path)])


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
        start, stop = (int(first), min(int(last or len(data) - 1), len(data) - 1)) if wanted else (0, len(data) - 1)
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
    said: list[str] = []
    assert inspect_rasters(["s3://bucket/folder/cog.tif"], None, said.append) == []
    assert said[0].startswith("s3://bucket/folder/cog.tif: 900 x 1300 px, 1.25 m, uint8")
    with open_scene(path, 2.5) as near, open_scene("s3://bucket/folder/cog.tif", 2.5) as far:
        assert far.info.name == "cog"
        assert (far.read(300, 200, 64, 64)[0] == near.read(300, 200, 64, 64)[0]).all()
    with pytest.raises(FormatError, match=r"s3://bucket/none\.tif: GDAL cannot open it"):
        open_scene("s3://bucket/none.tif")
