"""The score map as a graph with free height and width, for services that run ONNX on rasters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from windhover.model_export.detector_graph import dense_score_graph
from windhover.models.bundle import Bundle


class ScoreMapGraph(nn.Module):
    """Pixels as read (B, C, H, W) to probabilities (B, K, h, w) that windows show an object.

    Cell (i, j) is the window whose top left px is (stride * i, stride * j).
    """

    def __init__(self, bundle: Bundle) -> None:
        """Build the graph of a model at its own stride.

        Raises:
            UnsupportedError: the network is padded.
        """
        super().__init__()
        self.scores = dense_score_graph(bundle, bundle.card.stride_px)
        by_class = [bundle.calibration.of_class(k) for k in range(len(bundle.card.classes))]
        temperature = torch.tensor([one.window_temperature for one in by_class])
        bias = torch.tensor([one.window_bias for one in by_class])
        self.temperature: Tensor
        self.bias: Tensor
        self.register_buffer("temperature", temperature.view(1, -1, 1, 1).float())
        self.register_buffer("bias", bias.view(1, -1, 1, 1).float())

    def forward(self, pixels: Tensor) -> Tensor:
        """Return probabilities (B, K, h, w) of tiles (B, C, H, W) of pixels as read."""
        pixels = torch.where(torch.isnan(pixels), torch.zeros(()), pixels)
        logits = self.scores(pixels)[0]
        return torch.sigmoid(logits / self.temperature + self.bias)
