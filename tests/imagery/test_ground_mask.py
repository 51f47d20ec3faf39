"""Masks of any grid and system on the grid of a scene, and what their values mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import transform

from windhover.errors import DataError, ParameterError, UnsupportedError
from windhover.imagery.ground_mask import (
    CLEAR,
    MASKED,
    UNKNOWN,
    GroundMask,
    MaskGrid,
    parse_mask_values,
)

UTM = "EPSG:32631"
SCENE = Affine(10.0, 0, 400_000.0, 0, -10.0, 5_000_000.0)
SHAPE = (60, 90)


def write(path: Path, values: np.ndarray, **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = values if values.ndim == 3 else values[None]
    settings = {"crs": UTM, "transform": SCENE} | profile
    tags = settings.pop("tags", {})
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        **settings,
    ) as dataset:
        dataset.write(values)
        dataset.update_tags(1, **tags)
    return path


def states(path: Path, grid: MaskGrid, values: frozenset[int] | None = None) -> np.ndarray:
    with GroundMask(str(path), values).on_grid(grid) as mask:
        return mask.read(0, 0, *grid.shape_hw)


def scene_grid(crs: str | None = UTM, transform: Affine = SCENE) -> MaskGrid:
    return MaskGrid("scene.tif", crs, transform, SHAPE)


def pattern(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6), factor=st.sampled_from([0.5, 1.0, 3.0]),
    shift=st.integers(-40, 40),
)  # fmt: skip
def test_each_px_has_the_state_under_its_middle(
    tmp_path_factory: pytest.TempPathFactory, seed: int, factor: float, shift: int
) -> None:
    values = pattern((70, 85), seed)
    at = SCENE @ Affine.translation(shift, shift / 2) @ Affine.scale(factor)
    path = write(tmp_path_factory.mktemp("mask") / "mask.tif", values, transform=at, nodata=4)
    found = states(path, scene_grid(), frozenset({1, 3}))
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    mask_cols, mask_rows = ~at @ (SCENE @ (cols, rows))
    row, col = np.floor(mask_rows).astype(int), np.floor(mask_cols).astype(int)
    inside = (row >= 0) & (row < 70) & (col >= 0) & (col < 85)
    expected = np.full(SHAPE, UNKNOWN)
    under = values[row[inside], col[inside]]
    expected[inside] = np.where(
        under == 4, UNKNOWN, np.where(np.isin(under, [1, 3]), MASKED, CLEAR)
    )
    # middles on the border of two px of the mask may be of either
    sure = (np.abs(mask_rows % 1 - 0.5) < 0.49) & (np.abs(mask_cols % 1 - 0.5) < 0.49)
    assert (found == expected)[sure].all()
    with GroundMask(str(path), frozenset({1, 3})).on_grid(scene_grid()) as mask:
        assert (mask.read(-3, 20, 30, 100)[3:, :70] == found[:27, 20:]).all()
        assert (mask.read(-3, 20, 30, 100)[:3] == UNKNOWN).all()


def test_a_mask_of_another_system_is_laid_where_it_belongs(tmp_path: Path) -> None:
    lon, lat = transform(UTM, "EPSG:4326", [400_000, 400_900], [5_000_000, 4_999_400])
    step = 0.0001
    shape = (int((lat[0] - lat[1]) / step) + 3, int((lon[1] - lon[0]) / step) + 3)
    values = np.zeros(shape, np.uint8)
    values[:, shape[1] // 2 :] = 1
    at = Affine(step, 0, lon[0] - step, 0, -step, lat[0] + step)
    path = write(tmp_path / "mask.tif", values, crs="EPSG:4326", transform=at)
    found = states(path, scene_grid())
    assert (found[5:-5, 5:40] == CLEAR).all()
    assert (found[5:-5, 50:-5] == MASKED).all()


@pytest.mark.parametrize("factor", [1, 2])
def test_rasters_without_georeference_show_the_same_ground(tmp_path: Path, factor: int) -> None:
    values = pattern((SHAPE[0] // factor, SHAPE[1] // factor))
    path = write(tmp_path / "mask.tif", values, crs=None, transform=Affine.identity())
    local = Affine(2.0, 0, 0, 0, -2.0, 0)
    found = states(path, scene_grid(None, local))
    assert (found == np.where(np.kron(values, np.ones((factor, factor))) > 0, MASKED, CLEAR)).all()
    placed = write(
        tmp_path / "placed.tif", values, crs=None,
        transform=local @ Affine.translation(10, 5) @ Affine.scale(factor),
    )  # fmt: skip
    found = states(placed, scene_grid(None, local))
    assert (found[:5] == UNKNOWN).all()
    assert found[5, 10] == (MASKED if values[0, 0] else CLEAR)


def test_values_mean_what_is_asked_for_or_what_a_class_map_says(tmp_path: Path) -> None:
    plain = str(write(tmp_path / "plain.tif", pattern(SHAPE)))
    assert parse_mask_values(plain, None) is None
    assert parse_mask_values(plain, ("4", "0")) == {4, 0}
    tags = {"class_0": "background", "class_1": "thin cloud", "class_2": "water", "class_3": "Snow"}
    named = str(write(tmp_path / "named.tif", pattern(SHAPE), tags=tags | {"class_255": "unknown"}))
    assert parse_mask_values(named, None) == {1, 3}
    assert parse_mask_values(named, ("water", "3")) == {2, 3}
    tags = {"class_0": "background", "class_1": "forest"}
    other = str(write(tmp_path / "other.tif", pattern(SHAPE), tags=tags))
    assert parse_mask_values(other, None) == {1}
    with pytest.raises(
        ParameterError, match=r"whole numbers or classes \(.*thin cloud.*got 'sand'"
    ):
        parse_mask_values(named, ("sand",))
    with pytest.raises(ParameterError, match="whole numbers with commas between, got 'cloud'"):
        parse_mask_values(plain, ("cloud",))


def test_masks_that_cannot_be_laid_on_a_scene_are_named(tmp_path: Path) -> None:
    far = write(tmp_path / "far.tif", pattern(SHAPE), transform=SCENE @ Affine.translation(900, 0))
    with pytest.raises(DataError, match=r"far\.tif: covers no part of scene\.tif"):
        states(far, scene_grid())
    bare = write(tmp_path / "bare.tif", pattern(SHAPE), crs=None, transform=Affine.identity())
    with pytest.raises(DataError, match=r"scene\.tif has a georeference and .*bare\.tif has none"):
        states(bare, scene_grid())
    with pytest.raises(DataError, match=r"far\.tif has a georeference and scene\.tif has none"):
        states(far, scene_grid(None, Affine(2.0, 0, 0, 0, -2.0, 0)))
    other = write(tmp_path / "other.tif", pattern((50, 50)), crs=None, transform=Affine.identity())
    with pytest.raises(DataError, match=r"has 50 x 50 px and scene\.tif is seen in 90 x 60"):
        states(other, scene_grid(None, Affine(2.0, 0, 0, 0, -2.0, 0)))
    three = write(tmp_path / "three.tif", np.zeros((3, *SHAPE), np.uint8))
    with pytest.raises(UnsupportedError, match="must have one band, got 3"):
        states(three, scene_grid())


def test_a_value_that_a_mask_cannot_hold_is_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tif", np.zeros(SHAPE, np.uint8))
    with pytest.raises(ParameterError, match=r"--mask-values 300: .*m\.tif holds uint8, 0 to 255"):
        states(path, scene_grid(), frozenset({1, 300}))
