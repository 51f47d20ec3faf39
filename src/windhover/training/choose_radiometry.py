"""Choice of the changes of color that fit the data, where the parameters leave them open.

Strong changes of single bands teach a detector of one class that color does not matter: a red
aircraft is one too. Where color may distinguish classes, or bands are no colors, they would
take the signal away.
"""

from __future__ import annotations

import logging
from typing import Any

from windhover.params.train import TrainParams

# fields of `train.batch_augment` that may be null
FOR_ONE_CLASS_IN_COLOR = {"per_band_contrast": 0.8, "highlight_darkening": 3.0, "saturation": 0.2}
# 0.2 never inverts a band: draws end at 2.5 deviations
FOR_SEVERAL_CLASSES = {"per_band_contrast": 0.2, "highlight_darkening": 0.0, "saturation": 0.2}
# the mean over bands that are no colors is no gray
FOR_OTHER_BANDS = {"per_band_contrast": 0.2, "highlight_darkening": 0.0, "saturation": 0.0}
N_COLORS = 3

logger = logging.getLogger(__name__)


def with_chosen_radiometry(params: TrainParams, *, n_bands: int, n_classes: int) -> TrainParams:
    """Return parameters whose open changes of color are numbers; one line reports which and why.

    Args:
        params: of the stage.
        n_bands: of the pixels.
        n_classes: number of classes.
    """
    values: dict[str, Any] = params.batch_augment.model_dump()
    open_keys = [key for key in FOR_ONE_CLASS_IN_COLOR if values[key] is None]
    if not open_keys:
        return params
    chosen = FOR_ONE_CLASS_IN_COLOR
    reason = ""
    if n_bands != N_COLORS:
        chosen = FOR_OTHER_BANDS
        reason = f"bands are {n_bands}, not three colors"
    elif n_classes > 1:
        chosen = FOR_SEVERAL_CLASSES
        reason = f"color may tell {n_classes} classes apart"
    values |= {key: chosen[key] for key in open_keys}
    if reason:
        text = ", ".join(f"{key} {chosen[key]:g}" for key in open_keys)
        logger.info("  train.batch_augment: %s, because %s", text, reason)
    changed = type(params.batch_augment)(**values)
    return params.model_copy(update={"batch_augment": changed})
