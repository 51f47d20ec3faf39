"""Changes of color follow bands and classes where they are null, and stated ones stay."""

from __future__ import annotations

import logging

import pytest

from windhover.params.train import BatchAugmentParams, TrainParams
from windhover.training.batch_augment import Radiometry
from windhover.training.choose_radiometry import with_chosen_radiometry


@pytest.mark.parametrize(
    ("n_bands", "n_classes", "wanted", "reason"),
    [
        (3, 1, (0.8, 3.0, 0.2), ""),
        (3, 2, (0.2, 0.0, 0.2), "color may tell 2 classes apart"),
        (1, 1, (0.2, 0.0, 0.0), "bands are 1, not three colors"),
        (4, 1, (0.2, 0.0, 0.0), "bands are 4, not three colors"),
        (4, 5, (0.2, 0.0, 0.0), "bands are 4, not three colors"),
    ],
)
def test_strong_changes_are_for_one_class_in_three_colors(
    n_bands: int,
    n_classes: int,
    wanted: tuple[float, float, float],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "windhover")
    chosen = with_chosen_radiometry(TrainParams(), n_bands=n_bands, n_classes=n_classes)
    augment = chosen.batch_augment
    assert (augment.per_band_contrast, augment.highlight_darkening, augment.saturation) == wanted
    Radiometry(**augment.model_dump(exclude={"d4", "border_prob"}))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == bool(reason)
    assert all(line.endswith(f"because {reason}") for line in lines)


@pytest.mark.parametrize("n_bands", [1, 3, 4])
def test_what_the_parameters_state_stays(n_bands: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "windhover")
    stated = BatchAugmentParams(per_band_contrast=0.5, highlight_darkening=1.0, saturation=0.0)
    params = TrainParams(batch_augment=stated)
    assert with_chosen_radiometry(params, n_bands=n_bands, n_classes=2) == params
    assert not caplog.records
    partly = TrainParams(batch_augment=BatchAugmentParams(highlight_darkening=1.0))
    chosen = with_chosen_radiometry(partly, n_bands=n_bands, n_classes=2).batch_augment
    assert (chosen.per_band_contrast, chosen.highlight_darkening) == (0.2, 1.0)
    assert "highlight_darkening" not in caplog.text
