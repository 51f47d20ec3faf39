"""Overviews are read by coarse passes where they hold the means of the raster's own pixels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.shutil import copy

from fake_models import Identity, PlantedNetwork, squares, write_bundle
from messages import recorded_messages
from toy_detections import candidate_table
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.geometry.georef import pixel_to_world
from windhover.geometry.windows import Bounds
from windhover.imagery.native_resolution_reader import NativeReader
from windhover.imagery.overviews import downsampled_scene, have_same_pixels
from windhover.imagery.scenes import Scene, open_scene
from windhover.inference.multi_scale import plan_passes
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings
from windhover.inference.torch_scorer import TorchScorer


def textured(shape_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a picture (3, H, W) whose neighbouring px differ, and whose ground differs from place
    to place too.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 180, (3, shape_hw[0] // 16 + 1, shape_hw[1] // 16 + 1))
    ground = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, : shape_hw[0], : shape_hw[1]]
    return np.clip(ground + rng.normal(0, 20, ground.shape), 1, 255).astype(np.uint8)


def with_overviews(path: Path, resampling: str = "average") -> Path:
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews((2, 4), Resampling[resampling])
    return path


def as_cog(path: Path, resampling: str) -> Path:
    target = path.with_name("cog.tif")
    copy(path, target, driver="COG", overview_resampling=resampling, blocksize=128)
    return target


def tiled(make_scene: Any, data: np.ndarray, **options: Any) -> Path:
    return make_scene(data=data, tiled=True, blockxsize=64, blockysize=64, **options)


@pytest.mark.parametrize("shape", [(304, 480), (601, 903)])
@pytest.mark.parametrize(
    ("scale", "number"), [(1.5, None), (1.9, None), (2.0, 0), (4.0, 1), (8.0, 1)]
)
def test_a_coarse_pass_reads_the_coarsest_overview_that_shows_its_pixels(
    make_scene: Any, shape: tuple[int, int], scale: float, number: int | None
) -> None:
    with open_scene(with_overviews(tiled(make_scene, textured(shape)))) as scene:
        chosen = downsampled_scene(scene, scale)
        assert chosen.overview == number
        assert chosen.ratio_xy == pytest.approx((scale, scale), rel=0.01)
        pixels, valid = chosen.read(0, 0, *chosen.shape_hw)
        with scene.on_grid(chosen.ratio_xy) as plain:
            expected, expected_valid = plain.read(0, 0, *plain.shape_hw)
    assert (valid == expected_valid).all()
    assert np.abs(pixels.astype(float) - expected).mean() < 1.0


def test_what_the_overview_leaves_to_do_is_averaged(make_scene: Any) -> None:
    with open_scene(with_overviews(tiled(make_scene, textured((304, 480))))) as scene:
        chosen = downsampled_scene(scene, 3.0)
        assert (chosen.overview, chosen.grid.source_ratio_xy, chosen.shape_hw) == (
            0,
            (1.5, 1.5),
            (101, 160),
        )
        pixels, _ = chosen.read(30, 40, 50, 60)
        with scene.on_grid((3.0, 3.0)) as plain:
            expected, _ = plain.read(30, 40, 50, 60)
    assert np.abs(pixels.astype(float) - expected).mean() < 0.1 * expected.std()


def test_the_first_pass_reads_the_raster_itself_however_fine_it_is(make_scene: Any) -> None:
    path = with_overviews(tiled(make_scene, textured((304, 480)), gsd_m=0.5))
    with open_scene(path, 1.25) as scene:
        passes = plan_passes(PLANTED, scene, SearchSettings(scales=(1.0, 2.0)))
        assert [search.grid.overview for search in passes] == [None, 1]
        assert passes[0].grid is scene


@pytest.mark.parametrize(
    ("make", "used"),
    [
        (lambda path: with_overviews(path, "average"), True),
        (lambda path: with_overviews(path, "nearest"), False),
        (lambda path: as_cog(path, "average"), True),
        (lambda path: as_cog(path, "nearest"), False),
        (lambda path: path, False),
    ],
)
def test_only_overviews_that_average_are_used(make_scene: Any, make: Any, used: bool) -> None:
    with open_scene(make(tiled(make_scene, textured((601, 901))))) as scene:
        assert (downsampled_scene(scene, 2.0).overview is not None) == used


def test_overviews_of_other_data_are_not_used(make_scene: Any) -> None:
    path = with_overviews(tiled(make_scene, textured((304, 480))))
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.write(textured((304, 480), seed=1))
    with open_scene(path) as scene:
        assert downsampled_scene(scene, 2.0).overview is None


def test_a_flat_picture_tells_nothing_of_its_overviews(make_scene: Any) -> None:
    with open_scene(
        with_overviews(tiled(make_scene, np.full((3, 304, 480), 90, np.uint8)))
    ) as scene:
        assert downsampled_scene(scene, 2.0).overview is None


def test_overviews_are_judged_where_the_area_is(
    make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the raster is not read, and a mosaic that is empty there is no evidence."""
    data = np.full((3, 608, 960), 90, np.uint8)
    data[:, 448:592, 704:928] = textured((144, 224))
    seen = []
    read = Scene.read

    def spy(self: Scene, row: int, col: int, height: int, width: int) -> Any:
        seen.append((row, col))
        return read(self, row, col, height, width)

    monkeypatch.setattr(Scene, "read", spy)
    with open_scene(with_overviews(tiled(make_scene, data))) as scene:
        x, y = pixel_to_world(scene.transform, np.array([720, 912]), np.array([464, 576]))
        area = shapely.box(x[0], y[1], x[1], y[0])
        search = plan_passes(PLANTED, scene, SearchSettings(scales=(2.0,)), aoi=area)[0]
    assert search.grid.overview == 0
    assert (np.array(seen).min(axis=0) >= (216, 344)).all()


