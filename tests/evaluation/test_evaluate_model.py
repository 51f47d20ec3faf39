"""The whole evaluate stage on a small catalog, with a network that knows bright squares, and with
nothing to find.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import geopandas
import numpy as np
import pandas as pd
import pytest
import torch
from affine import Affine
from shapely import box

from conftest import MakeScene
from processor import integers
from windhover.dataset.catalog import LABEL_COLUMNS, Catalog, empty_areas, save_catalog
from windhover.errors import ParameterError
from windhover.evaluation import evaluate_model
from windhover.evaluation.evaluate_model import Folders, evaluate
from windhover.files import write_json
from windhover.inference import dense
from windhover.inference.detector import Detector
from windhover.models.bundle import Card, NetworkCard, load_bundle, save_bundle
from windhover.models.networks import build_network
from windhover.models.quantization import measure_ranges
from windhover.params import check_params, read_yaml
from windhover.params.evaluate import EvaluateParams
from windhover.patches.patch_store import PatchWriter, index_table
from windhover.report import plots
from windhover.tracking.runs import MlflowTracker

GSD = 1.25
SIDE = 24  # px of an object
RATE = 0.02
SECTION = read_yaml(Path(__file__).parents[2] / "params.yaml")["evaluate"]


def params(**changes: Any) -> EvaluateParams:
    return check_params(
        "evaluate", EvaluateParams, {**SECTION, "n_bootstrap": 100, "min_logit": -12.0, **changes}
    )


def knowing_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return fit(build_network("valid64", 1, 1, width=16))


def fit(network: torch.nn.Module, steps: int = 18) -> torch.nn.Module:
    """Teach the network bright squares on dark ground."""
    rng = np.random.default_rng(1)
    pace = [
        torch.zeros_like(weight) for weight in network.parameters()
    ]  # an optimiser would take seconds to import
    network.train()
    for _ in range(steps):
        images, labels = zip(*(window(rng, bool(k % 2)) for k in range(20)), strict=True)
        inputs = (torch.from_numpy(np.stack(images)).float()[:, None] - 60) / 40  # (B, 1, 64, 64)
        outputs = network(inputs)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            outputs.logits.flatten(), torch.tensor(labels).float()
        )
        loss = (
            loss
            + (outputs.offsets_px**2).mean() * 0.01
            + ((outputs.log_sizes - np.log(SIDE)) ** 2).mean()
        )
        slopes = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for weight, speed, slope in zip(network.parameters(), pace, slopes, strict=True):
                weight -= speed.mul_(0.9).add_(slope, alpha=RATE)
    return network.eval()


def window(rng: np.random.Generator, positive: bool) -> tuple[np.ndarray, bool]:
    image = rng.normal(60, 12, (64, 64))
    if positive or rng.random() < 0.4:
        dx, dy = rng.integers(-6, 7, 2) if positive else rng.choice([-26, 26], 2)
        top, left = 32 + dy - SIDE // 2, 32 + dx - SIDE // 2
        image[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE] += 90
    return np.clip(image, 0, 255).astype(np.uint8), positive


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    card = Card(
        network=NetworkCard(name="valid64", n_bands=1, n_classes=1, options={"width": 16}),
        classes=("square",),
        window_px=64,
        stride_px=8,
        gsd_m=GSD,
        bands=("grey",),
        dtype="uint8",
        mean=(60.0,),
        std=(40.0,),
        sampled_prior=0.5,
        true_prior=0.01,
    )
    save_bundle(folder, card, knowing_network().state_dict())
    return folder


class World:
    """A catalog of small scenes and a folder of patches."""

    def __init__(
        self, root: Path, make_scene: MakeScene, objects: dict[str, int], train: Path
    ) -> None:
        self.root, self.rng = root, np.random.default_rng(3)
        scenes, labels = [], []
        for index, (name, number) in enumerate(objects.items()):
            split = name.split("-")[0]
            shape = (180, 230 + 8 * index)
            data, centers = self.paint(shape, number)
            path = make_scene(f"{name}.tif", shape_hw=shape, bands=1, gsd_m=GSD, data=data[None])
            transform = list(Affine(GSD, 0, 400_000, 0, -GSD, 5_000_000))[:6]
            scenes.append(
                {
                    "scene": name,
                    "path": str(path),
                    "width_px": shape[1],
                    "height_px": shape[0],
                    "bands": ["grey"],
                    "dtype": "uint8",
                    "nodata": None,
                    "crs": "EPSG:32631",
                    "transform": transform,
                    "gsd_x_m": GSD,
                    "gsd_y_m": GSD,
                    "place": f"place-{index}",
                    "split": split,
                    "labeled": True,
                    "footprint_wkt_4326": None,
                }
            )
            for col, row in centers:
                edges = (col - SIDE / 2, row - SIDE / 2, col + SIDE / 2, row + SIDE / 2)
                labels.append(
                    {
                        "scene": name,
                        "class": "square",
                        "role": "object",
                        "col": col,
                        "row": row,
                        "left": edges[0],
                        "top": edges[1],
                        "right": edges[2],
                        "bottom": edges[3],
                        "length_m": SIDE * GSD,
                        "width_m": SIDE * GSD,
                        "source": "",
                        "geometry": box(*edges),
                    }
                )
        table = geopandas.GeoDataFrame(
            pd.DataFrame(labels, columns=list(LABEL_COLUMNS)), geometry="geometry"
        )
        save_catalog(Catalog(pd.DataFrame(scenes), table, empty_areas()), root / "scenes")
        self.patches(any(objects.values()))
        self.folders = Folders(
            root / "scenes", root / "patches", train, root / "model", root / "reports"
        )

    def paint(
        self, shape: tuple[int, int], number: int
    ) -> tuple[np.ndarray, list[tuple[float, float]]]:
        data, centers = self.rng.normal(60, 12, shape), []
        for slot in self.rng.permutation(6)[:number]:
            top, left = (
                20 + (slot // 3) * 80 + self.rng.integers(0, 9),
                20 + (slot % 3) * 70 + self.rng.integers(0, 9),
            )
            data[top : top + SIDE, left : left + SIDE] += 90
            centers.append((left + SIDE / 2, top + SIDE / 2))
        return np.clip(data, 0, 255).astype(np.uint8), centers

    def patches(self, with_objects: bool) -> None:
        folder = self.root / "patches"
        folder.mkdir()
        rows = []
        for split in ("train", "val", "test"):
            with PatchWriter(folder / f"{split}.npy", (64, 64, 1), np.dtype("uint8")) as writer:
                for k in range(60):
                    image, positive = window(self.rng, with_objects and k % 3 == 0)
                    writer.append(image[None, :, :, None])
                    kind, name = ("positive", "square") if positive else ("random", "")
                    rows.append(
                        {
                            "patch": k,
                            "split": split,
                            "scene": f"{split}-0",
                            "place": "p",
                            "kind": kind,
                            "class": name,
                            "dx_px": 0.0,
                            "dy_px": 0.0,
                            "w_px": 24.0,
                            "h_px": 24.0,
                            "left_px": 0,
                            "top_px": 0,
                            "gsd_m": GSD,
                            "origin": "cut",
                        }
                    )
        index_table(rows).to_parquet(folder / "index.parquet", index=False)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        evaluate_model, "write_reports", lambda findings, folder: None
    )  # drawing takes most of the time


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "DPI", 30)  # what they show is not looked at here


FULL = {"val-0": 5, "val-1": 4, "test-0": 6, "test-1": 0, "test-2": 4}


@pytest.fixture
def world(tmp_path: Path, make_scene: MakeScene, bundle_folder: Path) -> World:
    return World(tmp_path, make_scene, FULL, bundle_folder)


def test_it_measures_chooses_and_writes_all(world: World) -> None:
    findings = evaluate(params(), world.folders)
    metrics = json.loads((world.folders.reports / "metrics.json").read_text())
    test = metrics["scenes"]["test"]
    assert (test["objects"], test["scenes"], test["places"]) == (10, 3, 3)
    assert test["ap"]["value"] > 0.9
    assert test["ap"]["low"] <= test["ap"]["value"] <= test["ap"]["high"]
    assert test["recall"]["value"] >= 0.8
    places = test["by_place"]
    assert {place: row["objects"] for place, row in places.items()} == {
        "place-2": 6,
        "place-3": 0,
        "place-4": 4,
    }
    assert sum(row["false_alarms"] for row in places.values()) == test["false_alarms"]
    assert places["place-3"]["recall"] is None
    assert sum(row["found"] for row in test["by_size"].values()) == test["found"]
    assert sum(row["objects"] for row in test["by_size"].values()) == 10
    assert not any("by_place" in name for name in evaluate_model.numbers(metrics))
    assert (
        metrics["operating_point"]["square"]["on_val"]["recall"] == findings.points["square"].recall
    )
    page = (world.folders.reports / "index.html").read_text()
    assert "of 100 objects of the class square about" in page
    assert "20 m and more" in page or "to 20 m" in page
    assert metrics["windows"]["test"]["square"]["auc"] > 0.95
    assert findings.notes == ()
    bundle = load_bundle(world.folders.model)
    point = bundle.operating_point
    assert point is not None
    assert bundle.card == load_bundle(world.folders.train).card
    assert bundle.thresholds() == {"square": findings.points["square"].threshold}
    assert 0 < bundle.thresholds()["square"] < 1
    assert point["rule"] == {"name": "max_fbeta", "value": 1.0}
    assert point["search"] == {
        "stride_px": 8, "scales": [1.0], "merge_distance": 0.5, "merge_iou": 0.3, "peak_tta": 1,
        "rescore_min_logit": -1.0,
    }  # fmt: skip
    assert point["curve"][0].keys() >= {
        "class",
        "threshold",
        "precision",
        "recall",
        "false_alarms_per_km2",
    }
    area = sum(180 * (230 + 8 * k) for k in (2, 3, 4)) * GSD**2 / 1e6
    assert test["km2"] == pytest.approx(area, rel=1e-4)
    declared = read_yaml(Path(__file__).parents[2] / "dvc.yaml")["stages"]["evaluate"]
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for key in ("outs", "metrics", "plots")
        for out in declared[key]
    ]
    assert sorted(path.name for path in world.folders.reports.iterdir()) == sorted(
        Path(out).name for out in outs if out.startswith("reports/")
    )


def test_the_same_input_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    evaluate(params(), world.folders)
    again = Folders(
        world.folders.scenes,
        world.folders.patches,
        world.folders.train,
        tmp_path / "model2",
        tmp_path / "reports2",
    )
    evaluate(params(), again)
    for first, second in (
        (world.folders.model, again.model),
        (world.folders.reports, again.reports),
    ):
        assert {p.name: p.read_bytes() for p in first.iterdir()} == {
            p.name: p.read_bytes() for p in second.iterdir()
        }


def another_model(folder: Path, trained: Path, **card: Any) -> Path:
    """Write a network of half the width that has learnt the same, with a radiometry of its own."""
    torch.manual_seed(5)
    network = fit(build_network("valid64", 1, 1, width=8), steps=30)
    made = {
        "network": NetworkCard(name="valid64", n_bands=1, n_classes=1, options={"width": 8}),
        **card,
    }
    save_bundle(folder, load_bundle(trained).card.model_copy(update=made), network.state_dict())
    return folder


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("able", "taken"),
    [
        pytest.param(True, "int8", marks=integers, id="made for integers"),
        pytest.param(False, "fp32", id="not"),
    ],
)
def test_evaluation_counts_as_detection_will_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, able: bool, taken: str
) -> None:
    monkeypatch.setattr(dense, "can_multiply_integers", lambda: able)
    bundle = load_bundle(world.folders.train)
    pictures = [torch.randint(0, 256, (2, len(bundle.card.bands), 96, 96), dtype=torch.uint8)]
    ranges = measure_ranges(bundle.network(), bundle.normalizer(), pictures)
    save_bundle(
        world.root / "ranged", bundle.card.model_copy(update={"ranges": ranges}), bundle.weights
    )
    evaluate(params(), dataclasses.replace(world.folders, train=world.root / "ranged"))
    point = load_bundle(world.folders.model).operating_point
    assert point is not None
    assert point["chosen_on"]["precision"] == taken
    assert Detector.from_bundle(world.folders.model).scorer.precision == taken


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("looks", "twice"), [(0, False), (1, False), (8, False), (1, True), (8, True)]
)
def test_detection_finds_what_evaluation_judged(world: World, looks: int, twice: bool) -> None:
    other = str(another_model(world.root / "other", world.folders.train)) if twice else None
    findings = evaluate(params(peak_tta=looks, second_stage=other), world.folders)
    shutil.rmtree(world.root / "other", ignore_errors=True)  # the finished model needs it no more
    detector = Detector.from_bundle(world.folders.model)
    assert detector.settings.peak_tta == looks
    assert detector.bundle.card.name == findings.model
    assert ("its peaks by valid64 too" in detector.describe()) == twice
    assert any("the mean of two logits" in note for note in findings.notes) == twice
    for split in ("val", "test"):
        judged = findings.scenes[split].judged
        for scene in judged["scene"].unique():
            found = detector.detect(world.root / f"{scene}.tif")
            wanted = judged.loc[(judged["scene"] == scene), "score"]
            wanted = wanted[wanted >= detector.thresholds()["square"]]
            assert len(wanted) > 2 or scene == "test-1"
            assert sorted(found["score"]) == pytest.approx(sorted(wanted), abs=1e-6)


@pytest.mark.usefixtures("no_report")
def test_a_second_look_is_calibrated_kept_and_recorded_with_the_run_of_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = evaluate(params(), world.folders)
    other = another_model(world.root / "other", world.folders.train)
    both = evaluate(params(second_stage=str(other)), world.folders)
    surest = [np.sort(findings.scenes["val"].judged["logit"])[-20:] for findings in (alone, both)]
    assert np.abs(surest[0] - surest[1]).max() > 0.5
    assert alone.calibration["detection_bias"] != both.calibration["detection_bias"]
    assert alone.calibration["window_bias"] == both.calibration["window_bias"]
    assert alone.model != both.model
    kept, keys = [], []

    def keep(path: str, folder: str) -> None:
        kept.append(f"{folder}/{Path(path).name}")

    mlflow = MagicMock(log_artifact=keep)
    monkeypatch.setattr(
        evaluate_model, "resume_run", lambda key: keys.append(key) or nullcontext(MlflowTracker(mlflow))
    )
    write_json(world.folders.reports / "metrics.json", {})
    evaluate_model.record(both, world.folders)
    assert keys == [load_bundle(world.folders.train).card.name]
    assert {
        "bundle/weights.pt",
        "bundle/second_stage/weights.pt",
        "bundle/second_stage/model.json",
    } <= set(kept)


@pytest.mark.usefixtures("no_report")
def test_a_second_look_that_cannot_be_had_is_said(world: World) -> None:
    with pytest.raises(ParameterError, match="second_stage needs peaks that are looked at again"):
        params(second_stage="other", peak_tta=0)
    other = another_model(world.root / "other", world.folders.train, gsd_m=0.5)
    with pytest.raises(
        ParameterError, match=r"`evaluate\.second_stage`: .* has `gsd_m` 0\.5, and 1\.25 is needed"
    ):
        evaluate(params(second_stage=str(other)), world.folders)
    assert not world.folders.model.exists()


@pytest.mark.usefixtures("no_report")
def test_the_threshold_is_chosen_on_val_alone(world: World) -> None:
    evaluate(params(), world.folders)
    chosen = (world.folders.model / "operating_point.json").read_text()
    calibration = (world.folders.model / "calibration.json").read_text()
    labels = geopandas.read_parquet(world.folders.scenes / "labels.parquet")
    labels[~labels["scene"].str.startswith("test")].to_parquet(
        world.folders.scenes / "labels.parquet"
    )
    findings = evaluate(params(), world.folders)
    assert (world.folders.model / "operating_point.json").read_text() == chosen
    assert (world.folders.model / "calibration.json").read_text() == calibration
    assert findings.scenes["test"].figures["ap"].value is None


@pytest.mark.parametrize(
    "objects",
    [
        {"val-0": 0, "test-0": 3},
        {"val-0": 4, "test-0": 0},
        {"val-0": 0, "test-0": 0},
        {"test-0": 2},
    ],
)
def test_where_there_is_nothing_it_says_so(
    tmp_path: Path, make_scene: MakeScene, bundle_folder: Path, objects: dict[str, int]
) -> None:
    world = World(tmp_path, make_scene, objects, bundle_folder)
    findings = evaluate(params(), world.folders)
    val_has = bool(objects.get("val-0"))
    assert any(
        "no rule can be applied, so the threshold is 0.5" in note for note in findings.notes
    ) == (not val_has)
    assert load_bundle(world.folders.model).thresholds()["square"] >= 0
    assert (findings.scenes["test"].figures["ap"].value is None) == (not objects["test-0"])
    assert "test is one scene, so nothing told by it has an interval." in findings.notes


def test_a_floor_above_everything_finds_nothing_and_still_reports(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        evaluate_model, "search_scene", lambda *args, **kw: real_search(*args[:3], 99.0, **kw)
    )
    findings = evaluate(params(), world.folders)
    assert findings.scenes["test"].figures["ap"].value == 0.0
    assert any("none is found" in note for note in findings.notes)


real_search = evaluate_model.search_scene


@pytest.mark.usefixtures("no_report")
def test_a_rule_that_cannot_be_met_is_noted(world: World) -> None:
    findings = evaluate(
        params(threshold_rule="recall_at_least", threshold_rule_value=1.0, min_logit=4.0), world.folders
    )
    met = findings.points["square"].met
    assert met == (findings.points["square"].recall == 1.0)
    assert any("cannot be met on validation" in note for note in findings.notes) == (not met)


def test_no_labeled_scene_is_an_error(world: World) -> None:
    scenes = pd.read_parquet(world.folders.scenes / "scenes.parquet")
    scenes.assign(labeled=False).to_parquet(world.folders.scenes / "scenes.parquet")
    with pytest.raises(evaluate_model.DataError, match="no scene of val or test is labelled"):
        evaluate(params(), world.folders)
    assert not world.folders.model.exists()
