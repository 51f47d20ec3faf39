"""Pixel-fine logits of a scene by a padded network, from tiles that overlap and are blended.

Tiles are on one lattice of the scene, counted from its px 0, for any block: so no block changes a
logit. Near its edge a tile knows less than its neighbour, so its weight falls to 0
there, by a squared sine that adds up to 1 with the neighbour's. Beyond the scene's borders tiles
show its mirror image, and where there is no data the mean of the training pixels, as in training.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.geometry.arrays import Ints
from windhover.geometry.lattice import ReadBlock, read_mirrored
from windhover.inference.scene_levels import scene_levels
from windhover.models.input_normalization import SceneLogNormalizer
from windhover.models.segmentation import tile_overlap

CPU_BATCH_PX = 2**18
GPU_BATCH_PX = 2**22
PRECISION_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class BlendedTiles:
    """A segmentation network ready to score any part of a scene.

    Attributes:
        tile_px: side of the tiles.
        overlap_px: that neighbouring tiles share.
        device: name of the device, such as `cpu`.
        inference_precision: `fp32`, `fp16` or `bf16`.
        runtime: `torch`.
    """

    runtime = "torch"

    def __init__(
        self,
        network: nn.Module,
        normalizer: nn.Module,
        *,
        device: str = "cpu",
        inference_precision: str = "fp32",
        tile_px: int | None = None,
        overlap_px: int | None = None,
        batch_px: int | None = None,
    ) -> None:
        """Copy the network to its device.

        Args:
            network: from `build_network("unet", ...)`; it is not changed.
            normalizer: maps (B, C, H, W) pixels as read to the floats the network was trained on.
            device: a torch device's name.
            inference_precision: `fp32`, `fp16`, `bf16`, or `auto`: fp16 on a GPU, else fp32.
            tile_px: side of the tiles; the network's own by default.
            overlap_px: that neighbouring tiles share, at most half of a tile; None for the usual.
            batch_px: px computed at once; bounds memory and changes no logit's meaning.

        Raises:
            ParameterError: a tile, an overlap or a precision that is not possible.
        """
        self._device = torch.device(device)
        self.device = str(self._device)
        self.tile_px = int(network.window_px) if tile_px is None else tile_px  # type: ignore[arg-type]
        self.overlap_px = tile_overlap(self.tile_px) if overlap_px is None else overlap_px
        self._check_sizes(int(network.step_px))  # type: ignore[arg-type]
        is_gpu = self._device.type == "cuda"
        if inference_precision == "auto":
            inference_precision = "fp16" if is_gpu else "fp32"
        if inference_precision not in PRECISION_DTYPES:
            raise ParameterError(
                f"inference_precision must be {', '.join(PRECISION_DTYPES)} for a U-Net, got "
                f"{inference_precision!r}. Choose one of them."
            )
        self.inference_precision = inference_precision
        batch_px = batch_px or (GPU_BATCH_PX if is_gpu else CPU_BATCH_PX)
        self._tiles_at_once = max(batch_px // self.tile_px**2, 1)
        self._network = (
            copy.deepcopy(network)
            .eval()
            .to(
                self._device,
                memory_format=torch.channels_last,  # type: ignore[call-overload]
            )
        )
        self._normalizer: nn.Module = copy.deepcopy(normalizer).eval().to(self._device)
        self._weights = _tile_weights(self.tile_px, self.overlap_px)

    def _check_sizes(self, step_px: int) -> None:
        """Raise if tiles of this size cannot be scored or blended."""
        if self.tile_px % step_px or self.tile_px < 2 * step_px:
            raise ParameterError(
                f"tile_px must be a multiple of {step_px} px for this network, {2 * step_px} or "
                f"more, got {self.tile_px}. Choose another."
            )
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise ParameterError(
                f"overlap_px must be in 0..{self.tile_px // 2}, half of a tile, got "
                f"{self.overlap_px}. Choose another."
            )

    @torch.inference_mode()
    def levels(self, read: ReadBlock, shape_hw: tuple[int, int]) -> Tensor | None:
        """Return what the network must know of a whole scene; None for nothing.

        Args:
            read: (row, col, height, width) -> pixels (C, h, w) as read and valid (h, w).
            shape_hw: rows and columns of the scene, px.
        """
        if not isinstance(self._normalizer, SceneLogNormalizer):
            return None
        return scene_levels(read, shape_hw, self._normalizer)

    @torch.inference_mode()
    def score(
        self,
        read: ReadBlock,
        shape_hw: tuple[int, int],
        extent: tuple[int, int, int, int],
        levels: Tensor | None = None,
    ) -> NDArray[np.float32]:
        """Return the logits of a block of a scene.

        Args:
            read: (row, col, height, width) -> pixels (C, h, w) as read and valid (h, w).
            shape_hw: rows and columns of the scene, px.
            extent: row0, row1, col0, col1 of the block.
            levels: of the scene, from `levels`.

        Returns:
            (K, rows, cols); NaN where there is no data.
        """
        row0, row1, col0, col1 = extent
        tops = self._tile_starts(row0, row1)
        lefts = self._tile_starts(col0, col1)
        around = (
            int(tops[0]), int(tops[-1]) + self.tile_px,
            int(lefts[0]), int(lefts[-1]) + self.tile_px,
        )  # fmt: skip
        pixels, valid = read_mirrored(read, shape_hw, around)
        places = [(int(top) - around[0], int(left) - around[2]) for top in tops for left in lefts]
        total: NDArray[np.float32] | None = None
        for first in range(0, len(places), self._tiles_at_once):
            part = places[first : first + self._tiles_at_once]
            logits = self._score_tiles(pixels, valid, part, levels=levels)
            if total is None:
                total = np.zeros((logits.shape[1], *valid.shape), np.float32)
            for (row, col), tile in zip(part, logits, strict=True):
                total[:, row : row + self.tile_px, col : col + self.tile_px] += tile
        assert total is not None  # a block holds a tile
        inner = (
            slice(row0 - around[0], row1 - around[0]),
            slice(col0 - around[2], col1 - around[2]),
        )
        return np.where(valid[inner], total[:, *inner], np.float32(np.nan))

    def _tile_starts(self, start: int, stop: int) -> Ints:
        """Return the first px of each tile that has weight in [start, stop), along one axis."""
        step = self.tile_px - self.overlap_px
        # tile k has px [k step - overlap, k step - overlap + tile)
        first = math.floor(start / step)
        last = math.floor((stop - 1 + self.overlap_px) / step)
        return np.arange(first, last + 1) * step - self.overlap_px

    def _score_tiles(
        self,
        pixels: NDArray[np.generic],
        valid: NDArray[np.bool_],
        places: list[tuple[int, int]],
        *,
        levels: Tensor | None,
    ) -> NDArray[np.float32]:
        """Return the weighted logits of tiles at (row, col), (N, K, tile, tile)."""
        side = self.tile_px
        shown = [(slice(row, row + side), slice(col, col + side)) for row, col in places]
        tiles = torch.from_numpy(np.stack([pixels[:, *place] for place in shown]))
        known = torch.from_numpy(np.stack([valid[place] for place in shown]))
        inputs: Tensor = self._normalizer(tiles.to(self._device), levels)
        inputs = inputs * known.to(self._device)[:, None]  # the mean where there is no data
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        half = PRECISION_DTYPES[self.inference_precision]
        with torch.autocast(self._device.type, half, enabled=half is not None):
            logits = self._network(inputs)
        return np.asarray(logits.float().cpu().numpy() * self._weights, np.float32)


def _tile_weights(tile_px: int, overlap_px: int) -> NDArray[np.float32]:
    """Return the weight of each px of a tile, (tile, tile); those of all tiles add up to 1."""
    line = np.ones(tile_px)
    if overlap_px:
        ramp = np.sin((np.arange(overlap_px) + 0.5) / overlap_px * np.pi / 2) ** 2
        line[:overlap_px] = ramp
        line[tile_px - overlap_px :] = ramp[::-1]
    return np.outer(line, line).astype(np.float32)
