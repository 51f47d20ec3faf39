"""What is found does not depend on how the scene is cut, moved or turned; nothing is blind, nothing
doubled.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from rasterio.transform import Affine

import windhover
from fake_models import (
    Identity,
    PlantedNetwork,
    random_weights,
    squares,
    write_bundle,
)
from toy_detections import candidate_table
from toy_scorers import planted
from windhover.errors import FormatError
from windhover.geometry.georef import pixel_to_world
from windhover.imagery.scenes import Scene, open_scene
from windhover.inference import multi_scale
from windhover.inference.detector import Detector
from windhover.inference.multi_scale import plan_passes
from windhover.inference.scene_search import search_scene
from windhover.inference.search_results import SearchReport
from windhover.inference.search_settings import SearchSettings
from windhover.inference.torch_scorer import TorchScorer
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network

CENTERS = [
    (100.3, 60.7),
    (150, 90),
    (420.5, 262.5),
    (200, 33.3),
    (222.5, 33.3),
    (37, 210),
    (300.25, 205.5),
]


def random_scorer(width: int = 4, seed: int = 0, **options: Any) -> TorchScorer:
    network = build_network("valid64", 3, 1, width=width)
    network.load_state_dict(random_weights(3, 1, width, seed))
    return TorchScorer(network, Normalizer([100.0] * 3, [60.0] * 3), **options)


def search(
    path: Path,
    scorer: TorchScorer | None = None,
    min_logit: float = 0.0,
    scales: tuple[float, ...] = (1.0,),
    **options: Any,
) -> pd.DataFrame:
    scorer = scorer or planted()
    with open_scene(path, 1.25, native_gsd_m=1.25) as scene:
        settings = SearchSettings(scorer.stride_px, scales)
        result = search_scene(scorer, scene, settings, min_logit=min_logit, **options)
    return candidate_table(result.candidates)


def positions(found: pd.DataFrame) -> np.ndarray:
    return np.array(
        sorted(
            zip(
                found["col"].round(1),
                found["row"].round(1),
                found["col"],
                found["row"],
                strict=True,
            )
        )
    ).reshape(-1, 4)[:, 2:]


def errors(found: pd.DataFrame, centers: Any) -> np.ndarray:
    """Return how far each centre's own candidate is; each centre has one, and none is left."""
    centers = np.asarray(centers, float).reshape(-1, 2)
    apart = np.hypot(*(centers[:, None] - found[["col", "row"]].to_numpy()).transpose(2, 0, 1))
    assert apart.shape == (len(centers), len(centers))
    assert sorted(apart.argmin(axis=1)) == list(range(len(centers)))
    return apart.min(axis=1)


def assert_same(one: pd.DataFrame, two: pd.DataFrame, atol: float = 1e-4) -> None:
    assert len(one) == len(two)
    keys = ["row", "col", "logit", "w", "h"]
    a, b = (frame.round(2).sort_values(["row", "col"]).index for frame in (one, two))
    assert np.abs(one.loc[a, keys].to_numpy() - two.loc[b, keys].to_numpy()).max(initial=0) < atol
    assert one.loc[a, "edge"].tolist() == two.loc[b, "edge"].tolist()


def test_squares_are_found_where_they_are(make_scene: Any) -> None:
    found = search(make_scene(data=squares((301, 477), CENTERS)))
    assert errors(found, CENTERS).max() < 0.05
    assert found[["w", "h"]].to_numpy() == pytest.approx(10, abs=1e-3)
    assert found["logit"].is_monotonic_decreasing


@pytest.mark.parametrize("shape", [(301, 477), (70, 64), (40, 333), (37, 45)])
def test_a_square_anywhere_to_the_border_is_found_once(
    make_scene: Any, shape: tuple[int, int]
) -> None:
    for x, y in itertools.product(
        (5, shape[1] / 2, shape[1] - 5.0), (5, shape[0] / 2, shape[0] - 5.0)
    ):
        found = search(make_scene(data=squares(shape, [(x, y)])), min_logit=3.0)
        assert len(found) == 1, (x, y, found)
        # at the border the mirror pulls the centre
        assert (
            max(abs(found["col"][0] - x), abs(found["row"][0] - y)) < 7
        )  # inside the square, or nearly
        assert found["edge"][0] or min(x, y, shape[1] - x, shape[0] - y) > 27


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (13, 9), (63, 65)])
def test_a_scene_smaller_than_a_window_is_searched(make_scene: Any, shape: tuple[int, int]) -> None:
    report = SearchReport()
    found = search(make_scene(shape_hw=shape), random_scorer(), -50.0, report=report)
    assert report.windows_searched > 0
    assert found["edge"].all()


