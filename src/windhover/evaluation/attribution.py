"""Why a window scores as it does, as three maps: gradient saliency, occlusion, class activation.

Saliency: which pixels would change the logit most (Simonyan 2013). Occlusion: how much the logit
falls when a square is hidden (Zeiler and Fergus 2014). Activation: where the last layer with a
place speaks for the class (HiResCAM, Draelos
and Carin 2020: unlike Grad-CAM it shows only what enters the logit). Works for any network of the
registry. Refuses files and drawing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]
HIDDEN_PX = 12  # side of the hidden square
STEP_PX = 4


class Explanation(NamedTuple):
    """Three maps of one window, each (H, W)."""

    logit: float
    saliency: Floats  # >= 0, largest over bands
    occlusion: Floats  # fall of the logit; below 0 where hiding helps
    activation: Floats  # >= 0


def explain(
    network: nn.Module, normalizer: nn.Module, window: NDArray[Any], class_index: int = 0
) -> Explanation:
    """Explain the logit of one class in one window.

    Args:
        network: in evaluation mode.
        normalizer: maps pixels as read to what the network was trained on.
        window: (C, H, W) pixels as read, H and W the network's window.
        class_index: of the class.
    """
    inputs = normalizer(
        torch.from_numpy(np.ascontiguousarray(window))[None]
    ).detach()  # (1, C, H, W)
    saliency, activation, logit = _by_gradients(network, inputs, class_index)
    return Explanation(logit, saliency, _by_hiding(network, inputs, class_index, logit), activation)


def _by_gradients(
    network: nn.Module, inputs: Tensor, class_index: int
) -> tuple[Floats, Floats, float]:
    """Return saliency and activation from one pass back."""
    kept: dict[str, Tensor] = {}
    layer = last_spatial(network, inputs)

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        kept["features"] = output  # (1, F, h, w)

    hook = layer.register_forward_hook(keep)
    try:
        leaf = inputs.clone().requires_grad_(True)
        logit = network(leaf)[0][0, class_index, 0, 0]
        slope, at_layer = torch.autograd.grad(logit, (leaf, kept["features"]))
    finally:
        hook.remove()
    coarse = torch.relu((at_layer * kept["features"]).sum(dim=1, keepdim=True))  # (1, 1, h, w)
    size = (inputs.shape[2], inputs.shape[3])
    smooth = nn.functional.interpolate(
        coarse.detach(), size, mode="bilinear", align_corners=False
    )  # (1, 1, H, W)
    return (
        slope[0].abs().amax(dim=0).double().numpy(),
        smooth[0, 0].double().numpy(),
        float(logit.detach()),
    )


def last_spatial(network: nn.Module, inputs: Tensor) -> nn.Module:
    """Return the last layer whose output still has a place, more than one cell each way."""
    seen: list[nn.Module] = []

    def keep(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            seen.append(module)

    hooks = [
        module.register_forward_hook(keep)
        for module in network.modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen[-1]


def _by_hiding(network: nn.Module, inputs: Tensor, class_index: int, logit: float) -> Floats:
    """Return the fall of the logit at each pixel, the mean over the hidden squares that cover it."""
    height, width = inputs.shape[2:]
    tops = [*range(0, height - HIDDEN_PX, STEP_PX), height - HIDDEN_PX]
    lefts = [*range(0, width - HIDDEN_PX, STEP_PX), width - HIDDEN_PX]
    ground = inputs.mean(dim=(2, 3), keepdim=True)[
        0
    ]  # (C, 1, 1): the window's own mean, so that nothing stands out
    falls, covered = np.zeros((height, width)), np.zeros((height, width))
    for top in tops:
        hidden = inputs.repeat(len(lefts), 1, 1, 1)  # (B, C, H, W)
        for row, left in enumerate(lefts):
            hidden[row, :, top : top + HIDDEN_PX, left : left + HIDDEN_PX] = ground
        with torch.inference_mode():
            logits = network(hidden)[0][:, class_index, 0, 0].double().numpy()  # (B,)
        for left, value in zip(lefts, logits, strict=True):
            falls[top : top + HIDDEN_PX, left : left + HIDDEN_PX] += logit - value
            covered[top : top + HIDDEN_PX, left : left + HIDDEN_PX] += 1
    return np.asarray(falls / covered, np.float64)
