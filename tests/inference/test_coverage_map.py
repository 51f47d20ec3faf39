"""Maps of scenes: the same for any block, unknown without data, cells laid on their px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_models import Identity
from toy_coverage import BrightNetwork, cloud_mask, picture_of, write_raster
from windhover.geometry.lattice import Lattice, ReadBlock
from windhover.imagery.scenes import Scene, open_scene
from windhover.inference.coverage_map import cells_of_px, map_scene, px_of_cells, to_px
from windhover.inference.pixel_search import PixelScorer
from windhover.inference.torch_scorer import TorchScorer

SHAPE = (333, 467)


@pytest.fixture(scope="module")
def scorer() -> TorchScorer:
    return TorchScorer(BrightNetwork(), Identity())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    picture = picture_of(cloud_mask(SHAPE, 5), 5)
    picture[:, 100:180, 90:170] = 0  # without data
    return write_raster(folder / "s.tif", picture, nodata=0)


def scene_of(path: Path) -> Scene:
    return open_scene(path, 10.0)


@settings(max_examples=12, deadline=None)
@given(block_px=st.integers(64, 700))
def test_no_block_changes_a_map(path: Path, scorer: TorchScorer, block_px: int) -> None:
    with scene_of(path) as scene:
        whole = map_scene(scorer, scene, 1)
        parts = map_scene(scorer, scene, 1, block_px=block_px)
    np.testing.assert_array_equal(np.isnan(parts.logits), np.isnan(whole.logits))
    np.testing.assert_allclose(parts.logits, whole.logits, atol=1e-4)


def test_a_cell_is_known_where_it_holds_data(path: Path, scorer: TorchScorer) -> None:
    with scene_of(path) as scene:
        of_scene = map_scene(scorer, scene, 1)
        valid = scene.read(0, 0, *scene.shape_hw).valid
    shown = to_px(of_scene.logits[0], of_scene.lattice)
    assert shown.shape == SHAPE
    known = np.isfinite(shown)
    assert known[valid].all()
    # a cell of 8 px that lies wholly without data is not known
    assert not known[112:168, 104:160].any()


def test_the_map_is_what_the_network_sees_in_the_middle_of_each_cell(
    path: Path, scorer: TorchScorer
) -> None:
    with scene_of(path) as scene:
        of_scene = map_scene(scorer, scene, 1)
        pixels = scene.read(0, 0, *scene.shape_hw).array
    rows, cols = of_scene.lattice.rows, of_scene.lattice.cols
    for i in range(6, 40, 7):
        for j in range(8, 50, 11):
            top, left = (rows[0] + i) * 8 + 28, (cols[0] + j) * 8 + 28
            cell = pixels[:, top : top + 8, left : left + 8]
            if cell.shape[1:] == (8, 8) and np.isfinite(of_scene.logits[0, i, j]):
                expected = (cell.mean() - 140) / 10
                assert of_scene.logits[0, i, j] == pytest.approx(expected, abs=1e-3)


@given(height=st.integers(8, 400), width=st.integers(8, 400), stride=st.sampled_from([4, 8]))
def test_each_px_is_in_the_cell_around_it(height: int, width: int, stride: int) -> None:
    lattice = Lattice((height, width), 64, stride)
    row, col = cells_of_px(lattice)
    for cell, length, first in ((row, height, lattice.rows[0]), (col, width, lattice.cols[0])):
        middle = (cell + first) * stride + 32
        assert len(cell) == length
        assert (np.abs(np.arange(length) + 0.5 - middle) <= stride / 2).all()
    middle_rows, middle_cols = px_of_cells(lattice)
    assert (len(middle_rows), len(middle_cols)) == lattice.shape_cells
    assert 0 <= middle_rows.min() <= middle_rows.max() < height


class MeanTiles:
    """Stands for a network that scores pixels: the logit of a px is its first band."""

    device, inference_precision, runtime = "cpu", "fp32", "torch"

    def levels(self, read: ReadBlock, shape_hw: tuple[int, int]) -> Any:
        return ("of a scene of", *shape_hw)

    def score(
        self,
        read: ReadBlock,
        shape_hw: tuple[int, int],
        extent: tuple[int, int, int, int],
        levels: Any = None,
    ) -> np.ndarray:
        row0, row1, col0, col1 = extent
        assert levels == ("of a scene of", *shape_hw), "every block knows the whole scene's"
        assert 0 <= row0 < row1 <= shape_hw[0]
        assert 0 <= col0 < col1 <= shape_hw[1]
        pixels, valid = read(row0, col0, row1 - row0, col1 - col0)
        return np.where(valid, pixels[:1].astype(np.float32), np.float32(np.nan))


@pytest.mark.parametrize("block_px", [None, 64, 97])
def test_a_network_that_scores_pixels_gives_a_map_of_them(path: Path, block_px: int | None) -> None:
    with scene_of(path) as scene:
        of_scene = map_scene(PixelScorer(MeanTiles()), scene, 1, block_px=block_px)
        pixels, valid = scene.read(0, 0, *scene.shape_hw)
    assert of_scene.lattice.shape_cells == SHAPE
    expected = np.where(valid, pixels[0], np.nan)
    np.testing.assert_array_equal(of_scene.logits[0], expected)
    np.testing.assert_array_equal(to_px(of_scene.logits, of_scene.lattice), of_scene.logits)


@given(st.integers(1, 999))
def test_windows_of_one_px_are_the_px_of_a_scene(length: int) -> None:
    assert Lattice((length, length), 1, 1).span(length) == (0, length)
