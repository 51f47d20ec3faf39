"""Loading training data: patches of one object count it once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from windhover.training import training_data


def test_patches_of_one_object_count_it_once() -> None:
    index = pd.DataFrame(
        {
            "scene": ["a", "a", "a", "b", "b", "b"],
            "class": ["x", "x", "x", "x", "x", ""],
            "gsd_m": 1.25,
            "left_px": [10, 14, 90, 10, 0, 0],
            "top_px": [10, 10, 10, 10, 0, 0],
            "dx_px": [4.0, 0.1, 4.0, 4.0, np.nan, np.nan],
            "dy_px": [0.0, 0.0, 0.0, 0.0, np.nan, np.nan],
        }
    )
    assert training_data.count_objects(index) == 4, (
        "two in a, one in b, and one whose place nobody knows"
    )
