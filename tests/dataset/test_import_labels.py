"""Import: the catalog and its page are written, and nothing else is replaced."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import MakeScene
from toy_catalog import import_folder
from windhover.cli.app import app
from windhover.dataset.catalog import load_catalog
from windhover.dataset.import_labels import ImportOptions, import_labels, parse_stack
from windhover.errors import DataError, MissingFileError, ParameterError


def test_a_catalog_with_a_page_is_written(labeled_folder: Path) -> None:
    lines: list[str] = []
    import_folder(labeled_folder / "raw", labeled_folder, "out", lines)
    catalog = load_catalog(labeled_folder / "out")
    assert len(catalog.labels) == 10
    assert (catalog.labels["role"] == "ignore").sum() == 2
    page = (labeled_folder / "out/report.html").read_text()
    assert page.count("<figure ") == 3  # a sheet of objects and two scenes
    assert "http" not in page
    assert "src=" in page
    report = json.loads((labeled_folder / "out/report.json").read_text())
    assert report["larger_than_the_window"]["count"] == 0
    assert report["smaller_than_3_px"]["count"] == 2
    assert report["smaller_than_3_px"]["first"][0]["class"] == "car"
    assert any("smaller than 3 px" in line for line in lines[-2].splitlines())
    assert "too few places to divide" in lines[0]


def test_in_the_folder_of_the_rasters_a_table_of_places_is_no_label_file(
    labeled_folder: Path,
) -> None:
    places = labeled_folder / "raw/places.csv"
    places.write_text("scene,place,split\nturned,north,train\ndegrees,south,val\n")
    catalog = import_folder(labeled_folder / "raw", labeled_folder, "out")
    assert len(catalog.labels) == 10


def test_missing_labels_and_a_wrong_stack_are_named(labeled_folder: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file or folder"):
        import_folder(labeled_folder / "none.csv", labeled_folder, "out")
    with pytest.raises(ParameterError, match=r"must read BAND=PATTERN, got 'B04'"):
        parse_stack(["B04"])
    assert parse_stack(["B04=*_B04.tif"]) == {"B04": "*_B04.tif"}


def test_nothing_is_left_when_an_import_fails(labeled_folder: Path) -> None:
    (labeled_folder / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\nother.tif,1,2,3,4\n")
    with pytest.raises(DataError, match="none of its images is among the rasters"):
        import_folder(labeled_folder / "labels.csv", labeled_folder, "out")
    assert not (labeled_folder / "out").exists()
    assert not [path for path in labeled_folder.iterdir() if path.name.startswith(".")]


def test_the_commands_end_with_a_sentence_and_a_code(labeled_folder: Path) -> None:
    run = functools.partial(CliRunner().invoke, app)
    assert run(["inspect", str(labeled_folder / "raw/turned.tif")]).exit_code == 0
    made = run(
        [
            "import",
            str(labeled_folder / "raw"),
            "--scenes",
            str(labeled_folder / "raw"),
            "-o",
            str(labeled_folder / "out"),
            "--write",
            str(labeled_folder / "x.json"),
        ]
    )
    assert made.exit_code == 0, made.output
    assert (labeled_folder / "x.json").is_file()
    (labeled_folder / "raw/broken.tif").write_text("nothing")
    assert run(["inspect", str(labeled_folder / "raw")]).exit_code == 1


def files_of(folder: Path) -> dict[str, bytes]:
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
    before = files_of(tmp_path)

    def run(output: str | Path, *more: str) -> str:
        command = ["import", "l.csv", "--scenes", "tiles", "-o", str(output), *more]
        return (CliRunner().invoke(app, command).exception or "").__str__()

    for output in (".", "..", tmp_path / "mine"):
        assert "this is the working folder or holds it" in run(output)
    assert "/: is the root of all folders" in run("/")
    assert "is a file, and a folder is to be written" in run("l.csv")
    assert "holds notes.txt, which is not from an earlier run" in run(tmp_path / "other")
    assert "tiles: would be replaced whole, with tiles, which is read" in run("tiles")
    monkeypatch.chdir(tmp_path)
    for read in (
        ["mine/l.csv", "--scenes", "mine/tiles"],
        ["other/report.json", "--scenes", "mine/tiles/a.tif"],
    ):
        with pytest.raises(
            ParameterError,
            match=r"mine: would be replaced whole, with mine/.* which is read",
        ):
            CliRunner().invoke(app, ["import", *read, "-o", "mine"], catch_exceptions=False)
    with pytest.raises(ParameterError, match=r"with mine/groups\.csv, which is read"):
        import_labels(
            tmp_path / "other/report.json",
            tmp_path / "other",
            Path("mine"),
            options=ImportOptions(groups=Path("mine/groups.csv")),
            report=print,
        )
    assert files_of(tmp_path) == before

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
            labels,
            tmp_path / f"raw/{name}.tif",
            tmp_path / out,
            options=ImportOptions(),
            report=lambda _: None,
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"--target-gsd: .*1000, got 5000\.0\. .* that of .*coarse where it is not given"),
        ({"target_gsd_m": -2.0}, r"--target-gsd: .*greater than 0, got -2\.0"),
        ({"target_gsd_m": 9.0, "gsd_m": 3000.0}, r"--gsd: .*1000, got 3000\.0"),
    ],
)
def test_sizes_of_pixels_that_no_catalog_has_are_one_sentence(
    tmp_path: Path, make_scene: MakeScene, options: dict[str, float], said: str
) -> None:
    make_scene("coarse/a.tif", shape_hw=(20, 30), gsd_m=5000.0)
    labels = tmp_path / "l.csv"
    labels.write_text("image,xmin,ymin,xmax,ymax,class\na.tif,2,3,9,7,ship\n")
    made = ImportOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=said):
        import_labels(labels, tmp_path / "coarse", tmp_path / "out", options=made, report=print)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_a_label_file_has_an_unknown_suffix(labeled_folder: Path) -> None:
    options = ImportOptions(label_files=(labeled_folder / "labels.xyz",))
    raw = labeled_folder / "raw"
    with pytest.raises(ParameterError, match=r"written as .json .* got labels.xyz"):
        import_labels(raw, raw, labeled_folder / "out", options=options, report=print)
    assert not (labeled_folder / "out").exists()
