"""Training targets: cells are labeled by the objects near their centers, patches by their own."""

from __future__ import annotations

import math

import pytest
import torch

from windhover.training.object_table import IGNORED, PAD
from windhover.training.targets import ObjectTensor, cell_targets, patch_targets

UNKNOWN = float("nan")


def test_a_cell_is_positive_by_its_center_and_learns_where_the_object_is() -> None:
    objects = torch.tensor([[[0.0, 44.0, 38.0, 20.0, 10.0], [PAD, 0, 0, 0, 0]]])
    targets = cell_targets(ObjectTensor(objects), (80, 96), 1, positive_px=8, ignore_px=16)
    # centers of the cells: x 32, 40, 48, 56, 64 and y 32, 40, 48
    assert targets.classes.shape == (1, 1, 3, 5)
    assert targets.classes[0, 0].tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert targets.weights[0, 0].tolist() == [[0, 1, 1, 0, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 1]]
    assert targets.offsets_px[0, :, 0, 1].tolist() == [4, 6]
    assert targets.log_sizes[0, :, 1, 2].tolist() == pytest.approx([math.log(20), math.log(10)])


def test_equal_radii_leave_no_ring_and_a_circle_holds_less_than_its_square() -> None:
    objects = torch.tensor([[[0.0, 64.0, 64.0, 20.0, 20.0]]])
    square = cell_targets(ObjectTensor(objects), (128, 128), 1, positive_px=16, ignore_px=16)
    assert int(square.classes.sum()) == 25  # centers 48, 56, 64, 72, 80 both ways
    circle = cell_targets(
        ObjectTensor(objects), (128, 128), 1, positive_px=16, ignore_px=16, circle=True
    )
    assert int(circle.classes.sum()) == 13


def test_an_ignored_area_takes_out_background_and_no_object() -> None:
    ignored = torch.tensor([[[IGNORED, 64.0, 64.0, 60.0, 60.0], [0.0, 64.0, 64.0, 20.0, 20.0]]])
    targets = cell_targets(ObjectTensor(ignored), (128, 128), 1, positive_px=4, ignore_px=4)
    assert int(targets.classes.sum()) == 1
    assert int((targets.weights == 0).sum()) == 7 * 7 - 1


def test_classes_do_not_mix_and_the_nearest_object_gives_the_offset() -> None:
    objects = torch.tensor([[[0.0, 30.0, 32.0, 8.0, 8.0], [1.0, 33.0, 32.0, 8.0, 8.0]]])
    targets = cell_targets(ObjectTensor(objects), (64, 64), 3, positive_px=8, ignore_px=16)
    assert targets.classes[0, :, 0, 0].tolist() == [1, 1, 0]
    assert targets.offsets_px[0, :, 0, 0].tolist() == [1, 0]


def test_patches_are_images_of_one_cell() -> None:
    objects = torch.tensor(
        [
            [1.0, 3.0, -2.0, 20.0, 10.0],
            [PAD, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN],
            [0.0, 1, 1, UNKNOWN, 5],
        ]
    )
    targets = patch_targets(ObjectTensor(objects), 2)
    assert targets.classes[:, :, 0, 0].tolist() == [[0, 1], [0, 0], [1, 0]]
    assert targets.has_offset.flatten().tolist() == [1, 0, 1]
    assert targets.has_size.flatten().tolist() == [1, 0, 0]
    assert all(bool(plane.isfinite().all()) for plane in targets)
