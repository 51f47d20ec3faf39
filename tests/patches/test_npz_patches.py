"""From ready-made patches alone to counts on a map, by every stage's own script; and what is said
of the unknown.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio

from project import ROOT
from run_stages import run_stages
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.models.bundle import load_bundle
from windhover.params import check_params, read_yaml
from windhover.params.simulate import SimulateParams
from windhover.patches.patch_store import load_patches, read_summary
from windhover.simulate.scene_plan import SceneSpec, plan_scenes
from windhover.simulate.world import render_scene
from windhover.summary import summary_lines

GSD_M = 1.25
PARAMS = read_yaml(ROOT / "params.yaml")
WORLD: dict[str, Any] = {
    "train_places": 2,
    "val_places": 1,
    "test_places": 1,
    "scene_width_px": 520,
    "scene_height_px": 480,
    "aircraft_per_scene": 12,
    "fine_scenes": 0,
    "search_tiles": 2,
    "search_tile_px": 512,
    "search_empty": 0,
    "search_aircraft": 10,
}
TINY: dict[str, dict[str, Any]] = {
    "scenes": {"groups": None, "classes": {"1": "aircraft"}},
    "patches": {"npz": "data/raw/patches.npz"},
    "augment": {"variants": 0, "sheet_rows": 2},
    "train": {
        "epochs": 5,
        "max_minutes": None,
        "options": {"width": 8, "stem": "strided"},
        "batch_size": 64,
        "learning_rate": 0.006,
        "ema_decay": 0.95,
        "threads": 1,
        "batch_augment": dict.fromkeys(PARAMS["train"]["batch_augment"], 0.0)
        | {"d4": True, "brightness": 0.05},
    },
    "evaluate": {"n_bootstrap": 100},
}
STAGES = ("scenes", "patches", "augment", "train", "evaluate", "detect", "export")


def drawn(spec: SceneSpec) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return a scene of the built-in world (C, H, W), its aircraft's centres in px (n, 2), and its
    labels.
    """
    pixels, labels = render_scene(spec)
    bounds = labels.geometry.bounds.to_numpy().reshape(-1, 4)
    col, row = ~spec.transform @ (
        (bounds[:, 0] + bounds[:, 2]) / 2,
        (bounds[:, 1] + bounds[:, 3]) / 2,
    )
    return pixels, np.stack([col, row], axis=1), labels


