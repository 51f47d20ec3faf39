"""Detections of a catalog: their split, and px that count from the raster as delivered."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest

from fake_models import write_bundle
from toy_catalog import catalog_of, write_labels
from windhover.dataset.catalog import Catalog, load_catalog, save_catalog
from windhover.detection.detect_catalog import detect_catalog
from windhover.export.detection_summary import DetectionSummary
from windhover.export.detections import load_table
from windhover.export.export_map import export_map
from windhover.geometry.georef import world_to_pixel
from windhover.imagery.rasters import inspect_scene

FORMATS = ("gpkg", "parquet", "geojson", "csv")


@pytest.fixture
def blocks(tmp_path: Path, make_scene: Any) -> tuple[Path, Catalog]:
    """Return a raster and the catalog of the blocks that it is cut into, saved in `catalog`."""
    raster = make_scene("raw/wide.tif", shape_hw=(170, 700))
    centers = [(60.0, 60.0), (330.0, 80.0), (600.0, 60.0)]
    write_labels(raster.with_suffix(".gpkg"), raster, centers, ["plane"] * 3)
    catalog = catalog_of(tmp_path, spatial_block_m=280.0)
    assert set(catalog.scenes["split"]) == {"train", "val", "test"}
    save_catalog(catalog, tmp_path / "catalog")
    return raster, catalog


def detect(folder: Path) -> DetectionSummary:
    """Search the catalog of a folder with random weights, and return what was told."""
    if not (folder / "model").exists():
        write_bundle(folder / "model", 0.02)
    return detect_catalog(folder / "catalog", folder / "model", folder / "found")


def test_px_of_blocks_count_from_the_raster_as_delivered(
    tmp_path: Path, blocks: tuple[Path, Catalog]
) -> None:
    raster, catalog = blocks
    detect(tmp_path)
    table = load_table(tmp_path / "found/detections.parquet")
    transform = inspect_scene(raster).transform
    middle = table.geometry.centroid
    col, row = world_to_pixel(transform, middle.x, middle.y)
    assert np.abs(table["col"] - col).max() < 1e-3
    assert np.abs(table["row"] - row).max() < 1e-3
    origins = {one.scene: one.origin_col_px for one in catalog}
    assert max(origins[name] for name in set(table["scene"])) > 200, "not the first block alone"


def test_every_map_tells_the_split_of_a_detection(
    tmp_path: Path, blocks: tuple[Path, Catalog]
) -> None:
    _, catalog = blocks
    summary = detect(tmp_path)
    split_of = {row.scene: row.split for row in catalog}
    assert {scene.scene: scene.split for scene in summary.scenes} == split_of
    export_map(tmp_path / "found", tmp_path / "map", FORMATS)
    paths = {kind: tmp_path / f"map/detections.{kind}" for kind in FORMATS}
    tables = {
        "gpkg": geopandas.read_file(paths["gpkg"]),
        "parquet": geopandas.read_parquet(paths["parquet"]),
        "csv": pd.read_csv(paths["csv"]),
    }
    features = json.loads(paths["geojson"].read_text())["features"]
    tables["geojson"] = pd.DataFrame([feature["properties"] for feature in features])
    for kind, table in tables.items():
        assert len(table) == summary.total.objects, kind
        assert table["split"].tolist() == table["scene"].map(split_of).tolist(), kind
        assert table["split"].nunique() > 1, kind


def test_the_style_tells_test_from_training_ground(
    tmp_path: Path, blocks: tuple[Path, Catalog]
) -> None:
    detect(tmp_path)
    export_map(tmp_path / "found", tmp_path / "map", ["gpkg"])
    with closing(sqlite3.connect(tmp_path / "map/detections.gpkg")) as database:
        (style,) = database.execute("SELECT styleQML FROM layer_styles").fetchone()
    assert "'test', 'solid', 'dot'" in style


def test_a_catalog_of_an_earlier_version_counts_from_the_scene(
    tmp_path: Path, blocks: tuple[Path, Catalog]
) -> None:
    path = tmp_path / "catalog/scenes.parquet"
    table = pd.read_parquet(path)
    table.drop(columns=["origin_col_px", "origin_row_px"]).to_parquet(path)
    assert {row.origin_col_px for row in load_catalog(tmp_path / "catalog")} == {0}


def test_scenes_that_overlap_are_told_once_in_summary_and_map(
    tmp_path: Path, make_scene: Any
) -> None:
    for number, x in enumerate((400_000.0, 400_050.0, 410_000.0, 420_000.0)):
        raster = make_scene(f"raw/t{number}.tif", origin=(x, 5_000_000.0), seed=number)
        write_labels(raster.with_suffix(".gpkg"), raster, [(60.0, 60.0)], ["plane"])
    save_catalog(catalog_of(tmp_path), tmp_path / "catalog")
    summary = detect(tmp_path)
    assert len(summary.notes) == 1
    assert summary.notes[0].startswith("1 pair of scenes overlap, such as t0 and t1")
    told = export_map(tmp_path / "found", tmp_path / "map", ["gpkg"])
    assert told[-1] == f"note: {summary.notes[0]}"
