"""Uncertainty by resampling places with replacement: weights of the resamples, and intervals.

One place is little evidence of another, so whole places are resampled, never single objects
(cluster bootstrap, Davison and Hinkley 1997, sec. 3.8). A resample is a weight for every
group. What a metric is, callers decide: they compute it under the weights of each resample.

Places are few, and percentiles of a bootstrap over few groups are too narrow: the interval of a
difference is the estimate +- a Student quantile of n - 1 degrees of freedom times the standard
error over the places, sqrt(n / (n - 1)) wider than the bootstrap's (Hesterberg 2015; Cameron and
Miller 2015 on few clusters). Metrics have those of `windhover.metrics.place_intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from windhover.geometry.arrays import Floats

LEVEL = 0.95  # of intervals
# with fewer places than this there is no interval for new places
MIN_PLACES = 6
TOO_FEW_PLACES = "too few places for an interval"
# cells of a table over all resamples at once: bounds memory to a few hundred MB
MAX_CELLS = 4_000_000


class Estimate(NamedTuple):
    """A value and its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class BootstrapSample:
    """How the scenes are grouped for resampling, and the weights of the resamples.

    Attributes:
        unit: `places` or `scenes`.
        group: (S,) group of each scene, in 0..G-1.
        names: (G,) names of the groups.
        weights: (G, D) how often each group occurs in each of D resamples.
    """

    unit: str
    group: NDArray[np.int64]
    names: list[str]
    weights: Floats

    @property
    def has_enough_places(self) -> bool:
        """Whether intervals of the resamples hold for new places."""
        return self.unit == "places"


def resample(scenes: pd.DataFrame, n_bootstrap: int, seed: int) -> BootstrapSample:
    """Group scenes by place if there are enough places, and resample the groups.

    Resampled scenes show how much a threshold depends on the scenes that are there. They are too
    narrow for new places.

    Args:
        scenes: `scene` and `place`, one row per scene.
        n_bootstrap: number of resamples; none are made of a single group.
        seed: of the random numbers.
    """
    unit, group, names = resampling_groups(scenes["place"].tolist(), scenes["scene"].tolist())
    if len(names) <= 1:
        n_bootstrap = 0
    return BootstrapSample(unit, group, names, bootstrap_weights(len(names), n_bootstrap, seed))


def bootstrap_weights(n_groups: int, n_bootstrap: int, seed: int) -> Floats:
    """Return (n_groups, n_bootstrap): how often each group is in a resample of as many groups."""
    rng = np.random.default_rng(seed)
    if not n_groups:
        return np.zeros((0, n_bootstrap))
    equal_share = np.full(n_groups, 1.0 / n_groups)
    counts = rng.multinomial(n_groups, equal_share, size=n_bootstrap)
    return counts.T.astype(np.float64)


def percentile_interval(values: ArrayLike) -> tuple[float, float] | None:
    """Return the 95 % interval of resampled values (D,); None with fewer than two finite ones."""
    resampled = np.asarray(values, np.float64)
    resampled = resampled[np.isfinite(resampled)]
    if len(resampled) < 2:
        return None
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def standard_error(resampled: ArrayLike, n_groups: int) -> float | None:
    """Return the standard error over few groups; None if most resamples are undefined.

    Args:
        resampled: (D,) values, on the scale of the interval; NaN where undefined.
        n_groups: number of groups that were resampled.
    """
    values = np.asarray(resampled, np.float64)
    finite = values[np.isfinite(values)]
    if n_groups < 2 or len(finite) < max(2, len(values) / 2):
        return None
    return float(finite.std(ddof=1) * np.sqrt(n_groups / (n_groups - 1)))


def bootstrap_values(
    metrics: Callable[[Floats], dict[str, Floats]], weights: Floats, n_rows: int
) -> dict[str, Floats]:
    """Compute metrics under every resample, as many resamples at once as fit in memory.

    Args:
        metrics: takes (G, d) weights, returns (d,) values by name.
        weights: (G, D) from `bootstrap_weights`.
        n_rows: length of the tables that `metrics` makes for a resample.

    Returns:
        (D,) values by name; no name without resamples.
    """
    step = max(MAX_CELLS // max(n_rows, 1), 1)
    parts = [
        metrics(weights[:, first : first + step]) for first in range(0, weights.shape[1], step)
    ]
    if not parts:
        return {}
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def resampling_groups(
    places: Sequence[str], scenes: Sequence[str]
) -> tuple[str, NDArray[np.int64], list[str]]:
    """Choose what is resampled: places if there are enough of them, else scenes.

    Args:
        places: place of each scene.
        scenes: name of each scene, in the same order.

    Returns:
        `places` or `scenes`, the (S,) group of each scene, and the names of the groups.
    """
    if len(set(places)) >= MIN_PLACES:
        unit = "places"
        names = places
    else:
        unit = "scenes"
        names = scenes
    groups, index = np.unique(np.asarray(names, object).astype(str), return_inverse=True)
    return unit, index.astype(np.int64), [str(name) for name in groups]
