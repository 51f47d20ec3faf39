"""The networks by name: each maps normalized pictures to raw outputs.

`valid64` and `baseline_cnn` are unpadded, so one pass over a picture gives exactly the outputs of
its windows one by one (Long 2015; Giusti 2013). Backbones of torchvision and timm have the same
interface and are scored window by window. Losses, scores and files are defined elsewhere.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.geometry.windows import WINDOW_PX
from windhover.models.backbones import make_backbone
from windhover.models.network_names import current_name
from windhover.models.segmentation import build_unet

WIDTHS = {"small": 16, "base": 32, "large": 48}  # channels of the first layer
INITS = ("he", "glorot")
STEMS = ("pooled", "strided")
BACKBONE_STRIDE_PX = 8  # between the windows that a padded backbone is scored at


class Outputs(NamedTuple):
    """The outputs of a network for every window; (h, w) is (1, 1) for one window."""

    logits: Tensor  # (B, K, h, w): one per class
    offsets_px: Tensor  # (B, 2, h, w): dx, dy from the window's center to the object's
    log_sizes: Tensor  # (B, 2, h, w): log of width and of height in px


class Heads(nn.Module):
    """Three 1x1 convolutions over the same features: class logits, offsets in px, log sizes."""

    # features of order 1 then mean offsets of some px, and a Huber loss in px is well scaled
    OFFSET_SCALE_PX = 8.0
    RARE_PRIOR = 0.05
    MEDIUM_SIZE_PX = 32.0

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(n_features, n_classes, 1)
        self.offsets = nn.Conv2d(n_features, 2, 1)
        self.log_sizes = nn.Conv2d(n_features, 2, 1)

    def reset(self) -> None:
        """Initialize for a rare class and a medium size, which shortens the start (Lin 2017)."""
        for layer in (self.logits, self.offsets, self.log_sizes):
            nn.init.normal_(layer.weight, std=0.01)
        nn.init.constant_(self.logits.bias, float(torch.logit(torch.tensor(self.RARE_PRIOR))))  # type: ignore[arg-type]
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.log_sizes.bias, float(torch.log(torch.tensor(self.MEDIUM_SIZE_PX))))  # type: ignore[arg-type]

    def set_constant(self, *, offsets: bool, sizes: bool) -> None:
        """Make heads without training targets constant: the window's own center, and its own size.

        Args:
            offsets: whether to make the offsets 0.
            sizes: whether to make the sizes those of a window.
        """
        constants = []
        if offsets:
            constants.append((self.offsets, 0.0))
        if sizes:
            constants.append((self.log_sizes, math.log(WINDOW_PX)))
        for layer, value in constants:
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
        *,
        stride_px: int,
        init: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.window_px = WINDOW_PX
        self.stride_px = stride_px
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
    """A padded backbone with the same heads; it takes single windows and has no dense form."""

    dense = False

    def __init__(
        self,
        backbone: nn.Module,
        n_features: int,
        n_classes: int,
        *,
        dropout: float,
        input_px: int,
    ) -> None:
        super().__init__()
        self.window_px = WINDOW_PX
        self.stride_px = BACKBONE_STRIDE_PX
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
    n_in: int, n_out: int, kernel: int, *, batch_norm: bool, stride: int = 1
) -> list[nn.Module]:
    """Return an unpadded convolution, batch norm and ReLU, as a flat list.

    Flat, so that the norm can be folded into the convolution.
    """
    conv = nn.Conv2d(n_in, n_out, kernel, stride, bias=not batch_norm)
    if batch_norm:
        return [conv, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
    return [conv, nn.ReLU(inplace=True)]


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
    """Build "valid-64/8": window 64, stride 8, receptive field exactly 64 at any width and depth.

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
        dropout: fraction of the last features dropped in training.
        init: `he` or `glorot`.
    """
    channels = WIDTHS[width] if isinstance(width, str) else width
    block = partial(conv_block, batch_norm=batch_norm)
    layers: list[nn.Module] = []
    if stem == "strided":
        layers += block(n_bands, channels, 6, stride=2)  # 30
    else:
        layers += block(n_bands, channels, 3)  # 62
        layers += block(channels, channels, 3)  # 60
        layers.append(nn.MaxPool2d(2))  # 30
    layers += block(channels, 2 * channels, 3)  # 28
    layers += block(2 * channels, 2 * channels, 3)  # 26
    layers.append(nn.MaxPool2d(2))  # 13
    n_in = 2 * channels
    for _ in range(depth):
        layers += block(n_in, 4 * channels, 3)  # 11, 9 (7, 5)
        n_in = 4 * channels
    layers.append(nn.MaxPool2d(3, 2))  # 4 (3, 2)
    layers += block(4 * channels, 8 * channels, 6 - depth)  # 1
    for _ in range(mix):
        layers += block(8 * channels, 8 * channels, 1)  # 1
    return UnpaddedNetwork(
        nn.Sequential(*layers),
        8 * channels,
        n_classes,
        stride_px=8,
        init=init,
        dropout=dropout,
    )


def build_baseline_cnn(
    n_bands: int, n_classes: int, *, dropout: float = 0.1, init: str = "he"
) -> nn.Module:
    """Build a small textbook CNN as a baseline: window 64, stride 4, 0.32 M parameters.

    conv16-conv16-pool-conv32x3-pool-FC64, no padding, no batch norm; the fully connected layer is
    a 12x12 convolution.
    """
    block = partial(conv_block, batch_norm=False)
    layers: list[nn.Module] = []
    layers += block(n_bands, 16, 3)  # 62
    layers += block(16, 16, 3)  # 60
    layers.append(nn.MaxPool2d(2))  # 30
    layers += block(16, 32, 3)  # 28
    layers += block(32, 32, 3)  # 26
    layers += block(32, 32, 3)  # 24
    layers.append(nn.MaxPool2d(2))  # 12
    layers += block(32, 64, 12)  # 1
    return UnpaddedNetwork(
        nn.Sequential(*layers), 64, n_classes, stride_px=4, init=init, dropout=dropout
    )


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
        dropout: fraction of the features dropped in training.
        input_px: side to which windows are resized first; by default the window's own where the
            network takes it.

    Raises:
        ParameterError: no such network.
        MissingFileError: no such file of weights, or they cannot be downloaded.
        FormatError: the file holds no weights of this network.
    """
    backbone, n_features, fixed_px = make_backbone(name, n_bands, weights)
    return WindowNetwork(
        backbone,
        n_features,
        n_classes,
        dropout=dropout,
        input_px=input_px or fixed_px or WINDOW_PX,
    )


