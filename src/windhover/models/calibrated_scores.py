"""From logits to probabilities: the only place where a score is made.

Holds the calibration that `evaluate` fits and the two maps that use it: one for windows, one for
merged detections.
Refuses to fit anything: fitting belongs to `evaluate`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from windhover.errors import FormatError


@dataclass(frozen=True)
class Calibration:
    """Temperature and bias of `sigmoid(logit / temperature + bias)`, for windows and for merged
    detections.

    The window's bias carries the shift from the sampled prior to the true one (Saerens 2002; Elkan
    2001), of each class where there are several; the temperature is that of Guo 2017.
    """

    window_temperature: float = 1.0
    window_bias: float | tuple[float, ...] = 0.0
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
            if not np.isfinite(getattr(self, name)).all():
                raise FormatError(
                    f"calibration: `{name}` must be finite, got {getattr(self, name)}. Run evaluate again."
                )

    def of_class(self, index: int) -> Calibration:
        """Return that of one class alone."""
        bias = self.window_bias
        return replace(self, window_bias=bias[index]) if isinstance(bias, tuple) else self

    def to_json(self) -> dict[str, float | tuple[float, ...]]:
        """Return the numbers by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """Read the numbers.

        Raises:
            FormatError: a number is missing, unknown, or out of its range.
        """
        names = set(cls.__dataclass_fields__)
        if not isinstance(values, dict) or set(values) != names:
            raise FormatError(
                f"calibration: must hold exactly {', '.join(sorted(names))}. Run evaluate again."
            )
        try:
            numbers = {
                name: float(value)
                for name, value in values.items()
                if not isinstance(value, (list, tuple))
            }
            several = {name: tuple(map(float, values[name])) for name in set(values) - set(numbers)}
            if not set(several) <= {"window_bias"} or () in several.values():
                raise ValueError(
                    "`window_bias` alone may be a list, of a number for each class. Run evaluate again."
                )
            return cls(**numbers, **several)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise FormatError(f"calibration: {error}") from None


def window_scores(
    logits: ArrayLike, calibration: Calibration, class_axis: int = -1
) -> NDArray[np.float64]:
    """Return the probability that a window holds an object's centre, of the logits' shape, in [0,
    1].

    Args:
        logits: raw.
        calibration: of all classes, or of one (`of_class`).
        class_axis: along which the logits of the classes lie, where they have biases of their own.
    """
    bias = np.asarray(calibration.window_bias, np.float64)
    if bias.ndim:
        shape = [1] * np.ndim(logits)
        shape[class_axis] = len(bias)
        bias = bias.reshape(shape)
    return _scores(logits, calibration.window_temperature, bias)


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
    return np.asarray(
        (logits - calibration.detection_bias) * calibration.detection_temperature, np.float64
    )


def _scores(
    logits: ArrayLike, temperature: float, bias: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(expit(np.asarray(logits, np.float64) / temperature + bias), np.float64)
