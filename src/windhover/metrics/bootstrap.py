"""Uncertainty by drawing groups (places or scenes) with replacement: weights of the draws, and the
intervals they give.

Objects of one scene share its light and its sensor, so scenes are drawn, never single objects
(cluster bootstrap, Davison and Hinkley 1997, sec. 3.8). Refuses to say what a figure is: callers
compute it under each draw's weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
PLACES_ENOUGH = 10  # below this many places, scenes are drawn instead
CELLS_AT_ONCE = 4_000_000  # of a draws' table: bounds memory to a few hundred MB


def draw_weights(n_groups: int, draws: int, seed: int) -> Floats:
    """Return (n_groups, draws): how often each group is drawn when as many are drawn as there are."""
    rng = np.random.default_rng(seed)
    if not n_groups:
        return np.zeros((0, draws))
    return rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=draws).T.astype(
        np.float64
    )


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile interval of the drawn values; None with fewer than two that are
    defined.
    """
    drawn = np.asarray(values, np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2:
        return None
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    figures: Callable[[Floats], dict[str, Floats]], weights: Floats, rows: int
) -> dict[str, Floats]:
    """Compute figures under every draw, as many draws at once as fit in memory.

    Args:
        figures: takes (G, d) weights, returns (d,) values by name.
        weights: (G, D) from `draw_weights`.
        rows: length of the tables that `figures` makes for a draw.

    Returns:
        (D,) values by name.
    """
    step = max(CELLS_AT_ONCE // max(rows, 1), 1)
    parts = [
        figures(weights[:, first : first + step]) for first in range(0, weights.shape[1], step)
    ]
    return {
        name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})
    }


def choose_groups(
    places: Sequence[str], scenes: Sequence[str]
) -> tuple[str, NDArray[np.int64], list[str]]:
    """Choose what is drawn: places where there are enough of them, else scenes.

    Args:
        places: place of each scene.
        scenes: name of each scene, in the same order.

    Returns:
        `places` or `scenes`, the (S,) group of each scene, and the groups' names.
    """
    kind, names = ("places", places) if len(set(places)) >= PLACES_ENOUGH else ("scenes", scenes)
    groups, index = np.unique(np.asarray(names, object).astype(str), return_inverse=True)
    return kind, index.astype(np.int64), [str(name) for name in groups]
