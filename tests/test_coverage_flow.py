"""The stages of the pipeline with the task coverage, from tiles and class rasters to a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

from project import ROOT
from run_stages import run_stages
from toy_coverage import CLOUD, GSD_M, IGNORED, VALUES, write_scenes
from windhover.dataset.catalog import load_catalog
from windhover.export.coverage_summary import CoverageSummary
from windhover.models.bundle import load_bundle
from windhover.params import read_yaml
from windhover.patches.patch_summary import PatchSummary
from windhover.summary import summary_lines

TRAIN: dict[str, Any] = {
    "options": {"width": 4, "stem": "strided"},
    "epochs": 3,
    "max_minutes": None,
    "batch_size": 8,
}
SCENES = {
    "task": "coverage",
    "gsd_m": GSD_M,
    "mask_values": {str(value): name for value, name in VALUES.items()},
    "mask_ignore": [IGNORED],
    "groups": None,
}


def large_patches(**changes: Any) -> dict[str, Any]:
    section = read_yaml(ROOT / "params.yaml")["train"]["large_patches"]
    return {**section, "per_batch": 4, "count": 24, "per_epoch": 16, "scales": [1.0], **changes}


def declared_files(stage: str) -> list[str]:
    """Return the files and folders that `dvc.yaml` expects a stage to write."""
    section = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    entries = [entry for key in ("outs", "metrics", "plots") for entry in section.get(key, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.slow
def test_the_stages_end_in_a_table_of_covered_ground(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data/raw", n_scenes=4, shape_hw=(170, 250))
    changes = {
        "scenes": SCENES,
        "patches": {"coverage": {"train_patches": 60, "test_patches": 20, "label_px": 16}},
        "augment": {"variants": 0, "sheet_rows": 2},
        "train": {**TRAIN, "large_patches": large_patches()},
        "evaluate": {"coverage": {"threshold_rule": "max_balanced_accuracy"}},
    }
    stages = ("scenes", "patches", "augment", "train", "evaluate", "detect", "export")
    run_stages(tmp_path, stages, changes)
    for stage in stages:
        for name in declared_files(stage):
            assert (tmp_path / name).exists(), name
    catalog = load_catalog(tmp_path / "data/scenes")
    assert catalog.classes == ["cloud"]
    model = load_bundle(tmp_path / "data/model")
    assert model.card.task == "coverage"
    assert model.operating_point is not None
    assert model.operating_point.coverage is not None
    assert set(model.operating_point.coverage.share_errors) == {"cloud"}
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert metrics["task"] == "coverage"
    assert metrics["scenes"]["test"]["classes"]["cloud"]["auc"] > 0.9
    maps = CoverageSummary.load(tmp_path / "data/detections/coverage.json")
    assert [scene.scene for scene in maps.scenes] == ["s0", "s1", "s2", "s3"]
    table = pd.read_csv(tmp_path / "data/map/coverage.csv")
    assert table["name"].tolist() == ["s0", "s1", "s2", "s3"]
    assert ((table["share_low"] <= table["share"]) & (table["share"] <= table["share_high"])).all()
    text = "\n".join(summary_lines(tmp_path))
    assert "covered ground" in text
    assert "chosen on val by max_balanced_accuracy" in text


@pytest.mark.slow
def test_the_stages_map_every_px_with_a_unet(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data/raw", n_scenes=4, shape_hw=(170, 250))
    unet = {"encoder": "resnet10t", "width": 4, "levels": 3, "space_to_depth": 2, "tile_px": 64}
    changes = {
        "scenes": SCENES,
        "patches": {"coverage": {"train_patches": 60, "test_patches": 20}},
        "augment": {"variants": 0, "sheet_rows": 2},
        "train": {
            "network": "unet",
            "options": unet,
            "epochs": 6,
            "max_minutes": None,
            "learning_rate": 0.01,
            "segmentation": {"side_px": 64, "per_epoch": 32, "per_batch": 4},
        },
        "evaluate": {"coverage": {"threshold_rule": "max_balanced_accuracy"}},
    }
    stages = ("scenes", "patches", "augment", "train", "evaluate", "detect", "export")
    run_stages(tmp_path, stages, changes)
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert metrics["scenes"]["test"]["classes"]["cloud"]["auc"] > 0.95
    for scene in CoverageSummary.load(tmp_path / "data/detections/coverage.json").scenes:
        with (
            rasterio.open(tmp_path / f"data/map/{scene.scene}_mask.tif") as found,
            rasterio.open(tmp_path / f"data/raw/masks/{scene.scene}.tif") as truth,
        ):
            assert found.shape == truth.shape == (170, 250)
            known = truth.read(1) != IGNORED
            is_cloud = truth.read(1) == CLOUD
            assert ((found.read(1) == 1) == is_cloud)[known].mean() > 0.9


@pytest.mark.slow
def test_ready_made_patches_alone_are_learned_and_measured(tmp_path: Path) -> None:
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def patches(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 2
        images = rng.integers(0, 100, (count, 64, 64, 3)) + 120 * labels[:, None, None, None]
        return images.astype(np.uint8), labels

    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = patches(count)
    np.savez(raw / "clouds.npz", **arrays)
    changes = {
        "scenes": {**SCENES, "classes": {"1": "cloud"}},
        "patches": {"npz": str(raw / "clouds.npz")},
        "augment": {"variants": 0, "sheet_rows": 2},
        "train": {**TRAIN, "large_patches": large_patches(per_batch=0)},
    }
    stages = ("scenes", "patches", "augment", "train", "evaluate")
    run_stages(tmp_path, stages, changes)
    summary = PatchSummary.load(tmp_path / "data/patches/summary.json")
    assert summary.coverage is not None
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert metrics["scenes"] == {}
    assert metrics["patches"]["test"]["classes"]["cloud"]["auc"] > 0.9
    assert any("everything is measured on patches" in note for note in metrics["notes"])
    for name in declared_files("evaluate"):
        assert (tmp_path / name).exists(), name
