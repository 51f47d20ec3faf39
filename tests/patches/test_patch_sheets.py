"""Contact sheets of patches: a row for each split and kind, boxes, nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from windhover.patches.patch_sheets import large_patch_sheet, patch_cell, patch_sheet
from windhover.rendering.contact_sheet import POSITIVE

SIDE_PX = 64


def index_of(kinds: list[str]) -> pd.DataFrame:
    is_positive = np.array(kinds) == "positive"
    return pd.DataFrame(
        {
            "kind": kinds,
            "class": np.where(is_positive, "aircraft", ""),
            **{name: np.where(is_positive, 4.0, np.nan) for name in ("dx_px", "dy_px")},
            **{name: np.where(is_positive, 20.0, np.nan) for name in ("w_px", "h_px")},
        }
    )


def gray_patches(count: int) -> np.ndarray:
    return np.full((count, SIDE_PX, SIDE_PX, 3), 90, np.uint8)


def n_of_color(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == color).all(-1).sum())


def test_a_split_has_a_row_of_objects_and_one_of_background() -> None:
    index = index_of(["positive"] * 3 + ["easy"] * 20)
    one_split = patch_sheet([("train", gray_patches(23), index)])
    two_splits = patch_sheet([("train", gray_patches(23), index), ("val", gray_patches(23), index)])
    assert one_split is not None
    assert two_splits is not None
    assert one_split.width == two_splits.width
    assert two_splits.height > 1.8 * one_split.height
    pixels = np.asarray(one_split)
    assert n_of_color(pixels, POSITIVE) > 3 * 4 * 20  # three boxes, doubled


def test_no_patches_give_no_sheet() -> None:
    assert patch_sheet([("train", gray_patches(0), index_of([]))]) is None


def test_a_patch_of_background_has_no_box() -> None:
    index = index_of(["positive", "easy"])
    positive, background = (
        patch_cell(gray_patches(1)[0], index.iloc[row], "train") for row in (0, 1)
    )
    assert list(positive.boxes) == [(4.0, 4.0, 20.0, 20.0)]
    assert list(background.boxes) == []
    assert (positive.label, background.label) == ("aircraft", "")


def test_large_patches_with_most_objects_come_first() -> None:
    objects = np.full((6, 3, 5), np.nan, np.float32)
    objects[..., 0] = -1
    objects[4] = [[0, 0, 0, 20, 20], [0, 30, 30, 20, 20], [0, -30, 30, 20, 20]]
    images = np.full((6, 128, 128, 3), 90, np.uint8)
    sheet = np.asarray(large_patch_sheet(images, objects, rows=1, columns=2))
    first, second = np.array_split(sheet, 2, axis=1)
    assert n_of_color(first, POSITIVE) > 100
    assert n_of_color(second, POSITIVE) == 0
