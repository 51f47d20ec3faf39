"""Attribution of a window's logit to its pixels, as three maps.

Saliency: which pixels would change the logit most (Simonyan 2013). Occlusion: how much the logit
falls when a square is hidden (Zeiler and Fergus 2014). Activation: where the last spatial layer
responds to the class (HiResCAM, Draelos and Carin 2020: unlike Grad-CAM it shows only what enters
the logit). Works for any network of the registry; reads no file and draws nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from windhover.geometry.arrays import Floats

HIDDEN_PX = 12  # side of the hidden square
STEP_PX = 4


class AttributionMaps(NamedTuple):
    """The logit of one window, and three maps of it.

    Attributes:
        logit: of the class.
        saliency: (H, W), 0 or more, largest over bands.
        occlusion: (H, W) fall of the logit; below 0 where hiding a pixel raises it.
        activation: (H, W), 0 or more.
    """

    logit: float
    saliency: Floats
    occlusion: Floats
    activation: Floats


def attribute_logit(
    network: nn.Module, normalizer: nn.Module, window: NDArray[Any], *, class_index: int = 0
) -> AttributionMaps:
    """Attribute the logit of one class in one window to its pixels.

    Args:
        network: in evaluation mode.
        normalizer: maps pixels as read to what the network was trained on.
        window: (C, H, W) pixels as read, H and W the network's window.
        class_index: of the class.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(window))[None]
    inputs = normalizer(pixels).detach()  # (1, C, H, W)
    saliency, activation, logit = _gradient_maps(network, inputs, class_index)
    occlusion = _occlusion_map(network, inputs, class_index, logit=logit)
    return AttributionMaps(logit, saliency, occlusion, activation)


def _gradient_maps(
    network: nn.Module, inputs: Tensor, class_index: int
) -> tuple[Floats, Floats, float]:
    """Return saliency, activation and logit from one backward pass."""
    features: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        features["last"] = output  # (1, F, h, w)

    hook = last_spatial_layer(network, inputs).register_forward_hook(keep)
    try:
        leaf = inputs.clone().requires_grad_(True)
        logit = network(leaf)[0][0, class_index, 0, 0]
        input_gradient, feature_gradient = torch.autograd.grad(logit, (leaf, features["last"]))
    finally:
        hook.remove()
    response = (feature_gradient * features["last"]).sum(dim=1, keepdim=True)
    coarse = torch.relu(response).detach()  # (1, 1, h, w)
    size = (inputs.shape[2], inputs.shape[3])
    activation = nn.functional.interpolate(
        coarse, size, mode="bilinear", align_corners=False
    )  # (1, 1, H, W)
    saliency = input_gradient[0].abs().amax(dim=0)
    return saliency.double().numpy(), activation[0, 0].double().numpy(), float(logit.detach())


def last_spatial_layer(network: nn.Module, inputs: Tensor) -> nn.Module:
    """Return the last layer whose output is a map (B, C, h, w) of more than one cell each way.

    Args:
        network: whose layers.
        inputs: (B, C, H, W) normalized pixels that it is run on once.
    """
    spatial: list[nn.Module] = []

    def keep(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            spatial.append(module)

    layers = [module for module in network.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        with torch.no_grad():
            network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return spatial[-1]


def _occlusion_map(network: nn.Module, inputs: Tensor, class_index: int, *, logit: float) -> Floats:
    """Return (H, W): the mean fall of the logit over the hidden squares that cover each pixel."""
    height, width = inputs.shape[2:]
    tops = [*range(0, height - HIDDEN_PX, STEP_PX), height - HIDDEN_PX]
    lefts = [*range(0, width - HIDDEN_PX, STEP_PX), width - HIDDEN_PX]
    # squares are filled with the window's own mean, so that they do not stand out
    mean = inputs.mean(dim=(2, 3), keepdim=True)[0]  # (C, 1, 1)
    falls = np.zeros((height, width))
    n_covering = np.zeros((height, width))
    for top in tops:
        rows = slice(top, top + HIDDEN_PX)
        hidden = inputs.repeat(len(lefts), 1, 1, 1)  # (B, C, H, W)
        for index, left in enumerate(lefts):
            hidden[index, :, rows, left : left + HIDDEN_PX] = mean
        with torch.inference_mode():
            logits = network(hidden)[0][:, class_index, 0, 0].double().numpy()  # (B,)
        for left, hidden_logit in zip(lefts, logits, strict=True):
            columns = slice(left, left + HIDDEN_PX)
            falls[rows, columns] += logit - hidden_logit
            n_covering[rows, columns] += 1
    return np.asarray(falls / n_covering, np.float64)