@pytest.mark.parametrize("block_px", [64, 128, 200, 256, 512])
def test_blocks_change_nothing(make_scene: Any, block_px: int) -> None:
    path = make_scene(shape_hw=(301, 477), tiled=True, blockxsize=128, blockysize=128)
    whole = search(path, random_scorer(), -50.0, block_px=10_000)
    assert len(whole) > 20
    assert_same(whole, search(path, random_scorer(), -50.0, block_px=block_px))


def test_blocks_are_flat_where_the_strips_of_a_row_would_not_stay_in_the_cache(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape_hw=(900, 1200), blockysize=1)
    sides = []
    for cache_bytes in (256 * 2**20, 3 * 1200 * 512):
        monkeypatch.setattr(multi_scale, "CACHE_BYTES", cache_bytes)
        with open_scene(path, 1.25) as scene:
            (plan,) = plan_passes(planted(), scene, SearchSettings(), block_px=400)
            height, width = (8 * max(b[k + 1] - b[k] for b in plan.blocks) for k in (1, 3))
            result = search_scene(
                random_scorer(), scene, SearchSettings(), min_logit=-5.0, block_px=400
            )
            sides.append((height, width, candidate_table(result.candidates)))
    (height, width, square), (low, wide, flat) = sides
    assert 300 < min(height, width) <= max(height, width) <= 400 + 64
    assert low <= 300 + 64
    assert wide > 500
    assert_same(square, flat)


def test_blocks_of_256_512_and_1024_find_what_the_whole_finds(make_scene: Any) -> None:
    path = make_scene(shape_hw=(1100, 1333), tiled=True, blockxsize=256, blockysize=256)
    whole = search(path, random_scorer(), 2.0, block_px=10_000)
    assert len(whole) > 100
    for block_px in (256, 512, 1024):
        assert_same(whole, search(path, random_scorer(), 2.0, block_px=block_px))


@pytest.mark.parametrize(
    "options", [{"batch_px": 64 * 64}, {"batch_px": 64 * 200}, {"stride_px": 8}]
)
def test_batches_change_nothing(make_scene: Any, options: dict) -> None:
    path = make_scene(shape_hw=(157, 211))
    assert_same(search(path, random_scorer(), -50.0), search(path, random_scorer(**options), -50.0))


def test_threads_change_nothing(make_scene: Any) -> None:
    path = make_scene(shape_hw=(157, 311))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = search(path, random_scorer(), -50.0)
        torch.set_num_threads(3)
        assert_same(one, search(path, random_scorer(), -50.0))
    finally:
        torch.set_num_threads(before)


SEAMED = {
    "tiled": True,
    "blockxsize": 64,
    "blockysize": 64,
}  # with blocks of 128 px: seams at 96 px, 224 px, ...


def test_the_seams_of_the_next_tests_are_where_they_say(make_scene: Any) -> None:
    with open_scene(make_scene(shape_hw=(320, 330), **SEAMED)) as scene:
        (search,) = plan_passes(planted(), scene, SearchSettings(), block_px=128)
    assert {8 * block.col0 + 32 for block in search.blocks} == {0, 96, 224}
    assert {8 * block.row0 + 32 for block in search.blocks} == {0, 96, 224}


@pytest.mark.parametrize("offset", range(0, 40, 3))
@pytest.mark.parametrize("side", [6, 10, 16])
@pytest.mark.parametrize("stride", [8, 4])
def test_a_square_across_a_seam_is_found_once(
    make_scene: Any, offset: int, side: int, stride: int
) -> None:
    """The table over an object's length, the halo of a block (window less stride), and the place
    across the seam.
    """
    at = (96 + offset - 20 + 0.5, 224 + (offset * 7) % 40 - 20 + 0.25)
    scorer = TorchScorer(PlantedNetwork(side_px=side, stride_px=stride), Identity())
    found = search(make_scene(data=squares((320, 290), [at], side), **SEAMED), scorer, block_px=128)
    assert len(found) == 1
    assert errors(found, at).max() < 0.05


@pytest.mark.parametrize("apart", [(21, 0), (0, 21), (24, 0), (21, 21), (40, 3)])
@pytest.mark.parametrize("where", [(150, 150), (96, 97), (223.5, 96)])
def test_neighbors_are_kept_apart_on_seams_too(
    make_scene: Any, apart: tuple[int, int], where: tuple[float, float]
) -> None:
    pair = [where, (where[0] + apart[0], where[1] + apart[1])]
    found = search(
        make_scene(data=squares((320, 330), pair), **SEAMED), block_px=128, min_logit=3.0
    )
    assert errors(found, pair).max() < 2.0


