"""From logits to probabilities: the only place where a score is made.

Holds the calibration that `evaluate` fits and the two maps that use it: one for windows, one for merged detections.
Refuses to fit anything: fitting belongs to `evaluate`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from windhover.errors import FormatError


@dataclass(frozen=True)
class Calibration:
    """Temperature and bias of `sigmoid(logit / temperature + bias)`, for windows and for merged detections.

    The window's bias carries the shift from the sampled prior to the true one (Saerens 2002; Elkan 2001);
    the temperature is that of Guo 2017.
    """

    window_temperature: float = 1.0
    window_bias: float = 0.0
    detection_temperature: float = 1.0
    detection_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("window_temperature", "detection_temperature"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise FormatError(
                    f"calibration: `{name}` must be a finite number above 0, got {value}. Run evaluate again."
                )
        for name in ("window_bias", "detection_bias"):
            if not np.isfinite(getattr(self, name)):
                raise FormatError(
                    f"calibration: `{name}` must be finite, got {getattr(self, name)}. Run evaluate again."
                )

    def to_json(self) -> dict[str, float]:
        """Return the four numbers by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """Read the four numbers.

        Raises:
            FormatError: a number is missing, unknown, or out of its range.
        """
        names = set(cls.__dataclass_fields__)
        if not isinstance(values, dict) or set(values) != names:
            raise FormatError(f"calibration: must hold exactly {', '.join(sorted(names))}. Run evaluate again.")
        try:
            return cls(**{name: float(value) for name, value in values.items()})
        except (TypeError, ValueError) as error:
            raise FormatError(f"calibration: {error}") from None


def window_scores(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the probability that a window holds an object's centre, of the logits' shape, in [0, 1]."""
    return _scores(logits, calibration.window_temperature, calibration.window_bias)


def detection_scores(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the probability that a merged detection is an object, of the logits' shape, in [0, 1]."""
    return _scores(logits, calibration.detection_temperature, calibration.detection_bias)


def detection_logits(scores: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Return the raw logits at which detections reach `scores`: the inverse of `detection_scores`.

    Scores of 0 and 1 give minus and plus infinity.
    """
    scores = np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(scores) - np.log1p(-scores)
    return np.asarray((logits - calibration.detection_bias) * calibration.detection_temperature, np.float64)


def _scores(logits: ArrayLike, temperature: float, bias: float) -> NDArray[np.float64]:
    return np.asarray(expit(np.asarray(logits, np.float64) / temperature + bias), np.float64)
