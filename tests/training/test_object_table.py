"""Tables of objects: an index becomes numbers, objects come back, classes are counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from windhover.errors import DataError
from windhover.geometry.objects import Objects, Role
from windhover.training.object_table import (
    CLASS,
    IGNORED,
    PAD,
    count_classes,
    objects_of_table,
    pad_tables,
    table_of_objects,
    table_of_patches,
)


def test_the_index_becomes_numbers_and_unknown_classes_are_errors() -> None:
    index = pd.DataFrame(
        {"class": ["ship", ""], "dx_px": [1.0, np.nan], "dy_px": 0.0, "w_px": 2.0, "h_px": 3.0}
    )
    table = table_of_patches(index, ["plane", "ship"])
    assert table[:, CLASS].tolist() == [1, PAD]
    assert table[0, 1:].tolist() == [1.0, 0.0, 2.0, 3.0]
    assert count_classes(table, 2) == (1, 0, 1)
    with pytest.raises(DataError, match="patches name class 'ship'"):
        table_of_patches(index, ["plane"])


def test_objects_come_back_from_a_padded_table() -> None:
    objects = Objects(
        np.array([[3.0, 4.5], [7.0, 8.0]]),
        np.array([[5.0, 6.0], [np.nan, np.nan]]),
        np.array([2, -1]),
        np.array([Role.OBJECT, Role.IGNORE], np.int8),
    )
    padded = pad_tables([table_of_objects(objects), np.zeros((3, 5), np.float32)])
    assert padded.shape == (2, 3, 5)
    assert padded[0, :, CLASS].tolist() == [2, IGNORED, PAD]
    again = objects_of_table(padded[0])
    assert np.array_equal(again.centers_xy, objects.centers_xy)
    assert np.array_equal(again.sizes_wh, objects.sizes_wh, equal_nan=True)
    assert again.is_ignored.tolist() == [False, True]
    assert again.class_index[0] == 2