def windows(
    pixels: np.ndarray, centers: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut six windows about each aircraft and four times as many that show none at their middle."""
    height, width = pixels.shape[1:]
    spots = np.repeat(centers, 6, axis=0) + rng.integers(-6, 7, (len(centers) * 6, 2))
    empty = rng.uniform(32, (width - 32, height - 32), (len(spots) * 6, 2))
    empty = empty[np.abs(empty[:, None] - centers).max(2).min(1, initial=np.inf) > 16][
        : 4 * len(spots)
    ]
    corners = np.rint(np.concatenate([spots, empty]) - 32).astype(int)
    kept = ((corners >= 0) & (corners <= [width - 64, height - 64])).all(axis=1)
    labels = np.repeat([1, 0], [len(spots), len(empty)])[kept]
    return np.stack(
        [pixels[:, y : y + 64, x : x + 64].transpose(1, 2, 0) for x, y in corners[kept]]
    ), labels


@pytest.fixture(scope="module")
def rasters(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Any]:
    """Two search tiles of 512 x 512 px with a georeference, and the aircraft on each."""
    folder, tiles = tmp_path_factory.mktemp("tiles"), {}
    for spec in (spec for spec in plan_scenes(world()) if spec.place.split == "test"):
        pixels, _, labels = drawn(spec)
        path = folder / f"{spec.name}.tif"
        profile = {"height": 512, "width": 512, "count": 3, "dtype": "uint8"}
        with rasterio.open(
            path, "w", driver="GTiff", crs=labels.crs.to_wkt(), transform=spec.transform, **profile
        ) as tile:
            tile.write(pixels)
        tiles[path] = labels.geometry
    return tiles


def world() -> SimulateParams:
    return check_params("simulate", SimulateParams, {**PARAMS["simulate"], **WORLD})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("ready"), np.random.default_rng(4)
    parts: dict[str, list[Any]] = {"train": [], "val": []}
    for spec in plan_scenes(world()):
        if spec.place.split in parts:
            parts[spec.place.split].append(windows(*drawn(spec)[:2], rng))
    arrays = {}
    for split, name in (("train", "train"), ("val", "test")):
        arrays[f"{name}_images"] = np.concatenate([images for images, _ in parts[split]])
        arrays[f"{name}_labels"] = np.concatenate([labels for _, labels in parts[split]])
    (root / "data/raw").mkdir(parents=True)
    np.savez(root / "data/raw/patches.npz", **arrays)
    run_stages(root, STAGES, TINY)
    return root


@pytest.mark.slow
def test_a_fifth_of_each_class_is_validation_and_places_are_unknown(project: Path) -> None:
    counts = {}
    for split in ("train", "val", "test"):
        patches = load_patches(project / "data/patches", split)
        assert (patches.index["place"] == "unknown").all()
        counts[split] = patches.index["class"].value_counts()
    for name in ("", "aircraft"):
        assert counts["val"][name] == round((counts["train"][name] + counts["val"][name]) / 5)
    assert "places unknown" in str(read_summary(project / "data/patches").source)
    assert "places are unknown" in (project / "data/scenes/report.html").read_text()


@pytest.mark.slow
def test_the_report_speaks_of_patches_alone(project: Path) -> None:
    metrics = json.loads((project / "reports/metrics.json").read_text())
    assert metrics["scenes"] == {}
    assert metrics["ap_by_threshold"] == {}
    made = metrics["windows"]["test"]["aircraft"]
    assert made["ap_sampled"] > 0.5  # another airport, after seconds of training
    assert made["ap_true"] is None
    notes = "\n".join(metrics["notes"])
    assert "no scene of val is labelled" in notes
    assert "there are no metrics at the true prior" in notes
    text = (project / "reports/index.html").read_text()
    assert "there are no metrics of whole scenes" in text
    assert "By scene (test)" not in text
    assert "no labelled scene" in "\n".join(summary_lines(project))


@pytest.mark.slow
def test_objects_on_rasters_are_windows_without_length_and_counted(
    project: Path, rasters: dict[Path, Any], tmp_path: Path
) -> None:
    request = DetectRequest(
        [str(path) for path in rasters], project / "data/model", tmp_path / "found.gpkg"
    )
    outcome = detect_rasters(request)
    table = geopandas.read_file(tmp_path / "found.gpkg")
    assert {scene.scene: scene.objects for scene in outcome.scenes} == table.groupby(
        "scene"
    ).size().to_dict()
    near = [
        table.geometry.centroid.distance(one.centroid).min() < 20
        for shapes in rasters.values()
        for one in shapes
    ]
    assert sum(near) > len(near) / 2  # seconds of training find most of them
    assert len(table) < 5 * len(near)
    assert table["length_m"].isna().all()
    assert table["width_m"].isna().all()
    sides = table.geometry.bounds
    for low, high in (("minx", "maxx"), ("miny", "maxy")):
        np.testing.assert_allclose(sides[high] - sides[low], 64 * GSD_M, rtol=1e-3)
    assert not load_bundle(project / "data/model").card.sized
    detect_rasters(replace(request, output=tmp_path / "found.geojson"))
    features = json.loads((tmp_path / "found.geojson").read_text())["features"]
    assert [feature["properties"]["length_m"] for feature in features] == [None] * len(table)


@pytest.mark.slow
def test_a_folder_of_rasters_beside_the_patches_is_searched_and_counted(
    project: Path, rasters: dict[Path, Any], tmp_path: Path
) -> None:
    for folder in ("data/train", "data/augmented"):
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).symlink_to(project / folder)
    (tmp_path / "data/raw").mkdir()
    for path in (project / "data/raw/patches.npz", *rasters):
        (tmp_path / "data/raw" / path.name).symlink_to(path)
    run_stages(tmp_path, ("scenes", "patches", "evaluate", "detect"), TINY)
    summary = json.loads((tmp_path / "data/detections/summary.json").read_text())
    assert [one["scene"] for one in summary["scenes"]] == sorted(path.stem for path in rasters)
    assert all(one["objects"] > 0 for one in summary["scenes"])


@pytest.mark.slow
def test_labeled_rasters_beside_the_patches_teach_sizes_and_are_measured(
    project: Path, rasters: dict[Path, Any], tmp_path: Path
) -> None:
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    (raw / "patches.npz").symlink_to(project / "data/raw/patches.npz")
    lines = []
    for spec in plan_scenes(world()):
        pixels, _, labels = drawn(spec)
        profile = {
            "height": pixels.shape[1],
            "width": pixels.shape[2],
            "count": 3,
            "dtype": "uint8",
        }
        place = {"crs": labels.crs.to_wkt(), "transform": spec.transform}
        with rasterio.open(
            raw / f"{spec.name}.tif", "w", driver="GTiff", **place, **profile
        ) as tile:
            tile.write(pixels)
        labels.to_file(raw / f"{spec.name}.gpkg", layer="labels")
        lines.append(f"{spec.name},{spec.place.name},{spec.place.split}")
    (raw / "places.csv").write_text("\n".join(["scene,place,split", *lines]))
    crops = {
        "per_batch": 4,
        "side_px": 96,
        "count": 60,
        "per_epoch": 60,
        "object_fraction": 0.6,
        "copy_paste_prob": 0.0,
        "negatives_per_positive": 3.0,
        "scales": [1.0],
    }
    scenes = {"groups": "places.csv", "classes": {"1": "aircraft", "aircraft": "aircraft"}}
    run_stages(
        tmp_path,
        STAGES[:-1],
        {**TINY, "scenes": scenes, "train": {**TINY["train"], "large_patches": crops}},
    )
    assert load_bundle(tmp_path / "data/model").card.sized
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert metrics["scenes"]["test"]["objects"] == sum(map(len, rasters.values()))
    assert not any("no scene of val is labelled" in note for note in metrics["notes"])