def test_shifting_by_a_stride_shifts_what_is_found(make_scene: Any) -> None:
    data = squares((320, 480), CENTERS)
    rng = np.random.default_rng(0)
    data = np.maximum(data, rng.integers(0, 200, data.shape, dtype=np.uint8))

    def inner(found: pd.DataFrame, dx: int, dy: int) -> pd.DataFrame:
        return found[
            found["col"].between(60 + dx, 380 + dx) & found["row"].between(60 + dy, 220 + dy)
        ]

    one = inner(search(make_scene(data=data), random_scorer(), -50.0), 0, 0)
    two = inner(
        search(make_scene(data=np.roll(data, (16, 8), axis=(1, 2))), random_scorer(), -50.0), 8, 16
    )
    assert len(one) > 5
    assert_same(one.assign(col=one["col"] + 8, row=one["row"] + 16), two)


@pytest.mark.parametrize("north_deg", [0, 33])
@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_turning_the_raster_with_its_transform_gives_the_same_ground_points(
    make_scene: Any, quarter: int, north_deg: float
) -> None:
    """By quarters, or upside down (0: its rows go north), on grids along the north and aslant to
    it.
    """
    data, upright = squares((304, 480), CENTERS), Affine(1.25, 0, 400_000, 0, -1.25, 5_000_000)
    upright = upright @ Affine.rotation(north_deg)
    turned = np.ascontiguousarray(
        np.rot90(data, quarter, axes=(1, 2)) if quarter else data[:, ::-1]
    )
    height, width = data.shape[1:]
    back = {  # px of the turned picture -> px of the upright one
        0: Affine(1, 0, 0, 0, -1, height),
        1: Affine(0, -1, width, 1, 0, 0),
        2: Affine(-1, 0, width, 0, -1, height),
        3: Affine(0, 1, 0, -1, 0, height),
    }[quarter]
    ground = []
    for path in (
        make_scene("a.tif", data=data, transform=upright),
        make_scene("b.tif", data=turned, transform=upright @ back),
    ):
        with open_scene(path, 1.25) as scene:
            result = search_scene(planted(), scene, SearchSettings(), min_logit=3.0)
            found = candidate_table(result.candidates)
            ground.append(
                np.array(
                    sorted(
                        zip(
                            *pixel_to_world(scene.transform, found["col"], found["row"]),
                            strict=True,
                        )
                    )
                )
            )
    assert len(ground[0]) == len(CENTERS)
    assert np.abs(ground[0] - ground[1]).max() < 0.1


def test_all_nodata_gives_nothing_and_says_so(make_scene: Any) -> None:
    report = SearchReport()
    found = search(
        make_scene(data=np.zeros((3, 150, 210), np.uint8), nodata=0),
        random_scorer(),
        -99.0,
        report=report,
    )
    assert found.empty
    assert report.windows_searched == 0
    assert report.windows_skipped == (round((150 - 32) / 8) + 5) * (round((210 - 32) / 8) + 5)


def test_windows_without_a_valid_pixel_are_skipped_and_the_rest_is_found(make_scene: Any) -> None:
    data = np.maximum(squares((304, 480), [(100, 100)]), 1)
    data[:, :, 240:] = 0
    report = SearchReport()
    found = search(make_scene(data=data, nodata=0), report=report, min_logit=3.0)
    assert errors(found, (100, 100)).max() < 1.0
    assert report.windows_skipped == sum(8 * j >= 240 for j in range(-4, 57)) * 39


def test_not_a_number_in_no_not_a_number_out(make_scene: Any) -> None:
    data = np.random.default_rng(0).normal(100, 60, (3, 150, 210)).astype(np.float32)
    data[:, 20:60, 30:90], data[0, 100, 100], data[1, 120, 9] = np.nan, np.inf, -np.inf
    found = search(make_scene(data=data), random_scorer(), -50.0)
    assert len(found) > 5
    assert np.isfinite(found[["logit", "col", "row", "w", "h"]].to_numpy()).all()


def test_a_network_that_says_nan_finds_nothing_there(make_scene: Any) -> None:
    class Sick(PlantedNetwork):
        def forward(self, inputs: torch.Tensor) -> Any:
            outputs = super().forward(inputs)
            return outputs._replace(logits=torch.full_like(outputs.logits, float("nan")))

    assert search(
        make_scene(data=squares((150, 210), [(90, 80)])), TorchScorer(Sick(), Identity())
    ).empty


def test_a_coarser_pass_is_merged_with_the_first(make_scene: Any) -> None:
    small, large = [(60.5, 60), (200, 150)], [(120, 220), (330, 90)]
    data = np.maximum(squares((304, 480), small), squares((304, 480), large, 20))
    path = make_scene(data=data)
    scorer = TorchScorer(PlantedNetwork(most=1.2), Identity())
    once, twice = (search(path, scorer, 3.0, scales) for scales in ((1.0,), (1.0, 2.0)))
    for table, centers, side in ((once, small, 10), (twice, small, 10), (twice, large, 20)):
        for x, y in centers:  # 20 px at the training GSD are 10 px at twice that
            near = table[
                (np.hypot(table["col"] - x, table["row"] - y) < 0.2)
                & (abs(table["w"] - side) < 0.1)
            ]
            assert len(near) == 1
    assert once["w"].max() < 11


