"""Networks that need no training: one that finds bright squares exactly, and bundles of random or
hand-set weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import Bundle, load_bundle, save_bundle
from windhover.models.card import Card, NetworkCard
from windhover.models.graph_files import write_graphs
from windhover.models.networks import Outputs, build_network
from windhover.models.operating_point import ClassOperatingPoint, OperatingPoint
from windhover.models.score_graph import make_graphs
from windhover.models.weights_file import content_key

WINDOW, STRIDE = 64, 8


class Identity(nn.Module):
    """A normaliser that changes the type alone."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.to(torch.float32)


class PlantedNetwork(nn.Module):
    """Finds white squares on black: a window that sees a whole square votes for its centre, the
    nearer the surer.

    Of its window it sees the middle, 5 px more than the square on each side, so that squares that
    stand further apart do not disturb each other. All is a fixed unpadded convolution, so it is
    dense and exact like the real networks.
    """

    window_px, dense = WINDOW, True

    def __init__(
        self, side_px: float = 10.0, n_bands: int = 3, most: float = 9.0, stride_px: int = STRIDE
    ) -> None:
        super().__init__()
        self.stride_px = stride_px
        place = torch.arange(WINDOW) + 0.5 - WINDOW / 2
        inside = (place.abs() <= side_px / 2 + 5).float()
        mask = inside[:, None] * inside[None, :]
        kernels = torch.stack([mask, mask * place[None, :], mask * place[:, None]])[
            :, None
        ]  # (3, 1, 64, 64)
        self.kernels = nn.Parameter(kernels.repeat(1, n_bands, 1, 1) / n_bands, requires_grad=False)
        self.side_px = side_px
        self.most = most  # squares of light; below 1.9 nothing larger than one is taken for one

    def forward(self, inputs: Tensor) -> Outputs:
        mass, x, y = torch.split(
            nn.functional.conv2d(inputs, self.kernels.to(inputs.dtype), stride=self.stride_px),
            1,
            dim=1,
        )
        lit = mass.clamp(min=1e-3)
        offsets = torch.cat([x / lit, y / lit], dim=1)
        share = mass / (255.0 * self.side_px**2)
        whole = (share > 0.995) & (share < self.most)
        logits = torch.where(
            whole, 8 - offsets.norm(dim=1, keepdim=True) / 4, torch.where(mass > 1, -9.0, -20.0)
        )
        return Outputs(logits, offsets, torch.full_like(offsets, float(np.log(self.side_px))))


def squares(
    shape_hw: tuple[int, int], centers_xy: Any, side_px: float = 10.0, bands: int = 3
) -> np.ndarray:
    """Return a black picture (bands, H, W) uint8 with white squares; px that their sides cut are
    grey.
    """
    picture = np.zeros(shape_hw)
    for x, y in centers_xy:
        cols = np.clip(
            np.minimum(np.arange(shape_hw[1]) + 1, x + side_px / 2)
            - np.maximum(np.arange(shape_hw[1]), x - side_px / 2),
            0,
            1,
        )
        rows = np.clip(
            np.minimum(np.arange(shape_hw[0]) + 1, y + side_px / 2)
            - np.maximum(np.arange(shape_hw[0]), y - side_px / 2),
            0,
            1,
        )
        picture = np.maximum(picture, 255 * rows[:, None] * cols[None, :])
    return np.repeat(np.rint(picture).astype(np.uint8)[None], bands, axis=0)


def random_weights(
    n_bands: int = 3, n_classes: int = 1, width: int = 4, seed: int = 0
) -> dict[str, Tensor]:
    """Return weights of a small valid64 whose logits spread over some units and whose batch norms
    are not trivial.
    """
    generator = torch.Generator().manual_seed(seed)
    network = build_network("valid64", n_bands, n_classes, width=width)
    weights = network.state_dict()
    for name, value in weights.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.3, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim == 4:
            fan = value[0].numel()
            value.normal_(0, (2 / fan) ** 0.5, generator=generator)
    for head, spread in (("logits", 0.5), ("offsets", 0.1), ("log_sizes", 0.05)):
        weights[f"heads.{head}.weight"].mul_(spread)
    weights["heads.logits.bias"].fill_(-2.0)
    return weights


def make_card(
    n_bands: int = 3, classes: tuple[str, ...] = ("aircraft",), width: int = 4, **changes: Any
) -> Card:
    """Return the card of `random_weights`."""
    values: dict[str, Any] = {
        "network": NetworkCard(
            name="valid64", n_bands=n_bands, n_classes=len(classes), options={"width": width}
        ),
        "classes": classes,
        "window_px": 64,
        "stride_px": 8,
        "gsd_m": 1.25,
        "bands": ("red", "green", "blue")
        if n_bands == 3
        else tuple(f"band{i}" for i in range(1, n_bands + 1)),
        "dtype": "uint8",
        "mean": (100.0,) * n_bands,
        "std": (60.0,) * n_bands,
        "sampled_prior": 0.1,
        "true_prior": 0.002,
        **changes,
    }
    return Card(**values)


def one_threshold(
    classes: Iterable[str], threshold: float, stride_px: int = STRIDE
) -> OperatingPoint:
    """Return an operating point with the same threshold for every class."""
    per_class = {name: ClassOperatingPoint(threshold=threshold) for name in classes}
    return OperatingPoint(per_class=per_class, search={"stride_px": stride_px})


def add_graphs(folder: Path, *, int8: bool = True) -> Bundle:
    """Write the graphs of a model into its folder, those in 8-bit integers made from noise."""
    bundle = load_bundle(folder)
    pictures = []
    if int8:
        rng = np.random.default_rng(8)
        pictures = [rng.integers(0, 256, (2, len(bundle.card.bands), 128, 96), dtype=np.uint8)]
    graphs = make_graphs(bundle.network(), bundle.card, pictures)
    write_graphs(folder, content_key(bundle.weights), graphs)
    return load_bundle(folder)


def write_bundle(
    folder: Path, threshold: float = 0.5, weights: dict[str, Tensor] | None = None, **card: Any
) -> Bundle:
    """Write a bundle of random weights, evaluated as far as its files tell."""
    made = make_card(**card)
    weights = weights or random_weights(
        len(made.bands), len(made.classes), made.network.options["width"]
    )
    point = one_threshold(made.classes, threshold, made.stride_px)
    save_bundle(folder, made, weights, calibration=Calibration(), operating_point=point)
    return load_bundle(folder)
