"""The true prior: windows are counted where everything is labelled, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely

from windhover.dataset.label_rule import Objects, Rule, count_positive_windows


def test_the_true_prior_is_that_of_the_ground_where_all_is_labeled() -> None:
    objects = Objects(
        np.array([[100.0, 100.0], [300.0, 100.0]]), np.full((2, 2), 20.0), np.array(["a", "a"]), np.zeros((0, 4)),
        shapely.box(0, 0, 203, 240), shapely.box(0, 163, 500, 240),
    )  # fmt: skip
    rule = Rule(8.0, 15.0, "square")
    centers = np.stack(
        np.meshgrid(np.arange(32, 400 - 31, 8), np.arange(32, 240 - 31, 8)), axis=-1
    ).reshape(-1, 2)
    known = (centers[:, 0] < 203) & (centers[:, 1] < 163)
    near = (np.abs(centers - objects.centers[0]) <= 8).all(axis=1)
    counted = count_positive_windows((240, 400), objects, rule)
    assert counted == ((near & known).sum(), known.sum())
    assert counted[0] > 0
    nobody = replace(objects, centers=np.zeros((0, 2)))
    assert count_positive_windows((240, 400), nobody, rule) == (0, known.sum())
