"""The U-Net for logits of every pixel: of segmentation_models_pytorch, with any encoder of timm.

A padded network: its logits of a pixel depend on the tile around it, most near the tile's edge, so
that tiles overlap and are blended (`windhover.inference.blended_tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from windhover.errors import ParameterError
from windhover.models.backbones import DOWNLOAD, download_errors
from windhover.optional_dependencies import explain_missing_extras

TILE_PX = 256  # side of the tiles of a search
OVERLAP_PX = 64  # of neighbouring tiles, a quarter of smaller ones
PIXEL_CHANNELS = 32  # of the branch that keeps the resolution of the folded tile
TIMM_ENCODER = "tu-"  # prefix by which the library takes timm's networks


def tile_overlap(tile_px: int) -> int:
    """Return how many px neighbouring tiles of a search share."""
    return min(OVERLAP_PX, tile_px // 4)


class SegmentationNetwork(nn.Module):
    """A U-Net on tiles of any side that its encoder's coarsest step divides.

    Two more convolutions keep the full resolution of the px, which the decoder does not.

    Attributes:
        window_px: side of the tiles of a search.
        stride_px: of its cells, which are the pixels.
        dense: False: there is no unpadded form of it.
        segments: True: it gives logits of pixels.
        step_px: sides of tiles are multiples of it.
    """

    dense = False
    segments = True
    stride_px = 1

    def __init__(
        self,
        unet: nn.Module,
        n_classes: int,
        *,
        levels: int,
        tile_px: int,
        space_to_depth: int = 1,
    ) -> None:
        """Take the parts.

        Args:
            unet: a U-Net of the library for the folded tiles, the channels of whose decoder give
                the logits.
            n_classes: number of classes K.
            levels: how many times the encoder halves the resolution.
            tile_px: side of the tiles of a search.
            space_to_depth: side of the squares of px that become channels.
        """
        super().__init__()
        self.unet = unet
        self.step_px = space_to_depth * 2**levels
        self.window_px = tile_px
        self.space_to_depth = space_to_depth
        decoded = int(unet.segmentation_head[0].in_channels)  # type: ignore[index, union-attr]
        n_folded = int(unet.encoder.out_channels[0])  # type: ignore[union-attr, index]
        unet.segmentation_head = nn.Identity()
        # the decoder ends at half the resolution: the px themselves decide where a border is
        self.pixels = _convolution(n_folded)
        self.head = nn.Sequential(
            _convolution(decoded + PIXEL_CHANNELS),
            nn.Conv2d(PIXEL_CHANNELS, n_classes * space_to_depth**2, 1),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of tiles (B, C, H, W) as the normalizer gives them."""
        folded = F.pixel_unshuffle(inputs, self.space_to_depth)  # (B, s s C, H / s, W / s)
        decoded = torch.cat([self.unet(folded), self.pixels(folded)], dim=1)
        return F.pixel_shuffle(self.head(decoded), self.space_to_depth)  # (B, K, H, W)


def _convolution(n_inputs: int) -> nn.Module:
    """Return a 3 x 3 convolution to `PIXEL_CHANNELS` with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(n_inputs, PIXEL_CHANNELS, 3, padding=1, bias=False),
        nn.BatchNorm2d(PIXEL_CHANNELS),
        nn.ReLU(inplace=True),
    )


def build_unet(
    n_bands: int,
    n_classes: int,
    *,
    encoder: str = "resnet18",
    weights: str | None = None,
    width: int | str = 16,
    levels: int = 4,
    space_to_depth: int = 2,
    scene_log: bool = False,
    tile_px: int = TILE_PX,
) -> nn.Module:
    """Build a U-Net (Ronneberger 2015) of segmentation_models_pytorch, with a branch of px.

    Args:
        n_bands: bands of the input.
        n_classes: classes, background not counted.
        encoder: a network of timm that gives features at several strides, such as `resnet18`,
            `mobilenetv3_small_100`, `efficientnet_b0`.
        weights: of the encoder: `default` for timm's own, which it downloads; null for random ones.
        width: channels of the last layer of the decoder; each level before it has twice as many.
        levels: how many times the resolution is halved, 3 to 5.
        space_to_depth: side of the squares of px that become channels of one px, 1, 2 or 4: the
            network is then so many times squared as fast, and each px keeps logits of its own.
        scene_log: whether each tile is shown a second time, as logarithms less their mean in the
            scene: what is bright for this scene, whatever the sensor and the light. The normalizer
            gives both views.
        tile_px: side of the tiles of a search, a multiple of 2 to the power of `levels`, times
            `space_to_depth`.

    Raises:
        ParameterError: timm has no such encoder, or the tile is no such multiple.
        MissingFileError: the weights cannot be downloaded.
        MissingExtraError: segmentation_models_pytorch is not installed.
    """
    step_px = space_to_depth * 2**levels
    if tile_px % step_px:
        raise ParameterError(
            f"network 'unet': tile_px must be a multiple of {step_px} px for {levels} levels, "
            f"got {tile_px}. Change it in `options`."
        )
    n_inputs = n_bands * (2 if scene_log else 1) * space_to_depth**2
    if isinstance(width, str):
        raise ParameterError(
            f"network 'unet': width must be a whole number of channels, such as 16, got {width!r}. "
            "Change it in `options`."
        )
    if weights not in (None, DOWNLOAD):
        raise ParameterError(
            f"network 'unet': weights must be `{DOWNLOAD}`, which are the encoder's own, or null, "
            f"got {weights!r}. Change it in `options`."
        )
    with explain_missing_extras():
        import segmentation_models_pytorch as smp
    with download_errors(encoder, weights), _encoder_errors(encoder, levels):
        unet = smp.Unet(
            f"{TIMM_ENCODER}{encoder}",
            encoder_depth=levels,
            encoder_weights="imagenet" if weights == DOWNLOAD else None,
            decoder_channels=[width * 2**level for level in range(levels)][::-1],
            in_channels=n_inputs,
            classes=n_classes * space_to_depth**2,
        )
        with torch.no_grad():  # whether the encoder's strides fit
            unet.eval()(torch.zeros(1, n_inputs, 2**levels * 2, 2**levels * 2))
    return SegmentationNetwork(
        unet.train(),
        n_classes,
        levels=levels,
        tile_px=tile_px,
        space_to_depth=space_to_depth,
    )


@contextmanager
def _encoder_errors(encoder: str, levels: int) -> Iterator[None]:
    """Turn what the libraries raise for an encoder that does not fit into one sentence.

    Raises:
        ParameterError: it does not fit.
    """
    try:
        yield
    except (RuntimeError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(". ")
        raise ParameterError(
            f"network 'unet': {encoder!r} is no encoder of {levels} levels ({reason}). Take a "
            "network of timm with features at strides 2, 4, ..., such as resnet18."
        ) from None
