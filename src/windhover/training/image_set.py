"""Training images held whole in memory: patches or large patches with their objects.

A set of patches is one tensor (46,000 of 64 px and three bytes are 565 MB), so there is no loader
to wait for and no worker to seed. Reads no file and changes no pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from windhover.training.object_table import CLASS

# indexing unsigned 16-bit tensors is not offered on every device
_SIGNED = {torch.uint16: torch.int16}


class ImageBatch(NamedTuple):
    """Images as read and their objects, relative to each image's center."""

    pixels: Tensor  # (B, C, S, S), dtype as read
    objects: Tensor  # (B, 5) for patches, (B, M, 5) for large patches; columns of object_table
    levels: Tensor | None = None  # (B, C) of the scenes, where the normalizer takes them

    def to(self, device: str) -> ImageBatch:
        """Return the batch on a device."""
        tensors = (None if part is None else part.to(device) for part in self)
        return ImageBatch(*tensors)  # type: ignore[arg-type]


class ImageSet:
    """Images of one size with their objects, on one device; grows when patches are mined."""

    def __init__(
        self, images: NDArray[Any], objects: NDArray[np.float32], device: str = "cpu"
    ) -> None:
        """Copy the images to a device.

        Args:
            images: (N, S, S, C) as read.
            objects: (N, 5) or (N, M, 5), columns of `object_table`.
            device: where they are held.
        """
        self.device = torch.device(device)
        self.objects = self._objects_to_device(objects)
        self._images = self._images_to_device(images)
        self._dtype = torch.from_numpy(np.zeros(0, images.dtype)).dtype

    def _images_to_device(self, images: NDArray[Any]) -> Tensor:
        # a copy: what is memory-mapped cannot be a tensor
        tensor = torch.from_numpy(np.array(images, order="C"))
        return tensor.view(_SIGNED.get(tensor.dtype, tensor.dtype)).to(self.device)  # (N, S, S, C)

    def _objects_to_device(self, objects: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(objects, np.float32)).to(self.device)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def side_px(self) -> int:
        """Side of the square images."""
        return int(self._images.shape[1])

    def add(self, images: NDArray[Any], objects: NDArray[np.float32]) -> None:
        """Append images (N, S, S, C) of the same size, bands and dtype, and their objects."""
        self._images = torch.cat([self._images, self._images_to_device(images)])
        self.objects = torch.cat([self.objects, self._objects_to_device(objects)])

    def take(self, rows: Tensor) -> ImageBatch:
        """Return the images of `rows` (B,), channels last in memory."""
        rows = rows.to(self.device)
        images = self._images.index_select(0, rows).view(self._dtype)  # (B, S, S, C)
        return ImageBatch(images.permute(0, 3, 1, 2), self.objects.index_select(0, rows))

    def labels(self) -> NDArray[np.int64]:
        """Return the class index of each patch, -1 for background, (N,)."""
        labels = self.objects[..., CLASS].reshape(len(self), -1)[:, 0]
        return labels.cpu().numpy().astype(np.int64)
