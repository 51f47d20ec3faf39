"""A mask from blended tiles: the same for any block, without seams, exact where tiles agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from windhover.errors import FormatError, ParameterError
from windhover.geometry.lattice import ReadBlock
from windhover.inference.blended_tiles import BlendedTiles
from windhover.inference.scene_levels import STEP_PX, scene_levels
from windhover.models.input_normalization import Normalizer, SceneLogNormalizer
from windhover.models.networks import build_network

SMALL: dict[str, Any] = {
    "encoder": "resnet10t",
    "width": 4,
    "levels": 3,
    "space_to_depth": 1,
    "tile_px": 64,
}
TOLERANCE = 1e-4  # in logits: sums of floats in another order


class Local(nn.Module):
    """Gives each px twice its first band and its negative: tiles agree everywhere."""

    window_px, stride_px, dense, step_px = 32, 1, False, 8

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([2 * inputs[:, :1], -inputs[:, :1]], dim=1)


class EdgeOfTile(nn.Module):
    """Gives the distance of each px to its tile's middle: tiles disagree as much as they can."""

    window_px, stride_px, dense, step_px = 32, 1, False, 8

    def forward(self, inputs: Tensor) -> Tensor:
        place = torch.arange(inputs.shape[-1]) + 0.5 - inputs.shape[-1] / 2
        return place.expand(len(inputs), 1, *inputs.shape[-2:])


def reader(pixels: np.ndarray, valid: np.ndarray) -> ReadBlock:
    def read(row: int, col: int, height: int, width: int) -> tuple[Any, Any]:
        assert row >= 0
        assert col >= 0
        part = (slice(row, row + height), slice(col, col + width))
        return pixels[:, *part], valid[part]

    return read


def scene(seed: int, shape: tuple[int, int], bands: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 4000, (bands, *shape)).astype(np.uint16)
    return pixels, rng.random(shape) > 0.05


def tiles(network: nn.Module, **options: Any) -> BlendedTiles:
    settings = {"overlap_px": 8} | options
    return BlendedTiles(network, Normalizer([2000.0, 1000.0], [900.0, 500.0]), **settings)


def whole(scorer: BlendedTiles, pixels: np.ndarray, valid: np.ndarray) -> np.ndarray:
    shape = valid.shape
    return scorer.score(reader(pixels, valid), shape, (0, shape[0], 0, shape[1]))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), rows=st.integers(5, 90), cols=st.integers(5, 120),
    overlap=st.integers(0, 16),
)  # fmt: skip
def test_where_tiles_agree_the_blend_is_what_they_say(
    seed: int, rows: int, cols: int, overlap: int
) -> None:
    pixels, valid = scene(seed, (rows, cols))
    logits = whole(tiles(Local(), overlap_px=overlap), pixels, valid)
    expected = (pixels[0].astype(np.float32) - 2000) / 900
    assert logits.shape == (2, rows, cols)
    assert (np.isnan(logits[0]) == ~valid).all()
    np.testing.assert_allclose(logits[0][valid], 2 * expected[valid], atol=1e-4)
    np.testing.assert_allclose(logits[1][valid], -expected[valid], atol=1e-4)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), block=st.integers(17, 70), batch=st.sampled_from([1024, 5000]))
def test_no_block_and_no_batch_changes_a_logit(seed: int, block: int, batch: int) -> None:
    torch.manual_seed(0)
    network = build_network(
        "unet", 2, 2, encoder="resnet10t", width=4, levels=3, space_to_depth=1, tile_px=64
    )
    pixels, valid = scene(seed, (75, 110))
    read = reader(pixels, valid)
    expected = whole(tiles(network), pixels, valid)
    scorer = tiles(network, batch_px=batch)
    for row in range(0, 75, block):
        for col in range(0, 110, block):
            extent = (row, min(row + block, 75), col, min(col + block, 110))
            part = scorer.score(read, (75, 110), extent)
            same = expected[:, extent[0] : extent[1], extent[2] : extent[3]]
            np.testing.assert_allclose(part, same, atol=TOLERANCE)


def test_the_level_is_that_of_the_whole_scene_for_any_block() -> None:
    torch.manual_seed(0)
    network = build_network("unet", 2, 1, **SMALL, scene_log=True)
    normalizer = SceneLogNormalizer([2000.0, 1000.0], [900.0, 500.0])
    scorer = BlendedTiles(network, normalizer, overlap_px=8)
    pixels, valid = scene(3, (75, 110))
    read = reader(pixels, valid)
    levels = scorer.levels(read, (75, 110))
    logs = normalizer.logarithms(torch.from_numpy(pixels.astype(np.float32))[None])
    sampled = valid[::STEP_PX, ::STEP_PX]
    expected = logs[0].numpy()[:, ::STEP_PX, ::STEP_PX][:, sampled].mean(axis=1)
    np.testing.assert_allclose(levels[0].numpy(), expected, rtol=1e-5)
    all_of_it = scorer.score(read, (75, 110), (0, 75, 0, 110), levels)
    part = scorer.score(read, (75, 110), (10, 40, 33, 97), levels)
    np.testing.assert_allclose(part, all_of_it[:, 10:40, 33:97], atol=TOLERANCE)
    own = scorer.score(read, (75, 110), (0, 75, 0, 110))  # each tile by itself
    assert np.nanmax(np.abs(own - all_of_it)) > TOLERANCE


def test_a_scene_without_a_valid_px_has_no_level() -> None:
    normalizer = SceneLogNormalizer([2000.0, 1000.0], [900.0, 500.0])
    pixels, valid = scene(3, (20, 30))
    assert scene_levels(reader(pixels, np.zeros_like(valid)), (20, 30), normalizer) is None

    def damaged(row: int, col: int, height: int, width: int) -> tuple[Any, Any]:
        raise FormatError("scene.tif: a block cannot be read.")

    assert scene_levels(damaged, (20, 30), normalizer) is None


def test_no_seam_is_seen_where_tiles_disagree() -> None:
    pixels, valid = scene(0, (100, 140))
    valid[:] = True
    logits = whole(tiles(EdgeOfTile(), overlap_px=16), pixels, valid)[0]
    hard = whole(tiles(EdgeOfTile(), overlap_px=0), pixels, valid)[0]
    assert np.abs(np.diff(hard, axis=1)).max() == pytest.approx(31)
    assert np.abs(np.diff(logits, axis=1)).max() < 3


def test_tiles_of_any_side_have_an_overlap_that_fits() -> None:
    assert tiles(Local(), overlap_px=None).overlap_px == 8
    assert tiles(Local(), overlap_px=None, tile_px=256).overlap_px == 64


def test_ground_without_data_is_the_mean_to_the_network() -> None:
    pixels, valid = scene(1, (40, 56))
    dark = np.where(valid, pixels, 0)
    bright = np.where(valid, pixels, 4000).astype(np.uint16)
    torch.manual_seed(0)
    network = build_network(
        "unet", 2, 1, encoder="resnet10t", width=4, levels=3, space_to_depth=1, tile_px=64
    )
    one, other = (whole(tiles(network), each, valid) for each in (dark, bright))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"tile_px": 30},
            "tile_px must be a multiple of 8 px .*, 16 or more, got 30",
        ),
        ({"overlap_px": 17}, r"overlap_px must be in 0\.\.16, half of a tile, got 17"),
        ({"inference_precision": "int8"}, "must be fp32, bf16, fp16 for a U-Net, got 'int8'"),
    ],
)
def test_what_is_not_possible_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        tiles(Local(), **options)
