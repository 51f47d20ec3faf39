"""Images held whole in memory: they come back as they went in, and more can be added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from windhover.training.image_set import ImageSet


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_come_back_as_they_went_in_and_more_can_be_added(dtype: str) -> None:
    images = np.arange(5 * 4 * 4 * 3).reshape(5, 4, 4, 3).astype(dtype)
    images = images + np.array(100).astype(dtype)
    if dtype == "uint16":
        images = images + np.uint16(40000)
    held = ImageSet(images[:3], np.zeros((3, 5), np.float32))
    held.add(images[3:], np.ones((2, 5), np.float32))
    batch = held.take(torch.tensor([4, 0]))
    pixels = batch.pixels.to(torch.float64).numpy()
    assert np.array_equal(pixels, images[[4, 0]].transpose(0, 3, 1, 2))
    assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
    assert batch.objects[:, 0].tolist() == [1, 0]
