"""`windhover plan` of STAC and `windhover collect` as a user runs them, on small rasters."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.transform import Affine

from fake_models import random_weights, write_bundle
from toy_plans import write_raster
from windhover.cli import app as cli

GSD_M = 1.25
ORIGIN = (4e5, 5e6)
Run = Callable[..., tuple[int, str, str]]


def _run(*arguments: object) -> int:
    """Run a command in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["windhover", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as stopped:
            return int(stopped.code or 0)
    return 0


@pytest.fixture
def windhover(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code, and what it printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = _run(*arguments)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, two rasters that overlap, and what was found in each."""
    folder = tmp_path_factory.mktemp("results")
    write_bundle(folder / "model", threshold=0.6)
    ground = np.random.default_rng(5).integers(1, 255, (3, 200, 420)).astype(np.uint8)
    for month, (name, first) in enumerate((("may", 0), ("june", 120)), 5):
        transform = Affine(GSD_M, 0, ORIGIN[0] + GSD_M * first, 0, -GSD_M, ORIGIN[1])
        write_raster(folder / f"{name}.tif", (200, 300), 0, transform=transform)
        with rasterio.open(folder / f"{name}.tif", "r+") as dataset:
            dataset.write(ground[:, :, first : first + 300])
            dataset.update_tags(TIFFTAG_DATETIME=f"2026:0{month}:01 10:00:00")
    for name in ("may.parquet", "june.gpkg"):
        raster = folder / f"{Path(name).stem}.tif"
        assert not _run("detect", raster, "--model", folder / "model", "-o", folder / name)
    return folder


@pytest.fixture
def results(made: Path) -> tuple[Path, Path]:
    return made / "may.parquet", made / "june.gpkg"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_results_are_collected_each_object_once(
    results: tuple[Path, Path], tmp_path: Path, windhover: Run
) -> None:
    code, out, err = windhover("collect", *results, "-o", tmp_path / "all")
    assert (code, err) == (0, "")
    objects = geopandas.read_parquet(tmp_path / "all" / "objects")
    n_found = len(geopandas.read_parquet(results[0]))
    n_found += len(geopandas.read_file(results[1], layer="detections"))
    assert set(objects["views"]) == {1, 2}
    assert objects["views"].sum() == n_found
    assert f"{len(objects)} objects from {n_found} detections in 2 scenes" in out.splitlines()[0]
    assert out.splitlines()[0].endswith(f"-> {tmp_path / 'all'}")
    assert set(pd.read_csv(tmp_path / "all" / "counts_by_date.csv")["date"]) == {
        "2026-05-01",
        "2026-06-01",
        "all",
    }


def test_neither_order_nor_an_earlier_run_changes_a_byte(
    results: tuple[Path, Path], tmp_path: Path, windhover: Run
) -> None:
    for files in (results, results[::-1], results):
        assert windhover("collect", *files, "-o", tmp_path / "all")[0] == 0
        if files is results:
            first = contents(tmp_path / "all")
        assert contents(tmp_path / "all") == first
    assert [path.name for path in tmp_path.iterdir()] == ["all"]


def test_objects_are_counted_in_areas_and_a_faulty_file_ends_before_the_work(
    results: tuple[Path, Path], tmp_path: Path, windhover: Run
) -> None:
    area = shapely.box(ORIGIN[0] - 9, ORIGIN[1] - 251, ORIGIN[0] + 201, ORIGIN[1] + 9)
    layer = geopandas.GeoDataFrame({"name": ["west"]}, geometry=[area], crs=32631)
    layer.to_file(tmp_path / "areas.gpkg")
    output = ("-o", tmp_path / "all", "--areas", tmp_path / "areas.gpkg")
    assert windhover("collect", *results, *output)[0] == 0
    counts = pd.read_csv(tmp_path / "all" / "counts_by_area.csv").set_index("date")
    objects = geopandas.read_parquet(tmp_path / "all" / "objects").to_crs(32631)
    assert counts.loc["all", "objects"] == objects.centroid.within(area).sum() > 0
    before = contents(tmp_path / "all")
    layer.set_geometry(layer.geometry.centroid).to_file(tmp_path / "areas.gpkg")
    code, _, err = windhover("collect", *results, *output)
    assert (code, "holds no polygon" in err) == (1, True)
    assert contents(tmp_path / "all") == before


@pytest.mark.parametrize("foreign", ["notes.txt", "objects/cell=N45E001/mine.parquet", "a/b/c"])
def test_a_collection_that_holds_files_of_others_is_kept(
    results: tuple[Path, Path], tmp_path: Path, windhover: Run, foreign: str
) -> None:
    windhover("collect", results[0], "-o", tmp_path / "all")
    (tmp_path / "all" / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "all" / foreign).write_text("mine")
    before = contents(tmp_path / "all")
    code, _, err = windhover("collect", *results, "-o", tmp_path / "all")
    assert (code, f"holds {foreign}, which is not of the earlier collection" in err) == (1, True)
    assert contents(tmp_path / "all") == before


def test_what_is_read_is_never_replaced(made: Path, tmp_path: Path, windhover: Run) -> None:
    shutil.copytree(made, tmp_path / "made")
    folder = tmp_path / "made"
    rasters = (folder / "may.tif", "--model", folder / "model", "--mpx-per-second", "1")
    assert windhover("plan", *rasters, "-o", folder / "plan")[0] == 0
    assert windhover("run", folder / "plan", "--task", "0")[0] == 0
    windhover("collect", folder / "plan", "-o", folder / "plan" / "all")
    before = contents(folder)
    for source, output in (
        (folder / "plan", folder / "plan"),
        (folder / "plan", folder),
        (folder / "may.parquet", folder),
        (folder / "may.parquet", folder / "may.parquet"),
        (folder / "plan", folder / "plan" / "tasks.parquet"),
        (folder / "plan", folder / "plan" / "parts" / "00000.parquet"),
    ):
        code, _, err = windhover("collect", source, "-o", output)
        assert (code, err.count("\n")) == (1, 1), err
    assert contents(folder) == before


def test_results_that_cannot_be_put_together_are_a_sentence(
    made: Path, results: tuple[Path, Path], tmp_path: Path, windhover: Run
) -> None:
    may = results[0]
    other = tmp_path / "other.parquet"
    detect = ("detect", made / "june.tif", "--model", made / "model")
    assert windhover(*detect, "--threshold", "0.65", "-o", other)[0] == 0
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 no table")
    file = tmp_path / "found.parquet"
    for words, sentence in (
        ((may, other), "their scores mean different things"),
        ((may, may), "is given twice"),
        ((may, tmp_path / "none.gpkg"), "none.gpkg: no such file"),
        ((may, tmp_path / "junk.parquet"), "junk.parquet: holds no summary of a search"),
        ((may, made), "a folder of a plan is collected alone"),
        ((made,), "plan.json: no such file"),
        ((may, "--partial"), "--partial is of a plan"),
        ((may, "-o", file), "results are collected into a folder"),
        ((may, "--areas", tmp_path / "none.geojson"), "none.geojson"),
        ((may, "--model", tmp_path), "model.json"),
    ):
        code, _, err = windhover("collect", "-o", tmp_path / "all", *words)
        assert (code, sentence in err, err.count("\n")) == (1, True, 1), err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junk.parquet", "other.parquet"]


def test_the_model_of_results_gives_changes_a_probability(
    made: Path, results: tuple[Path, Path], tmp_path: Path, windhover: Run
) -> None:
    windhover("collect", *results, "-o", tmp_path / "all", "--model", made / "model")
    shutil.copytree(made / "model", tmp_path / "model")
    write_bundle(tmp_path / "model", threshold=0.6, weights=random_weights(3, 1, 4, seed=3))
    code, _, err = windhover(
        "collect", *results, "-o", tmp_path / "two", "--model", tmp_path / "model"
    )
    assert (code, "and the results are of" in err) == (1, True)


def test_a_plan_of_a_stac_item_collection_finds_what_its_rasters_hold(
    made: Path, tmp_path: Path, windhover: Run
) -> None:
    pytest.importorskip("pystac", reason="needs pystac: pip install 'windhover-eo[stac]'")
    for name in ("may", "june"):
        shutil.copy(made / f"{name}.tif", tmp_path)
    items = {"type": "FeatureCollection", "features": [_item("may"), _item("june")]}
    (tmp_path / "items.json").write_text(json.dumps(items))
    how = ("--model", made / "model", "--mpx-per-second", "0.02", "--minutes-per-task", "0.04")
    code, out, _ = windhover("plan", tmp_path / "items.json", *how, "-o", tmp_path / "plan")
    assert code == 0
    assert "2 scenes, 0.19 km2" in out
    n_tasks = json.loads((tmp_path / "plan" / "plan.json").read_text())["tasks"]
    assert n_tasks > 1
    assert windhover("run", tmp_path / "plan", "--task", f"0-{n_tasks - 1}")[0] == 0
    for output in ("all.parquet", "all"):
        assert windhover("collect", tmp_path / "plan", "-o", tmp_path / output)[0] == 0
    alone = ("detect", tmp_path / "items.json", "--model", made / "model")
    assert windhover(*alone, "-o", tmp_path / "alone.parquet")[0] == 0
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    table = geopandas.read_parquet(tmp_path / "all.parquet")
    assert set(table["acquired"]) == {"2026-07-08T09:10:11Z"}
    assert set(table["scene"]) == {"may", "june"}


def _item(name: str) -> dict[str, object]:
    """Return a STAC item whose asset is a raster beside it."""
    bands = [{"name": band, "common_name": band} for band in ("red", "green", "blue")]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2026-07-08T09:10:11Z"},
        "links": [],
        "assets": {
            "data": {
                "href": f"./{name}.tif",
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "eo:bands": bands,
            }
        },
    }
