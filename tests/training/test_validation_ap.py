"""Average precision of validation windows: thinned background weighs as it did; its own error."""

from __future__ import annotations

import numpy as np
import pytest

from windhover.errors import DataError
from windhover.training.epoch_batches import VALIDATION_PATCHES, select_validation_rows
from windhover.training.validation_ap import standard_error, window_ap


@pytest.mark.parametrize(
    ("ap", "positives", "error"), [(0.9, 1000, 0.0095), (1.0, 1000, 0.001), (1.0, 10, 0.0874)]
)
def test_the_standard_error_of_an_average_precision(
    ap: float, positives: int, error: float
) -> None:
    assert standard_error(ap, positives) == pytest.approx(error, rel=0.01)


def test_few_objects_among_many_validation_patches_are_all_kept_and_weigh_as_they_did() -> None:
    labels = np.where(np.arange(40_000) % 400 == 0, 0, -1)
    rows, background_weight = select_validation_rows(labels)
    assert len(rows) == len(set(rows.tolist())) == VALIDATION_PATCHES
    assert (labels[rows] == 0).sum() == 100
    noise = np.random.default_rng(0).normal(0, 1, 40_000)
    logits = (noise + 3 * (labels == 0))[:, None].astype(np.float32)
    every = window_ap(logits, labels.astype(np.float32))
    chosen = labels[rows].astype(np.float32)
    weights = np.where(chosen < 0, background_weight, 1.0)
    assert window_ap(logits[rows], chosen, weights) == pytest.approx(every, abs=0.1)
    assert window_ap(logits[rows], chosen) > every + 0.2, "unweighted, it flatters"


def test_a_diverged_training_is_an_error() -> None:
    with pytest.raises(DataError, match="training diverged"):
        window_ap(np.array([[np.nan], [1.0]], np.float32), np.array([0, -1], np.float32))
