"""A model's description: what card, page and STAC item tell, and what they hide."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from fake_models import make_card, one_threshold, random_weights
from toy_evaluation import evaluation_result
from windhover.dataset.catalog import Catalog
from windhover.dataset.catalog_report import CatalogReport
from windhover.errors import FormatError
from windhover.evaluation.describe_model import data_version, describe_model
from windhover.files import sha256_file
from windhover.metrics.evaluation_result import EvaluationResult
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import load_bundle, save_bundle
from windhover.models.card import read_card
from windhover.models.model_description import place_hash
from windhover.models.model_readme import README, model_readme
from windhover.models.stac_item import ITEM, item_name
from windhover.params.evaluate import EvaluateParams, ModelCardParams

CLASSES = ("aircraft", "small vehicle")
TEXTS = ModelCardParams(
    sensor="Pleiades", license="Apache-2.0", data_license="CC-BY-4.0", limits=["Never at night."]
)


def make_catalog(folder: str = "/somewhere") -> Catalog:
    """Return a catalog of two scenes a split, one place each."""
    scenes = []
    labels = []
    for index, split in enumerate(("train", "train", "val", "test")):
        name = f"secret-{index}"
        scenes.append(
            {
                "scene": name,
                "path": f"{folder}/{name}.tif",
                "width_px": 300,
                "height_px": 200,
                "bands": ["red", "green", "blue"],
                "transform": [0.5, 0.0, 1e5, 0.0, -0.5, 2e6],
                "gsd_x_m": 0.5 + index / 10,
                "gsd_y_m": 0.7,
                "place": f"Atlantis {index}",
                "split": split,
            }
        )
        labels.append(
            {"scene": name, "class": "aircraft", "role": "object", "geometry": box(1, 2, 9, 8)}
        )
    areas = geopandas.GeoDataFrame({"scene": [], "role": []}, geometry=[])
    table = geopandas.GeoDataFrame(pd.DataFrame(labels), geometry="geometry")
    return Catalog(pd.DataFrame(scenes), table, areas, CatalogReport(training_gsd_m=1.25))


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    np.save(folder / "train.npy", np.arange(12, dtype=np.uint8))
    return folder


def write_model(folder: Path, result: EvaluationResult, patches: Path) -> Path:
    card = make_card(classes=CLASSES)
    weights = random_weights(n_classes=len(CLASSES))
    point = one_threshold(CLASSES, 0.4)
    save_bundle(folder, card, weights, calibration=Calibration(), operating_point=point)
    describe_model(folder, result, make_catalog(), patches=patches)
    return folder


@pytest.fixture
def result() -> EvaluationResult:
    made = evaluation_result(8, CLASSES)
    notes = ("val is small.", "secret-1 lies near secret-2.")
    params = made.params.model_copy(update={"model_card": TEXTS})
    card = {**made.card, "gsd_m": 1.25}
    return dataclasses.replace(made, card=card, params=params, notes=notes)


@pytest.fixture
def model(tmp_path: Path, result: EvaluationResult, patches: Path) -> Path:
    return write_model(tmp_path / "model", result, patches)


def test_the_card_tells_origin_licence_limits_and_figures(
    model: Path, result: EvaluationResult
) -> None:
    about = load_bundle(model).card.description
    assert about is not None
    assert (about.sensor, about.license, about.data_license) == (
        "Pleiades",
        "Apache-2.0",
        "CC-BY-4.0",
    )
    assert about.native_gsd_m == pytest.approx((0.5, 0.7))
    assert (about.scenes, about.objects) == (2, 2)
    assert about.limits[:2] == ("Never at night.", "val is small.")
    accuracy = about.accuracy
    assert accuracy is not None
    expected = result.scenes["test"].estimates["ap"]
    ap = accuracy.figures["ap"]
    assert (ap.value, ap.low, ap.high) == pytest.approx(
        (expected.value, expected.low, expected.high), rel=1e-5
    )
    assert accuracy.objects == len(result.scenes["test"].ground_truth.objects)


def test_places_are_hashes_and_no_name_or_path_leaves(model: Path) -> None:
    about = load_bundle(model).card.description
    assert about is not None
    assert set(about.places["train"]) == {place_hash("Atlantis 0"), place_hash("Atlantis 1")}
    assert about.places["test"] == (place_hash("Atlantis 3"),)
    for path in model.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name in (b"Atlantis", b"secret-", b"somewhere"):
                assert name not in content, path
    assert "1 more, which name scenes" in about.limits[-1]


def test_the_folder_is_the_same_bytes_again_and_elsewhere(
    model: Path, tmp_path: Path, result: EvaluationResult, patches: Path
) -> None:
    again = write_model(tmp_path / "far" / "away", result, patches)
    files = {path.relative_to(model) for path in model.rglob("*") if path.is_file()}
    assert {Path(README), Path(ITEM)} <= files
    for name in files:
        assert (model / name).read_bytes() == (again / name).read_bytes(), name


def test_the_version_of_the_data_follows_labels_and_pixels_not_folders(patches: Path) -> None:
    version = data_version(make_catalog(), patches)
    assert data_version(make_catalog("/moved"), patches) == version
    changed = make_catalog()
    changed.labels.loc[0, "geometry"] = box(1, 2, 9, 8.5)
    assert data_version(changed, patches) != version
    rescaled = make_catalog()
    rescaled.scenes.at[0, "transform"] = [0.6, 0.0, 1e5, 0.0, -0.6, 2e6]
    assert data_version(rescaled, patches) != version
    np.save(patches / "train.npy", np.arange(12, dtype=np.uint8)[::-1])
    assert data_version(make_catalog(), patches) != version


def test_a_model_that_learned_from_every_scene_tells_no_figure(
    tmp_path: Path, result: EvaluationResult, patches: Path
) -> None:
    nothing_kept = evaluation_result(0, CLASSES).scenes["test"]
    scenes = {**result.scenes, "test": nothing_kept}
    result = dataclasses.replace(result, fitted_on="train", scenes=scenes)
    folder = write_model(tmp_path / "m", result, patches)
    about = load_bundle(folder).card.description
    assert about is not None
    assert about.accuracy is None
    page = (folder / README).read_text()
    assert "No accuracy is known" in page
    assert "model-index" not in page


def test_folds_that_stand_for_the_model_are_its_accuracy() -> None:
    from windhover.models.model_description import ModelDescription

    limits = ("cross-validation: 3 models have AP 0.5 (0.4 to 0.6).", "Never at night.")
    page = model_readme(make_card(description=ModelDescription(limits=limits)), None)
    accuracy, others = page.split("## Accuracy")[1].split("## Limits")
    assert "By cross-validation: 3 models have AP 0.5" in accuracy
    assert "No accuracy is known" not in page
    assert "cross-validation" not in others
    assert "Never at night." in others


def test_the_page_is_a_model_card_of_hugging_face(model: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    page = hub.ModelCard.load(model / README)
    assert page.data.license == "apache-2.0"
    assert page.data.pipeline_tag == "object-detection"
    (name,) = {entry.dataset_split for entry in page.data.eval_results}
    assert name == "test"
    figures = {entry.metric_type: entry.metric_value for entry in page.data.eval_results}
    about = load_bundle(model).card.description
    assert about is not None
    assert about.accuracy is not None
    assert figures["ap"] == about.accuracy.figures["ap"].value
    for section in ("## Input", "## Training data", "## Accuracy", "## Limits"):
        assert section in page.text
    assert "Never at night." in page.text
    assert "| AP |" in page.text


@pytest.mark.parametrize(
    ("given", "lines"),
    [(None, ["license: unknown"]), ("Our own terms", ["license: other", "license_name: Our own"])],
)
def test_licences_are_named_as_hugging_face_does(given: str | None, lines: list[str]) -> None:
    from windhover.models.model_description import ModelDescription

    page = model_readme(make_card(description=ModelDescription(license=given)), None)
    for line in lines:
        assert line in page


def test_a_model_without_description_has_a_page() -> None:
    page = model_readme(make_card(), None)
    assert "No accuracy is known" in page
    assert "not named" in page


def test_the_item_names_each_file_with_its_checksum(model: Path) -> None:
    item = json.loads((model / ITEM).read_text())
    assert item["id"] == item_name(load_bundle(model).card)
    assert {"weights.safetensors", "model.json", README} <= set(item["assets"])
    for asset in item["assets"].values():
        path = model / asset["href"]
        assert asset["file:checksum"] == "1220" + sha256_file(path)
        assert asset["file:size"] == path.stat().st_size
    names = [entry["name"] for entry in item["properties"]["mlm:output"][0][CLASSES_KEY]]
    assert names == ["aircraft", "small_vehicle"]


CLASSES_KEY = "classification:classes"


def test_graphs_are_assets_too(tmp_path: Path, result: EvaluationResult, patches: Path) -> None:
    folder = tmp_path / "model"
    (folder / "graphs").mkdir(parents=True)
    graph = folder / "graphs" / "scores_stride8_fp32.onnx"
    card = make_card(classes=CLASSES)
    save_bundle(folder, card, random_weights(n_classes=2), calibration=Calibration())
    graph.parent.mkdir(exist_ok=True)
    graph.write_bytes(b"graph")
    describe_model(folder, result, make_catalog(), patches=patches)
    asset = json.loads((folder / ITEM).read_text())["assets"]["graphs/scores_stride8_fp32.onnx"]
    assert asset["mlm:artifact_type"] == "onnx"
    assert asset["roles"] == ["mlm:model"]


def test_the_item_is_valid_stac(model: Path) -> None:
    pystac = pytest.importorskip("pystac")
    validation = pytest.importorskip("pystac.validation")
    item = json.loads((model / ITEM).read_text())
    core = {**item, "stac_extensions": []}  # schemas of extensions are not packaged
    assert validation.validate_dict(core)
    read = pystac.Item.from_file(str(model / ITEM))
    assert read.geometry is None
    assert Path(read.assets["model.json"].get_absolute_href()) == model / "model.json"


def test_the_item_is_valid_by_stac_model(model: Path) -> None:
    schema = pytest.importorskip("stac_model.schema")
    item = json.loads((model / ITEM).read_text())
    assert schema.SCHEMA_URI in item["stac_extensions"]
    properties = schema.MLModelProperties.model_validate(item["properties"])
    assert properties.input[0].bands == ["red", "green", "blue"]
    assert len(properties.input[0].value_scaling) == 3


def test_a_card_of_an_earlier_version_is_read(model: Path) -> None:
    path = model / "model.json"
    values = json.loads(path.read_text())
    del values["description"]
    path.write_text(json.dumps(values))
    assert load_bundle(model).card.description is None


def test_a_damaged_description_is_one_sentence(model: Path) -> None:
    path = model / "model.json"
    values = json.loads(path.read_text())
    values["description"]["scenes"] = "many"
    path.write_text(json.dumps(values))
    with pytest.raises(FormatError, match=r"model\.json: `description\.scenes`: .*integer"):
        read_card(path)


@pytest.mark.parametrize("text", ["", "  ", "two\nlines"])
def test_texts_of_the_card_are_single_lines(text: str) -> None:
    with pytest.raises(ValueError, match="single lines that are not empty"):
        EvaluateParams(model_card=ModelCardParams(sensor=text))
    with pytest.raises(ValueError, match="single lines that are not empty"):
        ModelCardParams(limits=["fine", text])


def test_an_older_page_is_replaced(model: Path, result: EvaluationResult, patches: Path) -> None:
    before = (model / README).read_text()
    shutil.copy(model / README, model / "kept.md")
    changed = result.params.model_copy(update={"model_card": ModelCardParams(sensor="Skysat")})
    describe_model(
        model, dataclasses.replace(result, params=changed), make_catalog(), patches=patches
    )
    assert (model / README).read_text() != before
    assert "Skysat" in (model / README).read_text()
