"""The model as MLflow keeps it: a bundle's folder behind `predict`, free of any fixed batch size.

Only `tracking` uses this module; it stands apart because the class is pickled by its name.
"""

from __future__ import annotations

from typing import Any

import mlflow.pyfunc
import numpy as np
import torch
from numpy.typing import NDArray

from windhover.bundles import load_bundle
from windhover.inference import window_scores


class WindowClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]
    """Scores windows (N, 64, 64, C) as read -> (N, K) probabilities."""

    def load_context(self, context: Any) -> None:
        """Read the bundle that was kept with the run."""
        self._bundle = load_bundle(context.artifacts["bundle"])
        self._network, self._normalizer = self._bundle.network(), self._bundle.normalizer()

    # MLflow reads the hint on `model_input` as a schema: of arrays it takes the bare class, and warns of any other hint
    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each class in each window; `model_input` is an array (N, 64, 64, C)."""
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(model_input)).permute(0, 3, 1, 2)  # (N, C, S, S)
            logits = self._network(self._normalizer(pixels)).logits[:, :, 0, 0]  # (N, K)
        return window_scores(logits.numpy(), self._bundle.calibration).astype(np.float32)
