"""In which order detections are worth a review, before some are drawn at random."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.special import logit

from windhover.errors import ParameterError
from windhover.geometry.arrays import Floats, Ints

Order = Literal["doubt", "diverse", "false-alarms", "grid", "random"]
ORDERS: tuple[str, ...] = get_args(Order)
SCORE_MARGIN = 1e-6  # from 0 and 1


def check_order(order: str) -> None:
    """Check the name of an order.

    Raises:
        ParameterError: there is no such order.
    """
    if order not in ORDERS:
        raise ParameterError(f"--order must be {', '.join(ORDERS)}, got {order!r}. Choose one.")


def order_by_doubt(scores: Floats, thresholds: Floats) -> Ints:
    """Return the detections (N,), those nearest to the operating point in front, in logits.

    Args:
        scores: (N,) of the detections.
        thresholds: (N,) of their classes.
    """
    away = np.abs(_logits(scores) - _logits(thresholds))
    return np.argsort(away, kind="stable")


def order_by_false_alarms(scores: Floats) -> Ints:
    """Return the detections (N,), those that are most probably no object in front."""
    return np.argsort(scores, kind="stable")


def order_by_grid(scenes: Ints, centers: Floats, cell: Floats) -> Ints:
    """Return the detections (N,) as one walks over the ground: scene by scene, row by row.

    Every second row of cells is walked back, so that neighbors in the list are near one another.

    Args:
        scenes: (N,) number of the scene.
        centers: (N, 2) x, y, px.
        cell: (N,) side of a cell in the scene's px.
    """
    column, row = np.floor(centers / cell[:, None]).astype(np.int64).T
    column = np.where(row % 2 == 0, column, -column)
    return np.lexsort((centers[:, 0], column, row, scenes))


def order_by_variety(features: Floats, first: int, count: int) -> Ints:
    """Return the detections (N,), the first `count` far from one another in their features.

    Farthest-first traversal, a 2-approximation of k-center (Gonzalez 1985; for active learning
    Sener and Savarese 2018); the rest follows by its distance.

    Args:
        features: (N, F) of the detections.
        first: the one to begin with.
        count: number to choose so.
    """
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    nearest = np.full(len(features), np.inf)
    selected: list[int] = []
    following = first
    for _ in range(min(count, len(features))):
        selected.append(following)
        nearest = np.minimum(nearest, ((scaled - scaled[following]) ** 2).sum(axis=1))
        nearest[selected] = -1.0
        following = int(np.argmax(nearest))
    rest = np.argsort(-nearest, kind="stable")
    return np.array([*selected, *rest[: len(features) - len(selected)]], np.int64)


def _logits(scores: Floats) -> Floats:
    """Return the logits of scores, kept away from 0 and 1."""
    return np.asarray(logit(np.clip(scores, SCORE_MARGIN, 1 - SCORE_MARGIN)), np.float64)
