"""The model as MLflow keeps it: a model bundle behind `predict`, for batches of any size.

A module of its own, because MLflow finds its classes and functions by their names.
"""

from __future__ import annotations

from typing import Any

import mlflow.pyfunc
import numpy as np
import torch
from numpy.typing import NDArray

from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import load_bundle


class WindowScorer:
    """Scores windows: (N, 64, 64, C) as read to (N, K) probabilities."""

    def __init__(self, folder: str) -> None:
        self._bundle = load_bundle(folder)
        self._network = self._bundle.network()
        self._normalizer = self._bundle.normalizer()

    def predict(
        self, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each class in each window; input (N, 64, 64, C)."""
        with torch.inference_mode():
            windows = torch.from_numpy(np.ascontiguousarray(model_input))
            pixels = windows.permute(0, 3, 1, 2)  # (N, C, S, S)
            logits = self._network(self._normalizer(pixels)).logits[:, :, 0, 0]  # (N, K)
        return window_scores(logits.numpy(), self._bundle.calibration).astype(np.float32)


def _load_pyfunc(folder: str) -> WindowScorer:
    """Return the model of a folder; MLflow calls this function by its name."""
    return WindowScorer(folder)


class WindowClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]
    """The same for a bundle that a training run keeps, before it was calibrated."""

    def load_context(self, context: Any) -> None:
        """Read the bundle that was kept with the run."""
        self._scorer = WindowScorer(context.artifacts["bundle"])

    # MLflow reads the hint on `model_input` as a schema: of arrays it takes the bare class, and
    # warns of any other hint
    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each class in each window; input (N, 64, 64, C)."""
        return self._scorer.predict(model_input)