def test_an_area_limits_reading_and_result(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape_hw=(1200, 1600), tiled=True, blockxsize=128, blockysize=128)
    seen = []
    read = Scene.read

    def spy(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        seen.append((row, col, height, width))
        return read(self, row, col, height, width)

    whole = search(path, random_scorer(), -50.0)
    monkeypatch.setattr(Scene, "read", spy)
    corners = np.array([(500, 300), (800, 420), (620, 560)])
    with open_scene(path) as scene:
        area = shapely.Polygon(np.stack(pixel_to_world(scene.transform, *corners.T), axis=1))
    found = search(path, random_scorer(), -50.0, aoi=area, block_px=256)
    inside = whole[shapely.contains_xy(shapely.Polygon(corners), whole["col"], whole["row"])]
    assert len(found) > 10
    assert_same(inside.reset_index(drop=True), found)
    assert sum(height * width for *_, height, width in seen) < 0.4 * 1200 * 1600
    assert min(row for row, *_ in seen) > 50


def test_a_block_that_cannot_be_read_is_reported_and_the_rest_searched(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(data=squares((301, 477), CENTERS))
    read = Scene.read

    def broken(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        if col < 40 and row < 40:
            raise FormatError("scene.tif: cannot read rows 0 to 100.")
        return read(self, row, col, height, width)

    monkeypatch.setattr(Scene, "read", broken)
    report = SearchReport()
    found = search(path, block_px=128, report=report)
    assert [(failed.scene, failed.row_px, failed.col_px) for failed in report.failed] == [
        ("scene", 0, 0)
    ]
    assert 0 < len(found) < len(CENTERS) + 1
    with pytest.raises(FormatError, match="cannot read rows 0 to 100"):
        search(path, block_px=128)


def test_a_detector_needs_nothing_but_its_bundle(make_scene: Any, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "model", threshold=0.6)
    path = make_scene(shape_hw=(301, 477), photometric="RGB")
    found = windhover.load_model(tmp_path / "model").detect(path)
    assert len(found) > 5
    assert found["score"].min() >= 0.6
    assert set(found["model"]) == {bundle.card.name}
    assert found.crs == "EPSG:32631"
    assert (found["length_m"] >= found["width_m"]).all()
    centers = found.geometry.centroid
    with open_scene(path) as scene:
        x, y = pixel_to_world(scene.transform, found["col"], found["row"])
    assert np.hypot(centers.x - x, centers.y - y).max() < 1e-6


def test_another_gsd_is_resampled_to_the_models(make_scene: Any, tmp_path: Path) -> None:
    """Squares of 20 px at 0.625 m are squares of 10 px at the training GSD of 1.25 m."""
    fine = [(2 * x, 2 * y) for x, y in CENTERS]
    with open_scene(make_scene(data=squares((602, 954), fine, 20), gsd_m=0.625), 1.25) as scene:
        result = search_scene(planted(), scene, SearchSettings(), min_logit=3.0)
    found = candidate_table(result.candidates)
    assert errors(found, CENTERS).max() < 0.1


def test_half_the_stride_finds_the_same_squares(make_scene: Any) -> None:
    path = make_scene(shape_hw=(157, 211))
    scorer = random_scorer(stride_px=4)
    assert_same(search(path, scorer, -50.0), search(path, scorer, -50.0, block_px=64))


def test_thirteen_bands_of_sixteen_bits(make_scene: Any, tmp_path: Path) -> None:
    card = {"n_bands": 13, "dtype": "uint16", "mean": (2000.0,) * 13, "std": (1200.0,) * 13}
    detector = Detector(write_bundle(tmp_path / "m", threshold=0.01, **card))
    found = detector.detect(
        make_scene(shape_hw=(157, 211), bands=13, dtype="uint16", photometric="MINISBLACK")
    )
    assert len(found) > 3
    assert found["score"].between(0.01, 1).all()


def test_a_damaged_file_is_reported_with_the_place(make_scene: Any) -> None:
    path = make_scene(
        shape_hw=(512, 768), tiled=True, blockxsize=128, blockysize=128, compress="deflate"
    )
    whole = search(path, random_scorer(), -50.0, block_px=128)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    report = SearchReport()
    found = search(path, random_scorer(), -50.0, block_px=128, report=report)
    assert 0 < len(report.failed) < 30
    assert all("The file is damaged there" in failed.reason for failed in report.failed)
    assert 0 < len(found) < len(whole)
