"""The networks, by name: each maps normalised pictures to raw outputs and nothing else.

`valid64` and `course` are unpadded, so one pass over a picture gives exactly what cropping every
window would (Long 2015; Giusti 2013). Backbones of torchvision and timm stand behind the same
interface and are scored window by window. Refuses losses, scores and shapes; files are the
backbones' affair.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.geometry.windows import WINDOW_PX
from windhover.models.backbones import make_backbone

WIDTHS = {"small": 16, "base": 32, "large": 48}
INITS = ("he", "glorot")
STEMS = ("pooled", "strided")


class Outputs(NamedTuple):
    """What a network says of every window; (h, w) is (1, 1) for one window."""

    logits: Tensor  # (B, K, h, w): one per class
    offsets_px: Tensor  # (B, 2, h, w): dx, dy from the window's centre to the object's, px
    log_sizes: Tensor  # (B, 2, h, w): log of width and of height in px


class Heads(nn.Module):
    """Three 1x1 convolutions over the same features: class logits, offsets in px, log sizes."""

    # features of order 1 then mean offsets of some px, and a Huber loss in px is well scaled
    OFFSET_SCALE_PX = 8.0

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(n_features, n_classes, 1)
        self.offsets = nn.Conv2d(n_features, 2, 1)
        self.log_sizes = nn.Conv2d(n_features, 2, 1)

    def reset(self, prior: float = 0.05, size_px: float = 32.0) -> None:
        """Start from a rare class and a middling size, not to spend the first steps on constants
        (Lin 2017).
        """
        for layer in (self.logits, self.offsets, self.log_sizes):
            nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(self.logits.bias, float(torch.logit(torch.tensor(prior))))  # type: ignore[arg-type]
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.log_sizes.bias, float(torch.log(torch.tensor(size_px))))  # type: ignore[arg-type]

    def set_constant(self, offsets: bool, sizes: bool, size_px: float = WINDOW_PX) -> None:
        """Make heads that nothing will teach say the window's own centre, and its own size,
        whatever they see.
        """
        silent = [(self.offsets, 0.0)] * offsets + [(self.log_sizes, math.log(size_px))] * sizes
        for layer, value in silent:
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, value)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Outputs:
        return Outputs(
            self.logits(features),
            self.OFFSET_SCALE_PX * self.offsets(features),
            self.log_sizes(features),
        )


class UnpaddedNetwork(nn.Module):
    """A trunk of unpadded layers that turns one window into one cell, and heads on it."""

    dense = True

    def __init__(
        self,
        trunk: nn.Sequential,
        n_features: int,
        n_classes: int,
        stride_px: int,
        init: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.window_px, self.stride_px = WINDOW_PX, stride_px
        self.trunk = trunk
        self.dropout = nn.Dropout2d(dropout)
        self.heads = Heads(n_features, n_classes)
        initialize(self.trunk, init)
        self.heads.reset()

    def forward(self, inputs: Tensor) -> Outputs:
        features = self.trunk(inputs)  # (B, F, h, w), h = (H - 64) // stride + 1
        outputs: Outputs = self.heads(self.dropout(features))
        return outputs


class WindowNetwork(nn.Module):
    """A padded backbone: a window in, features out; no dense form."""

    dense = False

    def __init__(
        self, backbone: nn.Module, n_features: int, n_classes: int, dropout: float, input_px: int
    ) -> None:
        super().__init__()
        self.window_px = self.stride_px = WINDOW_PX
        self.stride_px = 8
        self.input_px = input_px
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(n_features, n_classes)
        self.heads.reset()

    def forward(self, inputs: Tensor) -> Outputs:
        if self.input_px != inputs.shape[-1]:
            inputs = nn.functional.interpolate(
                inputs, size=(self.input_px, self.input_px), mode="bilinear", align_corners=False
            )
        features = self.dropout(self.backbone(inputs).flatten(1))[:, :, None, None]  # (B, F, 1, 1)
        outputs: Outputs = self.heads(features)
        return outputs


def conv_block(
    n_in: int, n_out: int, kernel: int, batch_norm: bool, stride: int = 1
) -> list[nn.Module]:
    """Return convolution, batch norm and ReLU, unpadded; flat, so that the norm can be folded into
    the convolution.
    """
    conv = nn.Conv2d(n_in, n_out, kernel, stride, bias=not batch_norm)
    return (
        [conv, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
        if batch_norm
        else [conv, nn.ReLU(inplace=True)]
    )


def build_valid64(
    n_bands: int,
    n_classes: int,
    *,
    width: str | int = "base",
    depth: int = 2,
    mix: int = 0,
    stem: str = "pooled",
    batch_norm: bool = True,
    dropout: float = 0.0,
    init: str = "he",
) -> nn.Module:
    """Build "valid-64/8": window 64, stride 8, receptive field exactly 64, whatever its width and
    depth.

    Sizes for depth 2: 64-62-60-30-28-26-13-11-9-4-1. Each further 3x3 layer at stride 4 takes one
    from the last kernel.

    Args:
        n_bands: bands of the input.
        n_classes: classes.
        width: `small` (16), `base` (32), `large` (48), or the number of channels of the first
            layer.
        depth: 3x3 layers at stride 4: 2, 3 or 4.
        mix: further 1x1 layers on the last features.
        stem: `pooled` begins with two 3x3 layers at full resolution and a pool, `strided` with
            one 6x6 layer of stride 2 in their place: less than half the time, for a little of the
            finest detail.
        batch_norm: whether each convolution is followed by one.
        dropout: share of the last features dropped in training.
        init: `he` or `glorot`.

    """
    w = WIDTHS[width] if isinstance(width, str) else width
    if stem == "strided":
        layers = conv_block(n_bands, w, 6, batch_norm, stride=2)  # 30
    else:
        layers = [
            *conv_block(n_bands, w, 3, batch_norm),
            *conv_block(w, w, 3, batch_norm),
            nn.MaxPool2d(2),
        ]  # 62, 60, 30
    layers += [
        *conv_block(w, 2 * w, 3, batch_norm),
        *conv_block(2 * w, 2 * w, 3, batch_norm),
        nn.MaxPool2d(2),
    ]  # 28, 26, 13
    for index in range(depth):
        layers += conv_block((2 if index == 0 else 4) * w, 4 * w, 3, batch_norm)  # 11, 9 (7, 5)
    layers.append(nn.MaxPool2d(3, 2))  # 4 (3, 2)
    layers += conv_block(4 * w, 8 * w, 6 - depth, batch_norm)  # 1
    for _ in range(mix):
        layers += conv_block(8 * w, 8 * w, 1, batch_norm)  # 1
    return UnpaddedNetwork(nn.Sequential(*layers), 8 * w, n_classes, 8, init, dropout)


def build_baseline_cnn(
    n_bands: int, n_classes: int, *, dropout: float = 0.1, init: str = "he"
) -> nn.Module:
    """Build the courses' small CNN, its fully connected layer turned into a 12x12 convolution:
    window 64, stride 4.

    conv16-conv16-pool-conv32x3-pool-FC64, no padding, no batch norm; 0.32 M parameters.
    """
    layers = [
        *conv_block(n_bands, 16, 3, False),
        *conv_block(16, 16, 3, False),
        nn.MaxPool2d(2),
    ]  # 62, 60, 30
    layers += [
        *conv_block(16, 32, 3, False),
        *conv_block(32, 32, 3, False),
        *conv_block(32, 32, 3, False),
        nn.MaxPool2d(2),
    ]  # 28, 26, 24, 12
    layers += conv_block(32, 64, 12, False)  # 1
    return UnpaddedNetwork(nn.Sequential(*layers), 64, n_classes, 4, init, dropout)


def build_backbone(
    name: str,
    n_bands: int,
    n_classes: int,
    *,
    weights: str | None = None,
    dropout: float = 0.0,
    input_px: int | None = None,
) -> nn.Module:
    """Build a classification network of torchvision or timm as a feature extractor over windows.

    Args:
        name: such as `resnet18`, `convnext_tiny`, `vit_b_16`, `resnet10t`; `timm/resnet18` is
            timm's of two.
        n_bands: bands of the input; the first convolution is changed to take them.
        n_classes: classes.
        weights: `default` for the library's own, a local file, or null for random ones.
        dropout: share of the features dropped in training.
        input_px: side to which windows are resized first; by default the window itself where
            the network takes it.

    Raises:
        ParameterError: no such network.
        MissingFileError: no such file of weights, or they cannot be downloaded.
        FormatError: the file holds no weights of this network.
    """
    backbone, n_features, fixed_px = make_backbone(name, n_bands, weights)
    return WindowNetwork(
        backbone, n_features, n_classes, dropout, input_px or fixed_px or WINDOW_PX
    )


def initialize(module: nn.Module, init: str) -> None:
    """Fill convolutions by He (2015, for ReLU) or Glorot (2010), in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


