"""Borders drawn through training images: what is beyond them is padded and counts for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from windhover.training.object_table import CLASS, IGNORED, PAD
from windhover.training.random_borders import (
    LARGEST_HIDDEN_SHARE,
    OUTSIDE_PX,
    Borders,
    draw_borders,
    drop_hidden_objects,
    ignore_windows_beyond,
    pad_beyond,
)
from windhover.training.targets import ObjectTensor, cell_targets

VALUE = (7.0, 8.0, 9.0)
INF = float("inf")


def borders(low_x: float = -INF, low_y: float = -INF, high_x: float = INF, high_y: float = INF):
    return Borders(torch.tensor([[low_x, low_y]]), torch.tensor([[high_x, high_y]]))


@pytest.mark.parametrize("side_px", [64, 128, 200])
def test_a_window_is_left_in_every_image_and_every_border_is_drawn(side_px: int) -> None:
    drawn = draw_borders(4000, side_px, 0.5, torch.Generator(), device=torch.device("cpu"))
    farthest = side_px / 2 - 32 + OUTSIDE_PX
    low = drawn.low_xy[drawn.low_xy.isfinite()]
    high = drawn.high_xy[drawn.high_xy.isfinite()]
    assert (float(low.min()), float(low.max())) == (1 - side_px / 2, farthest)
    assert (float(high.min()), float(high.max())) == (-farthest, side_px / 2 - 1)
    assert len(low) == pytest.approx(2000, rel=0.1)
    assert len(high) == pytest.approx(2000, rel=0.1)
    assert not (drawn.low_xy.isfinite() & drawn.high_xy.isfinite()).any()


@pytest.mark.parametrize(("prob", "count"), [(0.0, 0), (1.0, 600)])
def test_the_probability_is_that_of_an_axis(prob: float, count: int) -> None:
    drawn = draw_borders(300, 64, prob, torch.Generator(), device=torch.device("cpu"))
    finite = drawn.low_xy.isfinite() | drawn.high_xy.isfinite()
    assert int(finite.sum()) == count


@given(
    low=st.tuples(st.integers(-31, 4), st.integers(-31, 4)),
    is_low=st.tuples(st.booleans(), st.booleans()),
)
def test_what_is_beyond_a_border_is_padded_and_nothing_else(
    low: tuple[int, int], is_low: tuple[bool, bool]
) -> None:
    image = np.random.default_rng(0).integers(20, 255, (3, 64, 64), dtype=np.uint8)
    expected = image.copy()
    ends = {}
    for axis, name in ((0, "x"), (1, "y")):
        along = np.moveaxis(expected, 2 - axis, 1)
        if is_low[axis]:
            ends[f"low_{name}"] = float(low[axis])
            along[:, : low[axis] + 32] = np.array(VALUE)[:, None, None]
        else:
            ends[f"high_{name}"] = float(-low[axis])
            along[:, 32 - low[axis] :] = np.array(VALUE)[:, None, None]
    padded = pad_beyond(torch.from_numpy(image)[None], borders(**ends), VALUE)
    assert np.array_equal(padded[0].numpy(), expected)


@pytest.mark.parametrize("outside_px", [-3.0, 0.0, 4.9, 5.1])
@pytest.mark.parametrize("side", ["low_x", "low_y", "high_x", "high_y"])
def test_an_object_stays_while_a_quarter_is_left_beyond_its_center(
    side: str, outside_px: float
) -> None:
    size = 20.0
    sign = -1 if side.startswith("low") else 1
    center = [0.0, 0.0]
    center["xy".index(side[-1])] = sign * (10 + outside_px)
    objects = torch.tensor([[[0.0, *center, size, size], [IGNORED, *center, size, size]]])
    kept = drop_hidden_objects(objects, borders(**{side: 10.0 * sign}))
    is_shown = outside_px <= LARGEST_HIDDEN_SHARE * size
    assert kept[0, 0, CLASS] == (0.0 if is_shown else PAD)
    assert kept[0, 1, CLASS] == IGNORED
    assert torch.equal(kept[..., 1:], objects[..., 1:])


def test_an_object_of_unknown_size_stays_only_inside() -> None:
    objects = torch.tensor([[0.0, 1.0, 0.0, torch.nan, torch.nan]])
    assert drop_hidden_objects(objects, borders(low_x=0.0))[0, CLASS] == 0
    assert drop_hidden_objects(objects, borders(low_x=2.0))[0, CLASS] == PAD


def test_windows_that_no_search_has_count_for_nothing() -> None:
    objects = ObjectTensor(torch.tensor([[[0.0, 40.0, 64.0, 20.0, 20.0]]]))
    targets = cell_targets(objects, (128, 128), 1, positive_px=8.0, ignore_px=15.0)
    assert targets.classes[0, 0, :, 0].max() == 1  # windows centered at x 32, 8 px from the object
    seen = ignore_windows_beyond(targets, borders(low_x=-26.0), stride_px=8)  # x 38 of the image
    x = 32 + 8 * torch.arange(9)
    is_searched = (x >= 38 - OUTSIDE_PX).float()
    for name in ("classes", "weights", "has_offset", "has_size"):
        expected = getattr(targets, name) * is_searched
        assert torch.equal(getattr(seen, name), expected)
    assert seen.weights[0, 0, :, 0].max() == 0
    assert seen.classes.max() == 1
    assert torch.equal(seen.offsets_px, targets.offsets_px)
