"""The whole evaluate stage on a small catalog, with a network that finds bright squares."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import geopandas
import numpy as np
import pandas as pd
import pytest
import torch

from conftest import MakeScene, scene_maker
from cpu_marks import needs_int8
from evaluated_world import (
    FULL,
    GSD,
    World,
    fit,
    params,
    trained_network,
)
from fake_models import add_graphs
from windhover.errors import DataError, ParameterError, UnsupportedError
from windhover.evaluation import evaluate_model, record_evaluation, search_splits
from windhover.evaluation.evaluate_model import evaluate
from windhover.evaluation.model_test import load_test_record
from windhover.evaluation.record_evaluation import record_run
from windhover.evaluation.run_evaluation import run_evaluation
from windhover.export.detections import load_table
from windhover.files import write_json
from windhover.inference import runtimes
from windhover.inference.detection_columns import COLUMNS
from windhover.inference.detector import Detector
from windhover.metrics.evaluation_result import EvaluationResult
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.card import Card, NetworkCard
from windhover.models.networks import build_network
from windhover.models.operating_point import ChosenRule
from windhover.params import read_yaml
from windhover.rendering import plot_style
from windhover.tracking.database_faults import RunRecord
from windhover.tracking.runs import MlflowTracker


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
    save_bundle(folder, card, trained_network().state_dict())
    return folder


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    # drawing takes most of the time
    monkeypatch.setattr(evaluate_model, "write_report", lambda result, folder: None)


@pytest.fixture(scope="module", autouse=True)
def small_pictures() -> Iterator[None]:
    # what they show is not tested here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plot_style, "DPI", 30)
        yield


@pytest.fixture
def world(tmp_path: Path, make_scene: MakeScene, bundle_folder: Path) -> World:
    return World(tmp_path, make_scene, FULL, bundle_folder)


@pytest.fixture(scope="module")
def evaluated(
    tmp_path_factory: pytest.TempPathFactory, bundle_folder: Path
) -> tuple[World, EvaluationResult]:
    """The world of `world`, evaluated once for the tests that only read what is written."""
    root = tmp_path_factory.mktemp("evaluated")
    world = World(root, scene_maker(root), FULL, bundle_folder)
    return world, evaluate(params(), world.folders)


def test_evaluate_measures_chooses_and_writes_all(
    evaluated: tuple[World, EvaluationResult],
) -> None:
    world, result = evaluated
    metrics = json.loads((world.folders.reports / "metrics.json").read_text())
    test = metrics["scenes"]["test"]
    assert (test["objects"], test["scenes"], test["places"]) == (10, 3, 3)
    assert test["ap"]["value"] > 0.9
    assert test["ap"]["value"] is not None
    assert test["ap"]["low"] is None  # fewer than six places
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
    assert (
        metrics["operating_point"]["square"]["on_val"]["recall"]
        == result.chosen_thresholds["square"].recall
    )
    page = (world.folders.reports / "index.html").read_text()
    assert "of 100 objects of the class square about" in page
    assert "20 m and more" in page or "to 20 m" in page
    assert metrics["windows"]["test"]["square"]["auc"] > 0.95
    assert result.notes[0].startswith("Few objects: 9 in val (20 are few), 10 in test")
    assert len(result.notes) == 3
    assert all("too few places for an interval" in note for note in result.notes[1:])
    bundle = load_bundle(world.folders.model)
    point = bundle.operating_point
    assert point is not None
    trained = load_bundle(world.folders.train).card
    assert bundle.card.model_copy(update={"description": None}) == trained
    assert bundle.thresholds() == {"square": result.chosen_thresholds["square"].threshold}
    assert 0 < bundle.thresholds()["square"] < 1
    assert point.rule == ChosenRule(name="max_fbeta", value=1.0)
    assert point.search == {
        "stride_px": 8,
        "scales": [1.0],
        "merge_distance": 0.5,
        "merge_iou": 0.3,
        "peak_tta": "recenter",
        "rescore_min_logit": -1.0,
    }
    assert point.curve[0].class_name == "square"
    assert point.curve[-1].tp == 9
    area = sum(180 * (230 + 8 * k) for k in (2, 3, 4)) * GSD**2 / 1e6
    assert test["km2"] == pytest.approx(area, rel=1e-4)
    declared = read_yaml(Path(__file__).parents[2] / "dvc.yaml")["stages"]["evaluate"]
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for key in ("outs", "metrics", "plots")
        for out in declared[key]
    ]
    # a stage declares what both tasks write; these pictures are of objects alone
    of_objects = {"froc_scenes.png", "size_bands.png"}
    assert {path.name for path in world.folders.reports.iterdir()} == of_objects | {
        Path(out).name for out in outs if out.startswith("reports/")
    }


def test_detections_of_the_evaluation_are_those_of_a_search(
    evaluated: tuple[World, EvaluationResult],
) -> None:
    """The same ids, places and scores in one schema, and `compare` reads those of test alone."""
    world, _ = evaluated
    rows = load_table(world.folders.reports / "matches.parquet")
    assert rows["id"].is_unique
    detector = Detector.from_bundle(world.folders.model)
    reported = rows[rows["score"] >= rows["threshold"]]
    for scene in ("val-0", "test-0", "test-2"):
        found = detector.detect(world.root / f"{scene}.tif").set_index("id")
        wanted = reported[reported["scene"] == scene].set_index("id")
        assert len(wanted)
        assert set(wanted["split"]) == {scene.split("-")[0]}
        names = [name for name in COLUMNS if name not in ("id", "geometry")]
        pd.testing.assert_frame_equal(
            pd.DataFrame(wanted[names]).sort_index(),
            pd.DataFrame(found[names]).sort_index(),
            check_dtype=False,
            atol=1e-6,
        )
        assert wanted.sort_index().area.tolist() == pytest.approx(found.sort_index().area.tolist())
    of_test = rows[(rows["split"] == "test") & ~rows["ignored"]]
    kept = load_test_record(world.folders.reports).matches
    assert kept["score"].tolist() == of_test["score"].tolist()
    assert kept["is_tp"].tolist() == of_test["is_tp"].tolist()
    assert 0 < kept["is_tp"].sum() < len(kept)


@pytest.mark.usefixtures("no_report")
def test_a_padded_network_that_is_to_be_exported_is_named_before_the_evaluation(
    world: World,
) -> None:
    card = load_bundle(world.folders.train).card
    padded = build_network("resnet18", 1, 1)
    made = {"network": NetworkCard(name="resnet18", n_bands=1, n_classes=1, options={})}
    save_bundle(world.root / "padded", card.model_copy(update=made), padded.state_dict())
    folders = dataclasses.replace(world.folders, train=world.root / "padded")
    with pytest.raises(UnsupportedError, match=r"evaluate\.export_onnx`: network `resnet18` is"):
        run_evaluation(params(export_onnx=True), folders)
    assert not folders.model.exists()
    assert not folders.reports.exists()


def test_the_same_input_gives_the_same_bytes(
    evaluated: tuple[World, EvaluationResult], tmp_path: Path
) -> None:
    world, _ = evaluated
    again = dataclasses.replace(
        world.folders, model=tmp_path / "model2", reports=tmp_path / "reports2"
    )
    evaluate(params(), again)
    for first, second in (
        (world.folders.model, again.model),
        (world.folders.reports, again.reports),
    ):
        assert {p.name: p.read_bytes() for p in first.iterdir()} == {
            p.name: p.read_bytes() for p in second.iterdir()
        }


@pytest.fixture(scope="module")
def other_weights() -> dict[str, torch.Tensor]:
    """Return the weights of a network of half the width, trained on the same."""
    torch.manual_seed(5)
    return fit(build_network("valid64", 1, 1, width=8), steps=30).state_dict()


def another_model(
    folder: Path, trained: Path, weights: dict[str, torch.Tensor], **card: Any
) -> Path:
    """Write a network of half the width, with other values in its card."""
    made = {
        "network": NetworkCard(name="valid64", n_bands=1, n_classes=1, options={"width": 8}),
        **card,
    }
    save_bundle(folder, load_bundle(trained).card.model_copy(update=made), weights)
    return folder


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("able", "taken"),
    [
        pytest.param(True, "int8", marks=needs_int8, id="made for integers"),
        pytest.param(False, "fp32", id="not"),
    ],
)
def test_evaluation_searches_in_the_precision_of_detection(
    tmp_path: Path,
    make_scene: MakeScene,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    able: bool,
    taken: str,
) -> None:
    world = World(tmp_path, make_scene, {"val-0": 5, "test-0": 6}, bundle_folder)
    monkeypatch.setattr(runtimes, "sums_bytes_exactly", lambda: able)
    shutil.copytree(world.folders.train, world.root / "with_graphs")
    add_graphs(world.root / "with_graphs")
    evaluate(params(), dataclasses.replace(world.folders, train=world.root / "with_graphs"))
    point = load_bundle(world.folders.model).operating_point
    assert point is not None
    assert point.chosen_on.inference_precision == taken
    assert Detector.from_bundle(world.folders.model).scorer.inference_precision == taken


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("peak_tta", "has_second_stage"),
    [
        ("none", False),
        ("recenter", False),
        ("d4", False),
        ("recenter", True),
        ("d4", True),
    ],
)
def test_detection_finds_what_evaluation_matched(
    tmp_path: Path,
    make_scene: MakeScene,
    bundle_folder: Path,
    other_weights: dict[str, torch.Tensor],
    peak_tta: str,
    has_second_stage: bool,
) -> None:
    objects = {"val-0": 5, "test-0": 6, "test-1": 0}
    world = World(tmp_path, make_scene, objects, bundle_folder)
    other = None
    if has_second_stage:
        other = str(another_model(world.root / "other", bundle_folder, other_weights))
    result = evaluate(params(peak_tta=peak_tta, second_stage=other), world.folders)
    shutil.rmtree(world.root / "other", ignore_errors=True)  # the finished model needs it no more
    detector = Detector.from_bundle(world.folders.model)
    assert detector.settings.peak_tta == peak_tta
    assert detector.bundle.card.name == result.model
    assert ("its peaks by valid64 too" in detector.describe()) == has_second_stage
    assert any("the mean of two logits" in note for note in result.notes) == has_second_stage
    for split in ("val", "test"):
        matches = result.scenes[split].matches
        for scene in matches["scene"].unique():
            found = detector.detect(world.root / f"{scene}.tif")
            wanted = matches.loc[(matches["scene"] == scene), "score"]
            wanted = wanted[wanted >= detector.thresholds()["square"]]
            assert len(wanted) > 2 or scene == "test-1"
            assert sorted(found["score"]) == pytest.approx(sorted(wanted), abs=1e-6)


@pytest.mark.usefixtures("no_report")
def test_a_second_stage_is_calibrated_saved_and_recorded_in_the_run_of_the_first(
    evaluated: tuple[World, EvaluationResult],
    world: World,
    other_weights: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, alone = evaluated
    other = another_model(world.root / "other", world.folders.train, other_weights)
    both = evaluate(params(second_stage=str(other)), world.folders)
    surest = [np.sort(result.scenes["val"].matches["logit"])[-20:] for result in (alone, both)]
    assert np.abs(surest[0] - surest[1]).max() > 0.5
    assert alone.calibration["detection_bias"] != both.calibration["detection_bias"]
    assert alone.calibration["window_bias"] == both.calibration["window_bias"]
    assert alone.model != both.model
    kept, keys = [], []

    def keep(path: str, folder: str) -> None:
        kept.append(f"{folder}/{Path(path).name}")

    mlflow = MagicMock(log_artifact=keep)
    mlflow.__version__ = "3.13.0"
    monkeypatch.setattr(
        record_evaluation,
        "resume_run",
        lambda key: (
            keys.append(key) or nullcontext(MlflowTracker(mlflow, RunRecord(Path("mlflow.db"))))
        ),
    )
    write_json(world.folders.reports / "metrics.json", {"model": both.model})
    record_run(both, model=world.folders.model, reports=world.folders.reports)
    assert keys == [load_bundle(world.folders.train).card.name]
    assert {
        "bundle/weights.safetensors",
        "bundle/second_stage/weights.safetensors",
        "bundle/second_stage/model.json",
    } <= set(kept)


@pytest.mark.usefixtures("no_report")
def test_a_second_stage_that_does_not_fit_is_an_error(
    world: World, other_weights: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(ParameterError, match="second_stage needs rescored peaks"):
        params(second_stage="other", peak_tta="none")
    other = another_model(world.root / "other", world.folders.train, other_weights, gsd_m=0.5)
    with pytest.raises(
        ParameterError, match=r"`evaluate\.second_stage`: .* has `gsd_m` 0\.5, and 1\.25 is needed"
    ):
        evaluate(params(second_stage=str(other)), world.folders)
    assert not world.folders.model.exists()


@pytest.mark.usefixtures("no_report")
def test_the_threshold_is_chosen_on_val_alone(
    evaluated: tuple[World, EvaluationResult], world: World
) -> None:
    same = evaluated[0].folders.model
    chosen = (same / "operating_point.json").read_text()
    calibration = (same / "calibration.json").read_text()
    labels = geopandas.read_parquet(world.folders.scenes / "labels.parquet")
    labels[~labels["scene"].str.startswith("test")].to_parquet(
        world.folders.scenes / "labels.parquet"
    )
    result = evaluate(params(), world.folders)
    assert (world.folders.model / "operating_point.json").read_text() == chosen
    assert (world.folders.model / "calibration.json").read_text() == calibration
    assert result.scenes["test"].estimates["ap"].value is None


@pytest.mark.parametrize(
    "objects",
    [
        {"val-0": 0, "test-0": 3},
        {"val-0": 4, "test-0": 0},
        {"val-0": 0, "test-0": 0},
        {"test-0": 2},
    ],
)
def test_splits_without_objects_are_noted(
    tmp_path: Path, make_scene: MakeScene, bundle_folder: Path, objects: dict[str, int]
) -> None:
    world = World(tmp_path, make_scene, objects, bundle_folder)
    result = evaluate(params(), world.folders)
    val_has = bool(objects.get("val-0"))
    assert any(
        "no rule can be applied, so the threshold is 0.5" in note for note in result.notes
    ) == (not val_has)
    assert load_bundle(world.folders.model).thresholds()["square"] >= 0
    assert (result.scenes["test"].estimates["ap"].value is None) == (not objects["test-0"])
    note = "test has 1 place: too few places for an interval of its metrics (6 at least): "
    note += "label scenes of more places."
    assert note in result.notes


def test_a_min_logit_above_everything_finds_nothing_and_still_reports(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_search = search_splits.search_scene
    monkeypatch.setattr(
        search_splits,
        "search_scene",
        lambda *args, **options: real_search(*args, **{**options, "min_logit": 99.0}),
    )
    result = evaluate(params(), world.folders)
    assert result.scenes["test"].estimates["ap"].value == 0.0
    assert any("none is found" in note for note in result.notes)


@pytest.mark.usefixtures("no_report")
def test_a_rule_that_cannot_be_met_is_noted(world: World) -> None:
    result = evaluate(
        params(threshold_rule="recall_at_least", threshold_rule_value=1.0, min_logit=4.0),
        world.folders,
    )
    met = result.chosen_thresholds["square"].met
    assert met == (result.chosen_thresholds["square"].recall == 1.0)
    assert any("cannot be met on validation" in note for note in result.notes) == (not met)


def test_no_labeled_scene_is_an_error(world: World) -> None:
    scenes = pd.read_parquet(world.folders.scenes / "scenes.parquet")
    scenes.assign(labeled=False).to_parquet(world.folders.scenes / "scenes.parquet")
    with pytest.raises(DataError, match="no scene of val or test is labelled"):
        evaluate(params(), world.folders)
    assert not world.folders.model.exists()
