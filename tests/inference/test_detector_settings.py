"""Thresholds, settings and arguments of a detector: read, refused, reported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from cpu_marks import needs_int8
from fake_models import (
    add_graphs,
    write_bundle,
)
from messages import recorded_messages
from toy_scorers import planted
from windhover.errors import DataError, FormatError, MissingFileError, ParameterError
from windhover.imagery.scenes import open_scene
from windhover.inference.detector import Detector
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings
from windhover.models.operating_point import ChosenOn


def test_thresholds_come_from_the_bundle_or_the_user(tmp_path: Path) -> None:
    detector = Detector(write_bundle(tmp_path / "m", threshold=0.7, classes=("plane", "ship")))
    assert detector.thresholds() == {"plane": 0.7, "ship": 0.7}
    assert detector.thresholds(0.4) == {"plane": 0.4, "ship": 0.4}
    assert detector.thresholds({"ship": 0.2}) == {"plane": 0.7, "ship": 0.2}
    with pytest.raises(ParameterError, match="no class `car`"):
        detector.thresholds({"car": 0.5})
    with pytest.raises(ParameterError, match=r"must be in 0\.\.1, got 1\.5"):
        detector.thresholds(1.5)


def test_a_model_never_evaluated_says_so(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m")
    (tmp_path / "m" / "operating_point.json").unlink()
    with pytest.raises(MissingFileError, match="Run evaluate, or give a threshold"):
        Detector.from_bundle(tmp_path / "m").thresholds()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"strides": 4}, "`strides`: Unexpected keyword argument"),
        ({"stride_px": "8"}, "`stride_px`: Input should be a valid integer"),
        ({"scales": "1"}, "`scales`: Input should be a valid array"),
        ({"scales": [1.0, float("nan")]}, "`scales` must hold numbers above 0"),
        ({"merge_distance": float("nan")}, "`merge_distance` must be 0 or more"),
        ({"peak_tta": 3}, "`peak_tta`: Input should be 'none', 'recenter' or 'd4'"),
    ],
)
def test_settings_of_a_spoilt_file_are_named(values: dict, sentence: str) -> None:
    with pytest.raises(FormatError, match=f"search settings: {sentence}.*Run evaluate again"):
        SearchSettings.from_json(values)


def test_settings_survive_their_file() -> None:
    settings = SearchSettings(4, (1.0, 2.0), 0.4, 0.5, "d4", -2.0)
    assert SearchSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(("number", "name"), [(0, "none"), (1, "recenter"), (8, "d4")])
@pytest.mark.parametrize("key", ["peak_looks", "peak_tta"])
def test_settings_of_earlier_versions_are_read_and_reported(
    key: str, number: int, name: str
) -> None:
    old_values = {"stride_px": 4, key: number, "rescore_min_logit": -2.0}
    with recorded_messages() as messages:
        settings = SearchSettings.from_json(old_values)
    assert settings == SearchSettings(4, peak_tta=name, rescore_min_logit=-2.0)
    assert messages == [f"search settings of an earlier version are read: {key}"]
    with recorded_messages() as messages:
        assert SearchSettings.from_json(settings.to_json()) == settings
    assert messages == []


def test_the_old_limit_of_rescoring_is_read() -> None:
    assert SearchSettings.from_json({"peak_looks_from": -2.0}).rescore_min_logit == -2.0


def test_arguments_that_are_easily_mistaken_are_named(tmp_path: Path, make_scene: Any) -> None:
    detector = Detector(write_bundle(tmp_path / "m"), device="cpu")
    path = make_scene(shape_hw=(90, 140))
    name = detector.bundle.card.classes[0]
    frame = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 9, 5)], crs="EPSG:32631")
    for wrong in (frame, (0, 0, 9, 5), 7):
        with pytest.raises(ParameterError, match="`aoi` must be one shape in the raster's"):
            detector.detect(path, threshold=0.5, aoi=wrong)  # type: ignore[arg-type]
    for score in ("0.5", True, None):
        with pytest.raises(ParameterError, match=r"must be in 0\.\.1, got"):
            detector.detect(path, threshold={name: score})  # type: ignore[dict-item]
    frame.to_file(tmp_path / "elsewhere.gpkg")
    for area in (tmp_path / "elsewhere.gpkg", frame.geometry[0]):
        with pytest.raises(DataError, match="no part of it lies in the area to be searched"):
            detector.detect(path, threshold=0.5, aoi=area)


def test_settings_and_devices_out_of_range_say_so(tmp_path: Path, make_scene: Any) -> None:
    with pytest.raises(ParameterError, match="`scales` must hold numbers above 0"):
        SearchSettings(scales=(0.0,))
    with pytest.raises(ParameterError, match="`merge_iou`"):
        SearchSettings(merge_iou=0.0)
    with pytest.raises(ParameterError, match="device 'warp' cannot be had"):
        Detector(write_bundle(tmp_path / "m"), device="warp")
    with (
        open_scene(make_scene()) as scene,
        pytest.raises(ParameterError, match="stride 4 px and the scorer at 8 px"),
    ):
        search_scene(planted(), scene, SearchSettings(stride_px=4), min_logit=0.0)


@pytest.mark.parametrize(
    ("chosen_in", "said"),
    [("fp32", False), ("int8", True), (None, False)],
    ids=["alike", "otherwise", "not known"],
)
def test_it_says_where_the_threshold_was_chosen_in_another_arithmetic(
    tmp_path: Path, chosen_in: str | None, said: bool
) -> None:
    bundle = write_bundle(tmp_path / "m", threshold=0.5)
    assert bundle.operating_point is not None
    chosen_on = ChosenOn(inference_precision=chosen_in)
    point = bundle.operating_point.model_copy(update={"chosen_on": chosen_on})
    detector = Detector(replace(bundle, operating_point=point), inference_precision="fp32")
    assert ("(its threshold was chosen in int8)" in detector.describe()) == said


@needs_int8
@pytest.mark.parametrize(("matched", "taken"), [(False, "int8"), (True, "fp32")])
def test_pixels_matched_to_the_training_are_never_cut_to_bytes_unasked(
    tmp_path: Path, matched: bool, taken: str
) -> None:
    write_bundle(tmp_path / "m", threshold=0.5)
    bundle = add_graphs(tmp_path / "m")
    assert Detector(bundle, match_radiometry=matched).scorer.inference_precision == taken
