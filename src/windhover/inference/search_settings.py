"""The settings of a search that can change what is found; they travel with a model.

`evaluate` writes them into the operating point, and every later search reads them from there. Knows
neither scenes nor networks.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from windhover.errors import FormatError, ParameterError
from windhover.params.allowed_values import PeakTta

logger = logging.getLogger(__name__)

PEAK_TTA_CHOICES: tuple[PeakTta, ...] = get_args(PeakTta)
RENAMED_SETTINGS = {"peak_looks": "peak_tta", "peak_looks_from": "rescore_min_logit"}
PEAK_TTA_OF_NUMBER: dict[Any, PeakTta] = {0: "none", 1: "recenter", 8: "d4"}


@dataclass(frozen=True)
class SearchSettings:
    """How a scene is searched, as far as it can change what is found.

    Attributes:
        stride_px: distance between windows, px of the training GSD.
        scales: GSD of each pass in units of the training GSD; 2.0 for objects larger than a window.
        merge_distance: candidates nearer than this are one object, in units of the smaller size.
        merge_iou: candidates that overlap more than this are one object.
        peak_tta: test-time augmentation at peaks. `recenter` scores the window moved to have the
            object in its middle; `d4` scores it in all eight symmetries of the square.
        rescore_min_logit: lowest raw logit of a peak that is scored again.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", strict=True)

    stride_px: int = 8
    scales: tuple[float, ...] = (1.0,)
    merge_distance: float = 0.5
    merge_iou: float = 0.3
    peak_tta: PeakTta = "none"
    rescore_min_logit: float = -1.0

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ParameterError(
                f"`scales` must hold numbers above 0, got {self.scales}. "
                "Set evaluate.scales, such as [1.0]."
            )
        if not 0 <= self.merge_distance < math.inf or not 0 < self.merge_iou <= 1:
            raise ParameterError(
                "`merge_distance` must be 0 or more and `merge_iou` in (0, 1], "
                f"got {self.merge_distance} and {self.merge_iou}. "
                "Set them in the section evaluate."
            )
        if self.peak_tta not in PEAK_TTA_CHOICES:
            raise ParameterError(
                f"`peak_tta` must be one of {', '.join(PEAK_TTA_CHOICES)}, got {self.peak_tta!r}. "
                "Set evaluate.peak_tta."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SearchSettings:
        """Read settings; names and values of earlier versions are accepted and logged.

        Raises:
            FormatError: a name that is no setting's, or a value of another type or range.
        """
        values = _with_new_names(values)
        try:
            # as JSON, because strict mode rejects lists for tuples
            return TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            first = error.errors()[0]
            place = "".join(f" `{part}`:" for part in first["loc"])
            rule = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise FormatError(f"search settings:{place} {rule}. Run evaluate again.") from None


def _with_new_names(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings under today's names; the number of looks at a peak becomes a name too."""
    renamed = {RENAMED_SETTINGS.get(name, name): value for name, value in values.items()}
    number = renamed.get("peak_tta")
    if type(number) is int and number in PEAK_TTA_OF_NUMBER:
        renamed["peak_tta"] = PEAK_TTA_OF_NUMBER[number]
    if renamed != values:
        old_names = ", ".join(sorted(set(values) - set(renamed))) or "peak_tta"
        logger.warning("search settings of an earlier version are read: %s", old_names)
    return renamed
