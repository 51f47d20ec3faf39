"""Scoring every window of a picture in memory: in one dense pass where the network is unpadded,
else window by window.

Both ways answer the same question with the same interface: cell (i, j) is what the network says of
the window whose top-left pixel is (stride*i, stride*j). A dense pass is exact because every layer
is "valid": no zero enters that a crop would not see (Long 2015, fully convolutional networks;
Giusti 2013). Refuses files, scores and objects.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.models.fusion import (
    Stretch,
    fold_batch_norms,
    halve_stride,
    hasten_pools,
    trunk_stretches,
)
from windhover.models.normalize import Normalizer
from windhover.models.quantization import Ranges, ToBytes, can_multiply_integers, in_integers

# of the maps of a network; in int8 the heads are fp32
PRECISIONS = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.uint8,
}
CPU_BATCH_PX = 2048 * 4096
GPU_BATCH_PX = 8192 * 8192
CPU_CROPS, GPU_CROPS = (
    64,
    8192,
)  # windows at once where they are cut; on a CPU their maps stay in the cache
# Feature maps of one band of rows, bytes. On a CPU they stay in the cache, and below the 32 MiB
# from which the C
# library asks the system for fresh pages each time: 1.45 times as fast as whole maps on blocks of
# 1608 px. With 8 MiB
# the small network takes 88 ms for 1.2 Mpx, with 16 MiB 125; the base one takes the same with
# either.
CPU_BAND_BYTES = 8 << 20
GPU_BAND_BYTES = 2 << 30


class RawScores(NamedTuple):
    """What the network says of every window of a block; all float32, of one spatial shape (h, w)."""

    logits: NDArray[np.float32]  # (K, h, w)
    offsets_px: NDArray[np.float32]  # (2, h, w): dx, dy from the window's centre to the object's
    log_sizes: NDArray[np.float32]  # (2, h, w): log of width and height in px


class DenseScorer:
    """A network made ready to score blocks: folded, on its device, at its stride and precision."""

    def __init__(
        self,
        network: nn.Module,
        normalizer: nn.Module,
        device: str = "cpu",
        precision: str = "fp32",
        stride_px: int | None = None,
        batch_px: int | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        """Copy the network (the caller's stays as it is), fold its batch norms and move it to the
        device.

        Args:
            network: from `windhover.models.networks.build_network`: has `window_px`,
                `stride_px` and `dense`.
            normalizer: maps (B, C, H, W) pixels as read to the floats the network was trained on.
            device: a torch device's name.
            precision: `fp32`, `fp16`, `bf16`, or `int8` on a CPU. `auto` takes `fp16` on a GPU;
                on a CPU `int8` where network and processor are made for it and pixels are bytes,
                else `fp32`. Outputs are float32.
            stride_px: distance between windows; the network's own by default. A dense network
                also offers half of it.
            batch_px: input px computed at once; bounds memory, never changes a score's meaning.
            ranges: how far the network's numbers go, for `int8`.

        Raises:
            ParameterError: precision, stride or batch is not one that can be had.
            FormatError: the ranges are another network's.
        """
        self.device = torch.device(device)
        if precision == "auto":
            precision = _fastest(self.device, ranges)
        if precision not in PRECISIONS:
            raise ParameterError(
                f"precision must be auto or one of {', '.join(PRECISIONS)}, got {precision!r}. Choose one of them."
            )
        self.precision = precision
        self.window_px = int(network.window_px)  # type: ignore[arg-type]
        self.dense = bool(network.dense)
        own_stride = int(network.stride_px)  # type: ignore[arg-type]
        self.stride_px = own_stride if stride_px is None else stride_px
        usual = GPU_BATCH_PX if self.device.type == "cuda" else CPU_BATCH_PX
        self.batch_px = usual if batch_px is None else batch_px
        if self.batch_px < self.window_px**2:
            raise ParameterError(
                f"batch_px must hold one window of {self.window_px}x{self.window_px} px, "
                f"got {self.batch_px} px. Raise it."
            )
        self._dtype = PRECISIONS[precision]  # of the maps
        network = fold_batch_norms(copy.deepcopy(network).eval())
        self._set_stride(network, own_stride)
        hasten_pools(network, slices=self.device.type == "cpu")
        self._stretches = trunk_stretches(network) if self.dense else []
        most = GPU_CROPS if self.device.type == "cuda" else CPU_CROPS
        self._crops_at_once = max(min(self.batch_px // self.window_px**2, most), 1)
        self._band_bytes = GPU_BAND_BYTES if self.device.type == "cuda" else CPU_BAND_BYTES
        self._normalizer: nn.Module = copy.deepcopy(normalizer).eval().to(self.device)
        if precision == "int8":
            self._take_integers(ranges)
        of_heads = torch.float32 if precision == "int8" else self._dtype
        self._network = network.to(self.device, of_heads, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _set_stride(self, network: nn.Module, own_stride: int) -> None:
        if self.dense and self.stride_px * 2 == own_stride:
            halve_stride(network)
        elif self.dense and self.stride_px != own_stride:
            raise ParameterError(
                f"stride must be {own_stride} or {own_stride // 2} px for this network, "
                f"got {self.stride_px} px. Choose one of them."
            )
        elif not 1 <= self.stride_px <= self.window_px:
            raise ParameterError(
                f"stride must be in 1..window ({self.window_px} px), got {self.stride_px} px. Choose a smaller one."
            )

    def _take_integers(self, ranges: Ranges | None) -> None:
        """Put the trunk in 8-bit integers, which pixels then enter as bytes."""
        if self.device.type != "cpu":
            raise ParameterError(
                f"precision int8 is for a CPU, and the search is on {self.device}. Take fp16."
            )
        if not can_multiply_integers():
            raise ParameterError(
                "precision int8 needs a processor that sums products of bytes (VNNI or AMX) and a torch that uses it, "
                "and one of them does not. Take fp32 or bf16."
            )
        if ranges is None or not isinstance(self._normalizer, Normalizer):
            raise ParameterError(
                "precision int8 needs a model whose card holds `ranges`: one of valid64 or course, trained by this "
                "version on pixels that a byte can tell apart. Train again, or take fp32."
            )
        self._stretches = in_integers(self._stretches, self._normalizer, ranges)
        self._normalizer = ToBytes(ranges)

    @property
    def halo_px(self) -> int:
        """How much of a window reaches beyond its stride: what neighbouring blocks must share."""
        return self.window_px - self.stride_px

    def cells_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows fit down and across a block of `height` x `width` px."""
        return tuple(
            max((side - self.window_px) // self.stride_px + 1, 0) for side in (height, width)
        )  # type: ignore[return-value]

    def score(self, block: NDArray[np.generic]) -> RawScores:
        """Score every window of a block.

        Args:
            block: (C, H, W) pixels as read, of the dtype the network was trained on; H and W at
                least one window.

        Returns:
            (K, h, w), (2, h, w), (2, h, w) with h = (H - window) // stride + 1; bands of rows
            computed one after the other where the block holds more px than `batch_px`.

        Raises:
            ParameterError: the block is smaller than a window.
        """
        rows, columns = self.cells_hw(*block.shape[-2:])
        if rows < 1 or columns < 1:
            raise ParameterError(
                f"a block must hold one window of {self.window_px} px, "
                f"got {block.shape[-2]}x{block.shape[-1]} px. Pad it."
            )
        used = (columns - 1) * self.stride_px + self.window_px
        parts = [
            self._score_rows(block[:, top : top + height, :used])
            for top, height in self._bands(rows, used)
        ]
        if len(parts) == 1:
            return parts[0]
        return RawScores(*(np.concatenate(planes, axis=1) for planes in zip(*parts, strict=True)))

    def _bands(self, rows: int, width: int) -> Iterator[tuple[int, int]]:
        """Yield (top, height) in px of bands of cell rows, each of at most `batch_px` where one row
        allows it.
        """
        per_band = rows
        if self.dense:
            per_band = max((self.batch_px // width - self.window_px) // self.stride_px + 1, 1)
        for first in range(0, rows, per_band):
            count = min(per_band, rows - first)
            yield first * self.stride_px, (count - 1) * self.stride_px + self.window_px

    @torch.inference_mode()
    def _score_rows(self, block: NDArray[np.generic]) -> RawScores:
        pixels = torch.from_numpy(np.ascontiguousarray(block))[None]  # (1, C, H, W)
        outputs = self._forward(pixels) if self.dense else self._by_windows(pixels)
        logits, offsets, sizes = (plane[0].float().cpu().numpy() for plane in outputs)
        return RawScores(logits, offsets, sizes)

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.device.type == "cuda" and self._dtype == torch.float32:
            # TF32 keeps 10 bits of a product; who asks for fp32 wants the scores that a CPU gives
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return self._run(pixels)
        return self._run(pixels)

    def _run(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = pixels.to(self.device, non_blocking=True)  # (B, C, H, W)
        if self._stretches:
            features = pixels
            for number, stretch in enumerate(self._stretches):
                features = self._through(stretch, features, raw=number == 0)
            logits, offsets, sizes = self._network.heads(features)
        else:
            logits, offsets, sizes = self._network(self._ready(pixels))
        return logits, offsets, sizes

    def _ready(self, pixels: Tensor) -> Tensor:
        normalised: Tensor = self._normalizer(pixels).to(self._dtype)  # (B, C, H, W)
        return normalised.contiguous(memory_format=torch.channels_last)

    def _through(self, stretch: Stretch, inputs: Tensor, raw: bool) -> Tensor:
        """Run a stretch band by band: the same sums in the same order, over maps small enough to
        stay in the cache.

        Of several pictures at once, which are cut windows, all rows are one band.
        """
        height, width = inputs.shape[2:]
        rows = (height - stretch.field_px) // stretch.stride_px + 1
        tall = int(self._band_bytes / (self._dtype.itemsize * stretch.numbers_per_px * width))
        per_band = (
            max((tall - stretch.field_px) // stretch.stride_px + 1, 1) if len(inputs) == 1 else rows
        )
        result = None
        for first in range(0, rows, per_band):
            last = min(first + per_band, rows)
            top, bottom = (
                first * stretch.stride_px,
                (last - 1) * stretch.stride_px + stretch.field_px,
            )
            band = inputs[:, :, top:bottom]
            part: Tensor = stretch.layers(
                self._ready(band) if raw else band.contiguous(memory_format=torch.channels_last)
            )
            if per_band >= rows:
                return part
            if result is None:
                shape = (1, part.shape[1], rows, part.shape[3])
                result = torch.empty(
                    shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last
                )
            result[:, :, first:last] = part
        return result  # type: ignore[return-value]  # there is at least one band

    def _by_windows(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score true crops in batches; the answer is laid out as a dense one would be."""
        size, stride = self.window_px, self.stride_px
        views = pixels.unfold(2, size, stride).unfold(3, size, stride)  # (1, C, h, w, size, size)
        height, width = views.shape[2:4]
        parts = []
        for first in range(0, height * width, self._crops_at_once):
            cells = torch.arange(first, min(first + self._crops_at_once, height * width))
            crops = views[0, :, cells // width, cells % width].transpose(0, 1)  # (B, C, size, size)
            parts.append(
                [plane.float().cpu() for plane in self._forward(crops)]
            )  # each (B, K, 1, 1)
        planes = [
            torch.cat(plane).reshape(height, width, -1).permute(2, 0, 1)[None]
            for plane in zip(*parts, strict=True)
        ]
        return planes[0], planes[1], planes[2]  # (1, K, h, w)

    @torch.inference_mode()
    def score_crops(self, crops: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """Score windows that are cut already, in batches.

        Args:
            crops: (N, C, window, window) pixels as read.

        Returns:
            Logits (N, K), offsets dx, dy (N, 2) px and log sizes (N, 2).
        """
        parts = []
        for first in range(0, len(crops), self._crops_at_once):
            batch = torch.from_numpy(
                np.ascontiguousarray(crops[first : first + self._crops_at_once])
            )
            parts.append(
                [plane[:, :, 0, 0].float().cpu().numpy() for plane in self._forward(batch)]
            )
        return tuple(np.concatenate(planes) for planes in zip(*parts, strict=True))


def _fastest(device: torch.device, ranges: Ranges | None) -> str:
    """Return the fastest precision that costs no accuracy worth naming; wider pixels are never cut
    to bytes unasked.
    """
    if device.type == "cuda":
        return "fp16"
    return "int8" if ranges is not None and ranges.of_bytes and can_multiply_integers() else "fp32"
