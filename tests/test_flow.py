"""The whole flow through the real scripts: objects put at known map coordinates stand there on the
map.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine
from shapely.geometry import box

from cpu_marks import needs_int8
from messages import recorded_messages
from run_stages import run_stages
from windhover.detection.detect_catalog import detect_catalog
from windhover.inference.detection_columns import COLUMNS
from windhover.inference.detector import Detector
from windhover.models.bundle import load_bundle

GSD_M = 1.25
SIDE_M = (22.5, 17.5)  # width and height of an object on the ground
# the UTM zone of fir differs from that of the others
PLACES = {"oak": "train", "elm": "train", "ash": "val", "fir": "test"}
NO_MINING = {
    "after": [],
    "max_per_scene": 1,
    "min_score": 0.5,
    "patches_per_miss": 0,
    "scales": [1.0],
}
TINY: dict[str, dict[str, Any]] = {
    "patches": {"positives_per_object": 12},
    "augment": {"variants": 1, "sheet_rows": 2},
    "train": {
        "epochs": 8,
        "max_minutes": None,
        "options": {"width": 8},
        "batch_size": 16,
        "learning_rate": 0.006,
        "training_precision": "fp32",
        "offset_weight": 1.0,
        "ema_decay": 0.97,
        "hard_negative_mining": NO_MINING,
        "batch_augment": {
            "d4": True,
            "brightness": 0.05,
            "contrast": 0.1,
            "gamma": 0.0,
            "per_band_gain": 0.0,
            "per_band_contrast": 0.0,
            "highlight_darkening": 0.0,
            "saturation": 0.0,
            "sharpness": 0.0,
            "blur_px": 0.0,
            "noise": 0.0,
        },
        "large_patches": {
            "per_batch": 16,
            "side_px": 96,
            "count": 240,
            "per_epoch": 240,
            "object_fraction": 0.8,
            "copy_paste_prob": 0.5,
            "negatives_per_positive": 3.0,
            "scales": [1.0],
        },
    },
    "evaluate": {"n_bootstrap": 100},
}


def paint(
    rng: np.random.Generator, shape_hw: tuple[int, int], centers_xy: np.ndarray
) -> np.ndarray:
    """Return (3, H, W) uint8: noise, dark streaks, light boxes of the objects' size, exact below
    the pixel.
    """
    height, width = shape_hw
    picture = 90 + 10 * rng.standard_normal((3, height, width))
    for _ in range(12):
        row, col = rng.integers(0, height - 6), rng.integers(0, width - 60)
        picture[:, row : row + 5, col : col + 60] = 40
    for x, y in centers_xy:
        w, h = (side / GSD_M for side in SIDE_M)
        cols = np.clip(
            np.minimum(np.arange(width) + 1, x + w / 2) - np.maximum(np.arange(width), x - w / 2),
            0,
            1,
        )
        rows = np.clip(
            np.minimum(np.arange(height) + 1, y + h / 2) - np.maximum(np.arange(height), y - h / 2),
            0,
            1,
        )
        cover = rows[:, None] * cols[None, :]
        picture = picture * (1 - cover) + 215 * cover
    return np.clip(picture, 1, 255).round().astype(np.uint8)


def make_raw(folder: Path, places: dict[str, str] = PLACES) -> dict[str, np.ndarray]:
    """Write tiles, labels and places; return the objects' centers on the map, (n, 2) x and y in
    metres, per tile.
    """
    rng = np.random.default_rng(5)
    truth = {}
    (folder / "labels").mkdir(parents=True)
    for number, place in enumerate(places):
        crs = "EPSG:32733" if place.startswith("fir") else "EPSG:32631"
        transform = Affine(GSD_M, 0, 400_000 + 5_000 * number, 0, -GSD_M, 5_000_000)
        shape_hw = (424, 520)
        grid = np.array([(x, y) for x in range(60, 480, 100) for y in range(60, 390, 110)], float)
        centers = grid[rng.permutation(len(grid))[:9]] + rng.uniform(-20, 20, (9, 2))
        with rasterio.open(
            folder / f"{place}.tif",
            "w",
            driver="GTiff",
            height=424,
            width=520,
            count=3,
            dtype="uint8",
            crs=crs,
            transform=transform,
        ) as tile:
            tile.write(paint(rng, shape_hw, centers))
        truth[place] = np.array([transform @ tuple(center) for center in centers])
        half = np.array(SIDE_M) / 2
        polygons = [box(*(xy - half), *(xy + half)) for xy in truth[place]]
        geopandas.GeoDataFrame({"class": ["shed"] * 9}, geometry=polygons, crs=crs).to_file(
            folder / "labels" / f"{place}.gpkg", layer="labels"
        )
    pd.DataFrame(
        {"scene": list(places), "place": list(places), "split": list(places.values())}
    ).to_csv(folder / "places.csv", index=False)
    return truth


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    root = tmp_path_factory.mktemp("project")
    truth = make_raw(root / "data" / "raw")
    run_stages(
        root, ("scenes", "patches", "augment", "train", "evaluate", "detect", "export"), TINY
    )
    return root, truth


def test_objects_stand_on_the_map_where_they_were_put(
    project: tuple[Path, dict[str, np.ndarray]],
) -> None:
    root, truth = project
    found = geopandas.read_file(root / "data/map/detections.gpkg", layer="detections")
    assert found.crs.to_epsg() == 4326  # the scenes lie in two zones
    for place, centers in truth.items():
        mine = found[found["scene"] == place]
        boxes = mine.to_crs(mine["scene_crs"].iloc[0]).geometry
        xy = np.column_stack([boxes.centroid.x, boxes.centroid.y])
        distance = np.linalg.norm(centers[:, None] - xy[None], axis=2)
        assert len(mine) == len(centers), f"{place}: {len(mine)} found, {len(centers)} there"
        off = distance.min(axis=1)
        assert off.max() < GSD_M, f"{place}: {off.round(2)} m"  # within a pixel, every one


def test_the_columns_are_those_of_the_schema(project: tuple[Path, dict[str, np.ndarray]]) -> None:
    found = geopandas.read_parquet(project[0] / "data/map/detections.parquet")
    assert list(found.columns)[: len(COLUMNS)] == list(COLUMNS)
    assert set(found["class"]) == {"shed"}
    assert found["score"].between(0, 1).all()
    assert (found["length_m"] >= found["width_m"]).all()
    assert abs(found["length_m"].median() - SIDE_M[0]) < 4


def test_the_three_files_say_the_same(project: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder = project[0] / "data/map"
    sizes = {"gpkg": "detections", "geojson": None}
    counts = {
        len(geopandas.read_file(folder / f"detections.{kind}", layer=layer))
        for kind, layer in sizes.items()
    }
    assert counts == {len(geopandas.read_parquet(folder / "detections.parquet"))}


def test_training_shows_its_crops(project: tuple[Path, dict[str, np.ndarray]]) -> None:
    with Image.open(project[0] / "data/train/large_patches.png") as sheet:
        assert sheet.width > 8 * 96
        assert len(sheet.convert("L").getcolors(256) or []) > 50


def test_the_bundle_searches_a_raster_without_the_project(
    project: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import windhover

    root, truth = project
    monkeypatch.chdir(tmp_path)
    found = windhover.load_model(root / "data/model").detect(root / "data/raw/fir.tif")
    assert len(found) == len(truth["fir"])


@needs_int8
def test_a_search_in_integers_finds_the_same(
    project: tuple[Path, dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, truth = project
    bundle = load_bundle(root / "data/model")
    for place, centers in truth.items():
        raster = root / f"data/raw/{place}.tif"
        exact, found = (
            Detector(bundle, inference_precision=kind).detect(raster) for kind in ("fp32", "int8")
        )
        assert len(found) == len(exact) == len(centers)
        order, again = (
            table.sort_values(["col", "row"], ignore_index=True) for table in (exact, found)
        )
        moved = np.hypot(order["col"] - again["col"], order["row"] - again["row"])
        assert 0 < moved.max() < 1, "within a pixel, and not the same search twice"
        assert (order["score"] - again["score"]).abs().max() < 0.1
    monkeypatch.chdir(root)
    with recorded_messages() as messages:
        summary = detect_catalog(
            "data/scenes", "data/model", tmp_path / "found", inference_precision="int8"
        )
    assert "on cpu in int8" in messages[0]
    assert summary.total.objects == sum(map(len, truth.values()))


def test_the_operating_point_is_chosen_on_validation_and_the_run_holds_both(
    project: tuple[Path, dict[str, np.ndarray]],
) -> None:
    root, _ = project
    point = json.loads((root / "data/model/operating_point.json").read_text())
    assert 0 < point["per_class"]["shed"]["threshold"] < 1
    import mlflow

    runs = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}").search_runs(experiment_ids=["1"])
    assert len(runs) == 1  # evaluate resumed train's run
    assert any("ap" in name for name in runs[0].data.metrics)
