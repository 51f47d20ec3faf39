"""The network's logits on the patches of a split, and the metrics of the windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from windhover.geometry.arrays import Bools, Floats
from windhover.metrics.evaluation_result import EVALUATED_SPLITS
from windhover.metrics.window_metrics import WindowMetrics, best_threshold, measure_windows
from windhover.models.apply_calibration import Calibration, window_scores
from windhover.models.bundle import Bundle
from windhover.patches.patch_store import load_patches

BATCH_SIZE = 512
SMALLEST_SHARE = 1e-6  # of a patch, so that its logit is finite


@dataclass(frozen=True)
class WindowLogits:
    """Raw logits of one split's patches.

    Attributes:
        logits: (N, K).
        is_true: (N, K) whether the patch shows the class.
    """

    logits: Floats
    is_true: Bools


def score_windows(
    bundle: Bundle, patches: Path, split: str, *, device: str, label_px: int | None = None
) -> WindowLogits:
    """Run the network over the patches of one split.

    Args:
        bundle: the model.
        patches: folder of the patches.
        split: train, val or test.
        device: that the network computes on.
        label_px: side of the square in the middle of a patch whose mean score counts, for a network
            that scores pixels; None for the whole patch.
    """
    patch_set = load_patches(patches, split)
    network = bundle.network().to(device).eval()
    normalizer = bundle.normalizer().to(device)
    parts = [np.zeros((0, len(bundle.card.classes)))]
    with torch.inference_mode():
        for first in range(0, len(patch_set), BATCH_SIZE):
            batch = patch_set.read(first, first + BATCH_SIZE)
            images = torch.from_numpy(batch).to(device)  # (B, H, W, C)
            outputs = network(normalizer(images.permute(0, 3, 1, 2)))  # logits (B, K, 1, 1)
            if getattr(network, "segments", False):
                margin = (outputs.shape[-1] - (label_px or outputs.shape[-1])) // 2
                middle = slice(margin, outputs.shape[-1] - margin)
                shown = torch.sigmoid(outputs[:, :, middle, middle]).mean((2, 3))  # (B, K)
                logits = torch.logit(shown, eps=SMALLEST_SHARE)
            else:
                logits = outputs[0].flatten(1)
            parts.append(logits.double().cpu().numpy())
    names = patch_set.index["class"].to_numpy(object)
    is_true = np.stack([names == name for name in bundle.card.classes], axis=1)
    return WindowLogits(np.concatenate(parts), is_true)


def measure_splits(
    bundle: Bundle, windows: Mapping[str, WindowLogits], calibration: Calibration
) -> dict[str, dict[str, WindowMetrics]]:
    """Compute the metrics of the windows, by split and class.

    The threshold of each class is the one of the best F1 on val at the true prior.
    """
    metrics: dict[str, dict[str, WindowMetrics]] = {split: {} for split in EVALUATED_SPLITS}
    scores = {}
    for split in EVALUATED_SPLITS:
        scores[split] = window_scores(windows[split].logits, calibration)
    for index, name in enumerate(bundle.card.classes):
        prior = bundle.card.prior_of(index)
        is_true = windows["val"].is_true[:, index]
        threshold = best_threshold(is_true, scores["val"][:, index], prior)
        for split in EVALUATED_SPLITS:
            metrics[split][name] = measure_windows(
                windows[split].is_true[:, index],
                scores[split][:, index],
                prior,
                threshold=threshold,
            )
    return metrics
