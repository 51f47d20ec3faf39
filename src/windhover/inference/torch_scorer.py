"""The scorer of torch: every window of a block, in one dense pass or window by window.

Both ways return the same maps: cell (i, j) is the output for the window whose top-left pixel is
(stride*i, stride*j). A dense pass is exact because every layer is "valid": no zero enters that a
window cut out would not have (Long 2015, fully convolutional networks; Giusti 2013). Knows neither
files nor scenes nor objects.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.inference.scorer import RawScores, WindowScores, score_in_bands
from windhover.models.layer_fusion import (
    TrunkSegment,
    fold_batch_norms,
    halve_stride,
    trunk_segments,
)

if TYPE_CHECKING:
    from windhover.models.bundle import Bundle

# logits (B, K, h, w), offsets (B, 2, h, w), log sizes (B, 2, h, w)
OutputMaps: TypeAlias = tuple[Tensor, Tensor, Tensor]

# number type of a network's maps
PRECISION_DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
CPU_BATCH_PX = 2048 * 4096
GPU_BATCH_PX = 8192 * 8192
# windows at once where they are cut out; on a CPU their maps stay in the cache
CPU_WINDOWS_AT_ONCE = 64
GPU_WINDOWS_AT_ONCE = 8192
# Feature maps of one band of rows, bytes. On a CPU they stay in the cache, and below the 32 MiB
# from which the C library asks the system for fresh pages each time: 1.45 times as fast as whole
# maps on blocks of 1608 px. With 8 MiB the small network takes 88 ms for 1.2 Mpx, with 16 MiB 125;
# the base one takes the same with either.
CPU_BAND_BYTES = 8 << 20
GPU_BAND_BYTES = 2 << 30


class TorchScorer:
    """A network ready to score blocks: folded, on its device, at its stride and precision.

    Attributes:
        window_px: side of a window.
        stride_px: distance between neighbouring windows.
        dense: whether all windows of a block are scored in one pass.
        device: name of the device, such as `cpu`.
        inference_precision: `fp32`, `fp16` or `bf16`.
        batch_px: input px computed at once.
        padding_value: what each band holds beyond a scene's border; None where it is mirrored.
    """

    runtime = "torch"

    def __init__(
        self,
        network: nn.Module,
        normalizer: nn.Module,
        *,
        device: str = "cpu",
        inference_precision: str = "fp32",
        stride_px: int | None = None,
        batch_px: int | None = None,
        padding_value: tuple[float, ...] | None = None,
    ) -> None:
        """Copy the network, fold its batch norms and move it to the device.

        Args:
            network: from `windhover.models.networks.build_network`: has `window_px`, `stride_px`
                and `dense`. It is not changed.
            normalizer: maps (B, C, H, W) pixels as read to the floats the network was trained on.
            device: a torch device's name.
            inference_precision: `fp32`, `fp16` or `bf16`. `auto` takes `fp16` on a GPU and `fp32`
                on a CPU. Outputs are float32.
            stride_px: distance between windows; the network's own by default. A dense network also
                offers half of it.
            batch_px: input px computed at once; bounds memory, never changes a score's meaning.
            padding_value: of each band beyond a scene's border, as in training; None mirrors it.

        Raises:
            ParameterError: precision, stride or batch is not available.
        """
        self._device = torch.device(device)
        self.device = str(self._device)
        self.inference_precision = _resolve_precision(inference_precision, self._device)
        self.padding_value = padding_value
        self.window_px = int(network.window_px)  # type: ignore[arg-type]
        self.dense = bool(network.dense)
        network_stride_px = int(network.stride_px)  # type: ignore[arg-type]
        self.stride_px = network_stride_px if stride_px is None else stride_px
        self._set_limits(batch_px)
        self._dtype = PRECISION_DTYPES[self.inference_precision]
        network = fold_batch_norms(copy.deepcopy(network).eval())
        self._set_stride(network, network_stride_px)
        self._segments: list[TrunkSegment] = []
        if self.dense:
            self._segments = trunk_segments(network)
        self._normalizer: nn.Module = copy.deepcopy(normalizer).eval().to(self._device)
        self._network = network.to(self._device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _set_limits(self, batch_px: int | None) -> None:
        """Set how much is computed at once on the device."""
        is_gpu = self._device.type == "cuda"
        if batch_px is None:
            batch_px = GPU_BATCH_PX if is_gpu else CPU_BATCH_PX
        if batch_px < self.window_px**2:
            raise ParameterError(
                f"batch_px must hold one window of {self.window_px}x{self.window_px} px, "
                f"got {batch_px} px. Raise it."
            )
        self.batch_px = batch_px
        max_windows = GPU_WINDOWS_AT_ONCE if is_gpu else CPU_WINDOWS_AT_ONCE
        self._windows_at_once = max(min(batch_px // self.window_px**2, max_windows), 1)
        self._band_bytes = GPU_BAND_BYTES if is_gpu else CPU_BAND_BYTES

    def _set_stride(self, network: nn.Module, network_stride_px: int) -> None:
        """Halve the network's stride, in place, where half of it is asked for."""
        if self.dense and self.stride_px * 2 == network_stride_px:
            halve_stride(network)
        elif self.dense and self.stride_px != network_stride_px:
            raise ParameterError(
                f"stride must be {network_stride_px} or {network_stride_px // 2} px for this "
                f"network, got {self.stride_px} px. Choose one of them."
            )
        elif not 1 <= self.stride_px <= self.window_px:
            raise ParameterError(
                f"stride must be in 1..window ({self.window_px} px), got {self.stride_px} px. "
                "Choose a smaller one."
            )

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
        batch_px = None
        if self.dense:
            batch_px = self.batch_px
        return score_in_bands(
            block,
            self._score_band,
            window_px=self.window_px,
            stride_px=self.stride_px,
            batch_px=batch_px,
        )

    @torch.inference_mode()
    def _score_band(self, band: NDArray[np.generic]) -> RawScores:
        """Return the scores of a band of rows (C, H, W)."""
        pixels = torch.from_numpy(np.ascontiguousarray(band))[None]  # (1, C, H, W)
        if self.dense:
            outputs = self._forward(pixels)
        else:
            outputs = self._forward_by_windows(pixels)
        return RawScores(*(plane[0].float().cpu().numpy() for plane in outputs))

    def _forward(self, pixels: Tensor) -> OutputMaps:
        """Return the network's outputs for pixels (B, C, H, W) as read."""
        if self._device.type == "cuda" and self._dtype == torch.float32:
            # TF32 keeps 10 bits of a product; fp32 must give the scores that a CPU gives
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                return self._run_network(pixels)
        return self._run_network(pixels)

    def _run_network(self, pixels: Tensor) -> OutputMaps:
        pixels = pixels.to(self._device, non_blocking=True)  # (B, C, H, W)
        if not self._segments:
            logits, offsets_px, log_sizes = self._network(self._normalize(pixels))
            return logits, offsets_px, log_sizes
        features = self._run_segment(self._segments[0], pixels, normalize=True)
        for segment in self._segments[1:]:
            features = self._run_segment(segment, features, normalize=False)
        logits, offsets_px, log_sizes = self._network.heads(features)
        return logits, offsets_px, log_sizes

    def _normalize(self, pixels: Tensor) -> Tensor:
        normalized: Tensor = self._normalizer(pixels).to(self._dtype)  # (B, C, H, W)
        return normalized.contiguous(memory_format=torch.channels_last)

    def _run_segment(self, segment: TrunkSegment, inputs: Tensor, *, normalize: bool) -> Tensor:
        """Run a segment band by band: same sums in the same order, maps that stay in the cache."""
        height, width = inputs.shape[2:]
        rows = (height - segment.receptive_field_px) // segment.stride_px + 1
        rows_per_band = rows
        if len(inputs) == 1:  # several pictures are cut windows, whose rows are one band
            rows_per_band = self._rows_per_band(segment, width)
        outputs = None
        for first in range(0, rows, rows_per_band):
            last = min(first + rows_per_band, rows)
            top = first * segment.stride_px
            bottom = (last - 1) * segment.stride_px + segment.receptive_field_px
            band = inputs[:, :, top:bottom]
            if normalize:
                band = self._normalize(band)
            else:
                band = band.contiguous(memory_format=torch.channels_last)
            part: Tensor = segment.layers(band)
            if rows_per_band >= rows:
                return part
            if outputs is None:
                outputs = _empty_maps(part, rows)
            outputs[:, :, first:last] = part
        return outputs  # type: ignore[return-value]  # there is at least one band

    def _rows_per_band(self, segment: TrunkSegment, width: int) -> int:
        """Return how many rows of a segment's outputs are computed at once."""
        bytes_per_row = self._dtype.itemsize * segment.values_per_input_px * width
        max_height = int(self._band_bytes / bytes_per_row)
        return max((max_height - segment.receptive_field_px) // segment.stride_px + 1, 1)

    def _forward_by_windows(self, pixels: Tensor) -> OutputMaps:
        """Score windows cut out of pixels (1, C, H, W) in batches; maps as of a dense pass."""
        side = self.window_px
        stride = self.stride_px
        views = pixels.unfold(2, side, stride).unfold(3, side, stride)  # (1, C, h, w, side, side)
        height, width = views.shape[2:4]
        parts = []
        for first in range(0, height * width, self._windows_at_once):
            cells = torch.arange(first, min(first + self._windows_at_once, height * width))
            windows = views[0, :, cells // width, cells % width].transpose(0, 1)
            outputs = self._forward(windows)  # each (B, K, 1, 1)
            parts.append([plane.float().cpu() for plane in outputs])
        logits, offsets_px, log_sizes = (
            torch.cat(plane).reshape(height, width, -1).permute(2, 0, 1)[None]
            for plane in zip(*parts, strict=True)
        )
        return logits, offsets_px, log_sizes  # (1, K, h, w)

    @torch.inference_mode()
    def score_windows(self, windows: NDArray[np.generic]) -> WindowScores:
        """Score windows that are cut out already, in batches.

        Args:
            windows: (N, C, window, window) pixels as read.

        Returns:
            Logits (N, K), offsets dx, dy (N, 2) px and log sizes (N, 2).
        """
        parts = []
        for first in range(0, len(windows), self._windows_at_once):
            batch = np.ascontiguousarray(windows[first : first + self._windows_at_once])
            outputs = self._forward(torch.from_numpy(batch))
            parts.append([plane[:, :, 0, 0].float().cpu().numpy() for plane in outputs])
        return WindowScores(*(np.concatenate(planes) for planes in zip(*parts, strict=True)))


def _empty_maps(part: Tensor, rows: int) -> Tensor:
    """Return maps of `rows` rows to be filled with bands like `part`."""
    return torch.empty(
        (1, part.shape[1], rows, part.shape[3]),
        dtype=part.dtype,
        device=part.device,
        memory_format=torch.channels_last,
    )


def make_scorers(
    bundle: Bundle,
    *,
    device: str,
    inference_precision: str,
    stride_px: int | None = None,
    batch_px: int | None = None,
) -> tuple[TorchScorer, TorchScorer | None]:
    """Return the scorer of a bundle's network, and of its second stage where it has one.

    Raises:
        ParameterError: precision, stride or batch is not available.
        FormatError: the card does not fit the network.
    """
    scorer = TorchScorer(
        bundle.network(),
        bundle.normalizer(),
        device=device,
        inference_precision=inference_precision,
        stride_px=stride_px,
        batch_px=batch_px,
        padding_value=bundle.card.padding_value,
    )
    second = bundle.second_stage
    if second is None:
        return scorer, None
    second_stage = TorchScorer(
        second.network(),
        second.normalizer(),
        device=device,
        inference_precision=inference_precision,
        batch_px=batch_px,
    )
    return scorer, second_stage


def choose_device(device: str) -> str:
    """Return a torch device's name; `auto` becomes `cuda` or `cpu`.

    Raises:
        ParameterError: no such device here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ParameterError(
            f"device {device!r} cannot be had here ({reason}). Use auto, cpu or cuda."
        ) from None
    return device


def _resolve_precision(inference_precision: str, device: torch.device) -> str:
    """Return the number type of the arithmetic, `auto` replaced by the fastest accurate one."""
    if inference_precision == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if inference_precision == "int8":
        raise ParameterError(
            "inference_precision int8 is computed by runtime openvino or onnx, from the graphs of "
            "a model that this version trained. Install openvino, or take fp32 or bf16."
        )
    if inference_precision not in PRECISION_DTYPES:
        raise ParameterError(
            f"inference_precision must be auto or one of {', '.join(PRECISION_DTYPES)}, "
            f"got {inference_precision!r}. Choose one of them."
        )
    return inference_precision
