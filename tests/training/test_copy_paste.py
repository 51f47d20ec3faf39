"""Copy-paste: copies are where the table has them, look as the original, and the rest stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from windhover.patches.patch_sheets import large_patch_sheet
from windhover.rendering.contact_sheet import POSITIVE
from windhover.training import copy_paste
from windhover.training.copy_paste import ObjectCutout, cut_out_objects, paste_objects
from windhover.training.object_table import PAD, objects_of_table, table_of_objects

SIDE = 128
SEEDS = range(12)


def large_patch(
    ground: float = 60.0, lit: float = 120.0, dtype: Any = np.uint8, bands: int = 3
) -> tuple[Any, Any]:
    """Return plain ground with two far objects, each a lit cross of 17 x 13 px, and their table."""
    image = np.full((SIDE, SIDE, bands), ground, dtype)
    table = []
    for col, row in ((40, 44), (90, 80)):
        image[row, col - 8 : col + 9] = lit
        image[row - 6 : row + 7, col] = lit
        table.append([0, col + 0.5 - SIDE / 2, row + 0.5 - SIDE / 2, 17, 13])
    return image, np.array(table, np.float32)


def boxes_of(table: Any) -> Any:
    center = table[:, 1:3] + SIDE / 2
    return np.concatenate([center - table[:, 3:5] / 2, center + table[:, 3:5] / 2], axis=1)


def cutouts_of(image: Any, table: Any, valid: Any = None) -> list[ObjectCutout]:
    """Cut the objects out of a large patch as if it were a scene."""
    seen = np.ones(image.shape[:2], bool) if valid is None else valid

    def read(row: int, col: int, height: int, width: int) -> tuple[Any, Any]:
        part = slice(row, row + height), slice(col, col + width)
        return image[part].transpose(2, 0, 1), seen[part]

    objects = objects_of_table(table).shifted(SIDE / 2, SIDE / 2)
    return cut_out_objects(read, image.shape[:2], objects)


def pasted(
    seed: int, image: Any, table: Any, source: Any = None, valid: Any = None
) -> tuple[Any, Any]:
    """Paste into a large patch, and return its pixels and the table of its objects."""
    if valid is None:
        valid = np.ones((SIDE, SIDE), bool)
    pixels, objects = paste_objects(
        image,
        valid,
        objects_of_table(table),
        cutouts=cutouts_of(*(source or (image, table))),
        random=np.random.default_rng(seed),
    )
    return pixels, table_of_objects(objects)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_is_where_the_table_says(seed: int) -> None:
    image, table = large_patch()
    found, objects = pasted(seed, image, table)
    assert len(objects) > len(table), "plain ground has room"
    assert np.array_equal(objects[: len(table)], table)
    for left, top, right, bottom in boxes_of(objects[len(table) :]):
        rows, cols = slice(round(top), round(bottom)), slice(round(left), round(right))
        lit = np.argwhere(found[rows, cols, 0] > 75)
        middle = lit.mean(0) + 0.5 + [rows.start, cols.start]
        assert middle == pytest.approx([(top + bottom) / 2, (left + right) / 2], abs=1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_stand_close_and_apart_and_inside(seed: int) -> None:
    _, objects = pasted(seed, *large_patch())
    boxes = boxes_of(objects)
    assert boxes.min() >= 0
    assert boxes.max() <= SIDE
    for number in range(2, len(objects)):
        others = np.delete(np.arange(len(objects)), number)
        gaps = (
            np.abs(objects[number, 1:3] - objects[others, 1:3])
            - (objects[number, 3:5] + objects[others, 3:5]) / 2
        )
        assert (gaps.max(1) > -2.5).all(), "boxes may touch, not lie on each other"
        assert gaps.max(1).min() < 7, "a copy stands beside something"


def test_on_even_ground_nothing_but_the_copies_changes() -> None:
    image, table = large_patch()
    kept = image.copy()
    found, objects = pasted(5, image, table)
    assert np.array_equal(image, kept), "the image given is left as it is"
    outside = np.ones((SIDE, SIDE), bool)
    for left, top, right, bottom in boxes_of(objects[len(table) :]):
        outside[int(top) - 1 : int(bottom) + 2, int(left) - 1 : int(right) + 2] = False
    assert np.array_equal(found[outside], image[outside])


def test_a_copy_takes_on_the_light_of_its_new_ground() -> None:
    bright, table = large_patch(ground=60, lit=120)
    dark, _ = large_patch(ground=20, lit=20)
    found, objects = pasted(3, dark, table, (bright, table))
    left, top, right, bottom = boxes_of(objects[-1:])[0].round().astype(int)
    rim = np.concatenate([found[top - 1, left:right, 0], found[bottom, left:right, 0]])
    assert rim == pytest.approx(20, abs=2), "no seam"
    assert 65 <= found[top:bottom, left:right, 0].max() <= 85, (
        "as far above its ground as the original"
    )


@pytest.mark.parametrize(
    ("dtype", "bands"), [(np.uint8, 1), (np.uint16, 4), (np.float32, 6), (np.int16, 3)]
)
def test_any_pixel_type_and_number_of_bands(dtype: Any, bands: int) -> None:
    image, table = large_patch(dtype=dtype, bands=bands)
    found, objects = pasted(1, image, table)
    assert found.dtype == image.dtype
    assert found.shape == image.shape
    assert len(objects) > len(table)
    again, same = pasted(1, image, table)
    assert np.array_equal(found, again)
    assert np.array_equal(objects, same)


def test_copies_of_one_image_are_shrunk_alike_and_never_grown() -> None:
    shares = set()
    for seed in SEEDS:
        objects = pasted(seed, *large_patch())[1]
        share = objects[2:, 3] / 17
        assert np.ptp(share) < 1e-6
        assert 0.45 <= share[0] <= 1.0
        shares.add(round(float(share[0]), 2))
    assert len(shares) > 3


def test_what_does_not_stand_alone_and_whole_is_not_copied() -> None:
    image, table = large_patch()
    beside = np.array([[0, table[0, 1] + 12, table[0, 2], 17, 13]], np.float32)
    cut_off = np.array([[0, 62, 0, 17, 13]], np.float32)
    everything = np.concatenate([table, beside, cut_off])
    (cutout,) = cutouts_of(image, everything)
    assert table_of_objects(cutout.object)[0].tolist() == [
        0,
        *(np.array(cutout.pixels.shape[1::-1]) / 2),
        17,
        13,
    ]
    invalid = np.ones((SIDE, SIDE), bool)
    invalid[80, 85] = False
    assert cutouts_of(image, everything, invalid) == []


def test_the_sheet_shows_those_with_most_objects_first_and_their_boxes() -> None:
    image, table = large_patch()
    empty = np.full((5, 5), PAD, np.float32)
    full = np.concatenate([table, table[:1] + np.array([0, 20, 0, 0, 0], np.float32), empty[:2]])
    unsized = np.concatenate([table[:1], empty[:4]])
    unsized[0, 3:] = np.nan
    sheet = large_patch_sheet(
        np.stack([image] * 3), np.stack([empty, unsized, full]), rows=1, columns=3
    )
    pixels = np.asarray(sheet).astype(int)
    boxed = [
        (np.abs(part - POSITIVE).sum(2) == 0)[20:].sum()
        for part in np.array_split(pixels, 3, axis=1)
    ]
    assert boxed[0] > 150
    assert boxed[1] < 100, "an object of unknown size has no box"
    assert boxed[2] == 0


def test_where_a_size_is_unknown_nothing_is_copied() -> None:
    image, table = large_patch()
    source = large_patch()
    table[1, 3:5] = np.nan
    assert len(cutouts_of(image, table)) == 1, "the other one stands alone as far as is known"
    found, objects = pasted(0, image, table, source)
    assert np.array_equal(found, image)
    assert len(objects) == len(table)


def test_a_copy_does_not_bury_a_smaller_object() -> None:
    image, table = large_patch()
    small = np.array(
        [[0, x, y, 5, 5] for x, y in ((-40, 0), (0, -10), (10, 30), (45, -40))], np.float32
    )
    everything = np.concatenate([table, small])
    for seed in range(40):
        objects = pasted(seed, image, everything, (image, table))[1]
        boxes = boxes_of(objects)
        for box in boxes[len(everything) :]:
            others = boxes[2 : len(everything)]
            common = np.maximum(
                np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0
            ).prod(1)
            assert (common <= 0.08 * 25 + 1e-3).all()


def test_a_bright_neighbor_does_not_light_a_copy() -> None:
    image, table = large_patch()
    for left, top, right, bottom in boxes_of(table).round().astype(int):
        image[top:bottom, left:right] = 160
    for seed in SEEDS:
        found, objects = pasted(seed, image, table)
        for left, top, right, bottom in boxes_of(objects[2:]).round().astype(int):
            assert found[top + 2 : bottom - 2, left + 2 : right - 2].max() <= 172


def test_no_copy_lies_where_there_is_no_data() -> None:
    image, table = large_patch()
    valid = np.ones((SIDE, SIDE), bool)
    valid[:, 100:] = False
    image[:, 100:] = 0
    for seed in SEEDS:
        found, objects = pasted(seed, image, table, valid=valid)
        assert (boxes_of(objects[2:])[:, 2] <= 100.5).all()
        assert not found[:, 100:].any()


def test_copies_keep_their_class() -> None:
    image, table = large_patch()
    table[1, 0] = 2
    image[boxes_of(table)[1, 1].astype(int) : boxes_of(table)[1, 3].astype(int), 82:99] = 200
    seen = set()
    for seed in range(30):
        found, objects = pasted(seed, image, table)
        for row, (left, top, right, bottom) in zip(
            objects[2:], boxes_of(objects[2:]).round().astype(int), strict=True
        ):
            bright = (found[top:bottom, left:right, 0] > 150).mean()
            assert (bright > 0.5) == (row[0] == 2)
            seen.add(float(row[0]))
    assert seen == {0.0, 2.0}


def test_ground_is_copied_too_and_only_from_where_the_table_tells_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, table = large_patch()
    source = large_patch()
    image[:32], image[-32:], image[:, :32], image[:, -32:] = (
        250,
        250,
        250,
        250,
    )  # there an object may stand unnamed
    blended: list[Any] = []
    blend = copy_paste.blend

    def watched(picture: Any, part: Any, *where: Any) -> None:
        blended.append(part)
        blend(picture, part, *where)

    monkeypatch.setattr(copy_paste, "blend", watched)
    copies = sum(len(pasted(seed, image, table, source)[1]) - len(table) for seed in range(40))
    assert copies < len(blended) <= 2 * copies
    assert len(blended) > 1.3 * copies, "most copies of objects have one of ground beside them"
    assert max(part.max() for part in blended) < 240, "of the rim itself nothing is copied"
