"""A search is gone on from only where all that decides its result is the same, each by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from conftest import MakeScene
from fake_models import one_threshold, random_weights, write_bundle
from windhover.detection import detect_rasters as flow
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.imagery.rasters import inspect_scene
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import load_bundle, save_bundle

SHAPE_HW = (150, 210)


class StoppedError(Exception):
    """The search ends where its journal would be opened."""


@pytest.fixture
def fingerprint_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[DetectRequest], dict[str, Any]]:
    """Return a function that gives the fingerprint of a request without searching."""
    seen: list[dict[str, Any]] = []

    def stop(path: Path, fingerprint: dict[str, Any], *, resume: bool) -> None:
        seen.append(fingerprint)
        raise StoppedError("stopped")

    monkeypatch.setattr(flow, "SearchJournal", stop)

    def fingerprint(request: DetectRequest) -> dict[str, Any]:
        with pytest.raises(StoppedError, match="stopped"):
            detect_rasters(request)
        return seen[-1]

    return fingerprint


@pytest.fixture
def request_of_two(make_scene: MakeScene, tmp_path: Path) -> DetectRequest:
    write_bundle(tmp_path / "model", threshold=0.6)
    paths = []
    for number, name in enumerate(("a.tif", "b.tif")):
        origin = (4e5 + 1e4 * number, 5e6)
        paths.append(str(make_scene(name, shape_hw=SHAPE_HW, seed=number, origin=origin)))
    return DetectRequest(paths, tmp_path / "model", tmp_path / "found.gpkg", device="cpu")


def write_area(path: Path, scene: str, share: float) -> Path:
    """Write the left part of a scene as an area of interest."""
    info = inspect_scene(scene)
    x, y = info.transform @ (info.width_px * share, info.height_px)
    area = shapely.box(info.transform.c, y, x, info.transform.f)
    geopandas.GeoSeries([area], crs=info.crs).to_file(path)
    return path


def test_the_same_request_has_the_same_fingerprint(
    fingerprint_of: Any, request_of_two: DetectRequest
) -> None:
    first = fingerprint_of(request_of_two)
    assert fingerprint_of(request_of_two) == first
    elsewhere = request_of_two.output.with_name("other.gpkg")
    assert fingerprint_of(replace(request_of_two, output=elsewhere)) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0.4},
        {"stride_px": 4},
        {"scales": (1.0, 2.0)},
        {"bands": ("3", "2", "1")},
        {"match_radiometry": True},
        {"block_px": 128},
        {"batch_px": 96 * 96},
        {"inference_precision": "bf16"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_option_decides(
    fingerprint_of: Any, request_of_two: DetectRequest, changes: dict[str, Any]
) -> None:
    base = replace(request_of_two, inference_precision="fp32")
    assert fingerprint_of(replace(base, **changes)) != fingerprint_of(base)


def test_score_maps_decide(
    fingerprint_of: Any, request_of_two: DetectRequest, tmp_path: Path
) -> None:
    with_scores = replace(request_of_two, scores=tmp_path / "scores")
    assert fingerprint_of(with_scores) != fingerprint_of(request_of_two)


def test_the_scenes_and_their_order_decide(
    fingerprint_of: Any, request_of_two: DetectRequest
) -> None:
    one, two = request_of_two.scenes
    prints = [
        fingerprint_of(replace(request_of_two, scenes=scenes))
        for scenes in ([one, two], [two, one], [one], [two])
    ]
    assert all(prints[i] != prints[j] for i in range(4) for j in range(i))


def test_the_area_of_each_scene_decides(
    fingerprint_of: Any, request_of_two: DetectRequest, tmp_path: Path
) -> None:
    prints = [fingerprint_of(request_of_two)]
    for number, share in enumerate((0.7, 0.8)):
        area = write_area(tmp_path / f"{number}.gpkg", request_of_two.scenes[0], share)
        prints.append(fingerprint_of(replace(request_of_two, aoi=area)))
    assert prints[0] != prints[1] != prints[2] != prints[0]


def rewrite(path: str) -> None:
    """Change the pixels; size and time of change stay."""
    before = Path(path).stat()
    with rasterio.open(path, "r+") as raster:
        raster.write(np.roll(raster.read(), 1, axis=2))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


def append(path: str) -> None:
    """Make the file longer; its time of change stays."""
    before = Path(path).stat()
    with open(path, "ab") as file:
        file.write(b"\0" * 64)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def shift(path: str) -> None:
    """Move a raster on the ground; size and time of change of the file stay."""
    before = Path(path).stat()
    with rasterio.open(path, "r+") as raster:
        raster.transform = raster.transform @ rasterio.Affine.translation(3, 0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, append, shift])
@pytest.mark.parametrize("number", [0, 1])
def test_the_state_of_every_scene_decides(
    fingerprint_of: Any, request_of_two: DetectRequest, change: Callable[[str], None], number: int
) -> None:
    before = fingerprint_of(request_of_two)
    change(request_of_two.scenes[number])
    assert fingerprint_of(request_of_two) != before


def test_overviews_that_are_read_decide(
    fingerprint_of: Any, request_of_two: DetectRequest, make_scene: MakeScene
) -> None:
    path = make_scene("fine.tif", shape_hw=(600, 840))
    times = path.stat()
    request = replace(request_of_two, scenes=[str(path)], scales=(1.0, 4.0))
    before = fingerprint_of(request)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4], rasterio.enums.Resampling.average)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = fingerprint_of(request)
    assert after["overviews"] != before["overviews"]


def test_the_model_and_its_calibration_decide(
    fingerprint_of: Any, request_of_two: DetectRequest, tmp_path: Path
) -> None:
    before = fingerprint_of(request_of_two)
    card = load_bundle(request_of_two.model).card
    point = one_threshold(card.classes, 0.6)
    for key, weights, calibration in (
        ("model", random_weights(seed=1), Calibration()),
        ("calibration", random_weights(), Calibration(detection_temperature=1.5)),
    ):
        save_bundle(tmp_path / key, card, weights, calibration=calibration, operating_point=point)
        after = fingerprint_of(replace(request_of_two, model=tmp_path / key))
        assert [name for name in before if after[name] != before[name]] == [key]