def initialize(module: nn.Module, init: str) -> None:
    """Initialize convolutions by He (2015, for ReLU) or Glorot (2010), in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _is_integer(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_fraction(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _is_width(value: Any) -> bool:
    if isinstance(value, str):
        return value in WIDTHS
    return _is_integer(value, 4)


class OptionRule(NamedTuple):
    """The values that an option of a network may have, in words and as a test."""

    description: str
    is_valid: Callable[[Any], bool]


OPTION_RULES = {
    "width": OptionRule(f"one of {', '.join(WIDTHS)} or a whole number of 4 or more", _is_width),
    "depth": OptionRule("2, 3 or 4 layers at stride 4", lambda value: _is_integer(value, 2, 4)),
    "mix": OptionRule("a whole number from 0 to 8", lambda value: _is_integer(value, 0, 8)),
    "stem": OptionRule(f"one of {', '.join(STEMS)}", lambda value: value in STEMS),
    "batch_norm": OptionRule("true or false", lambda value: isinstance(value, bool)),
    "dropout": OptionRule("a fraction of 0 or more and below 1", _is_fraction),
    "init": OptionRule(f"one of {', '.join(INITS)}", lambda value: value in INITS),
    "encoder": OptionRule("the name of a network of timm", lambda value: isinstance(value, str)),
    "levels": OptionRule("3, 4 or 5", lambda value: _is_integer(value, 3, 5)),
    "space_to_depth": OptionRule("1, 2 or 4", lambda value: value in (1, 2, 4)),
    "scene_log": OptionRule("true or false", lambda value: isinstance(value, bool)),
    "tile_px": OptionRule("a whole number of 64 or more", lambda value: _is_integer(value, 64)),
    "weights": OptionRule(
        "`default`, the name of a file, or null",
        lambda value: value is None or isinstance(value, str),
    ),
    "input_px": OptionRule(
        "a whole number of 32 or more, or null",
        lambda value: value is None or _is_integer(value, 32),
    ),
}

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "valid64": build_valid64,
    "baseline_cnn": build_baseline_cnn,
    "unet": build_unet,
}


def build_network(name: str, n_bands: int, n_classes: int, **options: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: `valid64`, `baseline_cnn`, `unet`, or a classifier of torchvision or timm.
        n_bands: bands of the input, 1 or more.
        n_classes: classes, 1 or more.
        options: keyword options of the builder.

    Returns:
        A module with `window_px`, `stride_px` and `dense`; `forward` takes normalized (B, C, H, W),
        returns `Outputs`; of `unet` the logits of each px.

    Raises:
        ParameterError: an unknown name or option, or one out of its range.
    """
    if n_bands < 1 or n_classes < 1:
        raise ParameterError(
            f"a network needs at least one band and one class, got {n_bands} and {n_classes}."
        )
    name = current_name(name)
    _check_options(name, options)
    if name in BUILDERS:
        return BUILDERS[name](n_bands, n_classes, **options)
    return build_backbone(name, n_bands, n_classes, **options)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise for an option that the network does not have, or a value out of its range."""
    parameters = inspect.signature(BUILDERS.get(name, build_backbone)).parameters
    known = [
        key
        for key, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ParameterError(
            f"network {name!r} has no option {unknown[0]!r}. Its options: {', '.join(known)}."
        )
    for key, value in options.items():
        rule = OPTION_RULES[key]
        if not rule.is_valid(value):
            raise ParameterError(
                f"network {name!r}: {key} must be {rule.description}, got {value!r}. "
                "Change it in `options`."
            )


def architecture_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that define a trained network; its initial weights are left out."""
    return {name: value for name, value in options.items() if name != "weights"}