@pytest.mark.parametrize(("n_rows", "is_same"), [(11, True), (12, False)])
def test_pixels_that_one_grid_lacks_are_counted_and_not_compared(
    make_scene: Any, n_rows: int, is_same: bool
) -> None:
    """A tenth of the pixels may be missing in one, whatever is written there."""
    data = textured((72, 90)).astype(np.float32)
    other = data.copy()
    other[:, :n_rows] = -9999
    with (
        open_scene(make_scene("whole.tif", data=data, dtype="float32")) as scene,
        open_scene(make_scene("part.tif", data=other, dtype="float32", nodata=-9999)) as part,
    ):
        assert have_same_pixels(scene, part) == is_same
        assert have_same_pixels(part, scene) == is_same


def test_missing_pixels_are_missing_in_the_overview_too(make_scene: Any) -> None:
    data = textured((304, 480))
    data[:, :, 256:] = 0
    with open_scene(with_overviews(tiled(make_scene, data, nodata=0))) as scene:
        chosen = downsampled_scene(scene, 2.0)
        _, valid = chosen.read(0, 0, *chosen.shape_hw)
    assert chosen.overview == 0
    assert valid[:, :128].all()
    assert not valid[:, 128:].any()


CENTERS = [(120.3, 220.7), (330, 90), (420.5, 262.5), (233, 158.4)]
PLANTED = TorchScorer(PlantedNetwork(), Identity())


def search_for_squares(scene: Scene, settings: SearchSettings) -> pd.DataFrame:
    """Return the candidates of a scene from left to right."""
    result = search_scene(PLANTED, scene, settings, min_logit=3.0)
    return candidate_table(result.candidates).sort_values("col")


@pytest.mark.parametrize("shape", [(304, 480), (301, 477)])
def test_objects_are_those_of_full_resolution(make_scene: Any, shape: tuple[int, int]) -> None:
    found = []
    plain, other = (
        tiled(make_scene, squares(shape, CENTERS, 20), name=f"{name}.tif") for name in "ab"
    )
    for path in (plain, with_overviews(other)):
        with open_scene(path) as scene:
            settings = SearchSettings(scales=(2.0,))
            assert plan_passes(PLANTED, scene, settings)[0].grid.overview == (0 if found else None)
            found.append(search_for_squares(scene, settings))
    one, other = (table[["col", "row", "w", "h"]].to_numpy() for table in found)
    assert np.abs(one[:, :2] - sorted(CENTERS)).max() < 0.3
    assert np.abs(one - other).max() < 0.3
    assert np.abs(found[0]["logit"].to_numpy() - found[1]["logit"].to_numpy()).max() < 0.5


def test_a_pass_from_an_overview_reads_a_quarter_of_the_pixels_and_it_is_said(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[int | None, int] = {}
    read_file = NativeReader.read_file

    def spy(self: NativeReader, bounds: Bounds) -> Any:
        read[self.overview] = read.get(self.overview, 0) + math.prod(bounds.shape_hw)
        return read_file(self, bounds)

    path = tiled(make_scene, textured((1000, 1204)))
    write_bundle(tmp_path / "m", threshold=0.6)
    request = DetectRequest([str(path)], tmp_path / "m", tmp_path / "f.gpkg", scales=(2.0,))
    with recorded_messages() as messages:
        detect_rasters(request)
    with_overviews(path)
    monkeypatch.setattr(NativeReader, "read_file", spy)
    with recorded_messages() as messages_of_second:
        detect_rasters(request)
    messages += messages_of_second
    twice = ", the others from every px again (gdaladdo -r average spares that)"
    assert [line for line in messages if line.startswith("coarser")] == [
        "coarser passes: 0 of 1 are read from overviews" + twice,
        "coarser passes: 1 of 1 are read from overviews",
    ]
    judged = 16 * 64 * 64
    looked_at = 9 * 64 * 64  # for values that the model cannot know
    assert read[None] == judged + looked_at
    assert read[0] < 1.1 * (1000 * 1204 / 4 + judged / 4)


def test_a_damaged_overview_is_left_alone(make_scene: Any) -> None:
    path = tiled(make_scene, textured((304, 480)), compress="deflate")
    size = path.stat().st_size
    with_overviews(path)
    content = bytearray(path.read_bytes())
    content[size + 2000 : size + 40_000] = b"\xff" * 38_000
    path.write_bytes(content)
    with open_scene(path) as scene:
        assert downsampled_scene(scene, 2.0).overview is None


@pytest.mark.parametrize(("gsd", "scale"), [(0.9, 0.715), (1.2405, 2.0)])
def test_a_pass_near_the_rasters_own_gsd_puts_objects_where_they_are(
    make_scene: Any, gsd: float, scale: float
) -> None:
    """Where either GSD were taken for a near one, an object would be off by as much of its distance
    from the corner.
    """
    ratio = 1.25 / gsd if abs(1.25 / gsd - 1) > 0.01 else 1.0
    side = 10 * ratio * scale
    centers = np.array([(120.3, 220.7), (830, 90)])
    path = make_scene(data=squares((301, 957), centers, side), gsd_m=gsd)
    with open_scene(path, 1.25) as scene:
        found = search_for_squares(scene, SearchSettings(scales=(scale,)))
        assert np.abs(found[["col", "row"]].to_numpy() * scene.ratio_xy[0] - centers).max() < 0.6
