"""What a network sees in a window, as the features from which its heads compute the score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from windhover.geometry.arrays import Floats
from windhover.geometry.lattice import read_padded
from windhover.geometry.windows import HALF_WINDOW_PX
from windhover.inference.model_input import open_for_model
from windhover.models.bundle import Bundle, load_bundle

BATCH = 64  # windows at once


class FeatureSource:
    """Computes the features of windows in rasters by one model."""

    def __init__(self, model: str | Path) -> None:
        """Read a model.

        Raises:
            MissingFileError: the folder or one of its files is not there.
            FormatError: a file of the model is damaged.
        """
        self._bundle: Bundle = load_bundle(model)
        self._network: nn.Module = self._bundle.network()
        self._normalizer: nn.Module = self._bundle.normalizer()

    def __call__(self, path: str, gsd_m: float, centers_xy: Floats) -> Floats:
        """Return the features (N, F) of the windows about points of a raster.

        Args:
            path: of the raster.
            gsd_m: metres per px, of a raster without georeference.
            centers_xy: (N, 2) x, y, px of the raster as delivered.
        """
        half = HALF_WINDOW_PX
        windows = []
        with open_for_model(self._bundle.card, path, gsd_m=gsd_m) as scene:
            for x, y in np.rint(np.asarray(centers_xy) / scene.ratio_xy).astype(int):
                extent = (int(y) - half, int(y) + half, int(x) - half, int(x) + half)
                pixels, _ = read_padded(
                    scene.read, scene.shape_hw, extent, self._bundle.card.padding_value
                )
                windows.append(pixels)
        return self._features(windows)

    def _features(self, windows: Sequence[Any]) -> Floats:
        """Return the features (N, F) of windows (C, 64, 64) as read."""
        parts: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            del module
            parts.append(inputs[0].flatten(1))  # (B, F)

        heads = self._network.get_submodule("heads")
        hook = heads.register_forward_pre_hook(keep)
        try:
            with torch.inference_mode():
                for start in range(0, len(windows), BATCH):
                    pixels = np.ascontiguousarray(np.stack(windows[start : start + BATCH]))
                    self._network(self._normalizer(torch.from_numpy(pixels)))
        finally:
            hook.remove()
        return torch.cat(parts).double().numpy() if parts else np.zeros((0, 1))