# what each option may be, in words and as a test
OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "width": (
        f"one of {', '.join(WIDTHS)} or a whole number of 4 or more",
        lambda value: value in WIDTHS if isinstance(value, str) else _is_whole(value, 4),
    ),
    "depth": ("2, 3 or 4 layers at stride 4", lambda value: _is_whole(value, 2, 4)),
    "mix": ("a whole number from 0 to 8", lambda value: _is_whole(value, 0, 8)),
    "stem": (f"one of {', '.join(STEMS)}", lambda value: value in STEMS),
    "batch_norm": ("true or false", lambda value: isinstance(value, bool)),
    "dropout": ("a share of 0 or more and below 1", _is_share),
    "init": (f"one of {', '.join(INITS)}", lambda value: value in INITS),
    "weights": (
        "`default`, the name of a file, or null",
        lambda value: value is None or isinstance(value, str),
    ),
    "input_px": (
        "a whole number of 32 or more, or null",
        lambda value: value is None or _is_whole(value, 32),
    ),
}


BUILDERS: dict[str, Callable[..., nn.Module]] = {"valid64": build_valid64, "course": build_baseline_cnn}


def build_network(name: str, n_bands: int, n_classes: int, **options: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: `valid64`, `course`, or a classifier of torchvision or timm.
        n_bands: bands of the input, 1 or more.
        n_classes: classes, 1 or more.
        options: keyword options of the builder.

    Returns:
        A module with `window_px`, `stride_px` and `dense`; `forward` takes normalised (B, C, H, W),
        returns `Outputs`.

    Raises:
        ParameterError: an unknown name or option, or one out of its range.
    """
    if n_bands < 1 or n_classes < 1:
        raise ParameterError(
            f"a network needs at least one band and one class, got {n_bands} and {n_classes}."
        )
    builder = BUILDERS.get(name, build_backbone)
    known = [
        key
        for key, value in inspect.signature(builder).parameters.items()
        if value.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ParameterError(
            f"network {name!r} has no option {unknown[0]!r}. Its options: {', '.join(known)}."
        )
    for key, value in options.items():
        what, fits = OPTIONS[key]
        if not fits(value):
            raise ParameterError(
                f"network {name!r}: {key} must be {what}, got {value!r}. Change it in `options`."
            )
    if name in BUILDERS:
        return builder(n_bands, n_classes, **options)
    return builder(name, n_bands, n_classes, **options)


def lasting_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a trained network still needs: where it began is not among them."""
    return {name: value for name, value in options.items() if name != "weights"}
