"""Objects of training images as rows of numbers: the columns, their codes, and the way there.

On the device a batch's objects are one float32 tensor, (B, 5) for patches or (B, M, 5) for large
patches. Its columns are named here, so that no other module counts them. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from windhover.errors import DataError
from windhover.geometry.objects import Objects, Role

if TYPE_CHECKING:
    import pandas as pd

# columns of a table of objects; positions and sizes in px
CLASS = 0  # index of the class, or one of the two codes below
X = 1  # of the center
Y = 2
WIDTH = 3  # NaN where unknown
HEIGHT = 4
N_COLUMNS = 5
CENTER_XY = slice(X, Y + 1)
SIZE_WH = slice(WIDTH, HEIGHT + 1)

# codes in the class column
PAD = -1.0  # no object: background, or filling up a table
IGNORED = -2.0  # an area in which background is not known

Table = NDArray[np.float32]


def table_of_objects(objects: Objects) -> Table:
    """Return objects as a float32 table (N, 5); the class of ignored ones is `IGNORED`."""
    table = np.empty((len(objects), N_COLUMNS), np.float32)
    table[:, CLASS] = np.where(objects.is_ignored, IGNORED, objects.class_index)
    table[:, CENTER_XY] = objects.centers_xy
    table[:, SIZE_WH] = objects.sizes_wh
    return table


def objects_of_table(table: Table) -> Objects:
    """Return the objects of a table (N, 5), those of the code `PAD` left out."""
    rows = table[table[:, CLASS] != PAD]
    is_ignored = rows[:, CLASS] == IGNORED
    return Objects(
        rows[:, CENTER_XY].astype(np.float64),
        rows[:, SIZE_WH].astype(np.float64),
        np.where(is_ignored, 0, rows[:, CLASS]).astype(np.int64),
        np.where(is_ignored, Role.IGNORE, Role.OBJECT).astype(np.int8),
    )


def round_to_float32(objects: Objects) -> Objects:
    """Return the objects with positions and sizes as a float32 table holds them."""
    return objects_of_table(table_of_objects(objects))


def pad_tables(tables: Sequence[Table]) -> Table:
    """Return tables of differing length as one (N, M, 5), filled with `PAD`."""
    longest = max((len(table) for table in tables), default=0)
    padded = np.full((len(tables), max(longest, 1), N_COLUMNS), PAD, np.float32)
    for number, table in enumerate(tables):
        padded[number, : len(table)] = table
    return padded


def table_of_patches(index: pd.DataFrame, classes: Sequence[str]) -> Table:
    """Return the object of each patch of an index, (N, 5): its class or `PAD` for background.

    Args:
        index: of the patches; center relative to the patch's and size in px, NaN where unknown.
        classes: names in the order of their index.

    Raises:
        DataError: the index names a class that the summary lacks.
    """
    names = index["class"].fillna("").to_numpy(dtype=object)
    unknown = sorted(set(names) - {"", *classes})
    if unknown:
        raise DataError(
            f"patches name class {unknown[0]!r}, their summary has {', '.join(classes)}. "
            "Cut the patches again."
        )
    table = np.empty((len(index), N_COLUMNS), np.float32)
    table[:, CLASS] = [classes.index(name) if name else PAD for name in names]
    table[:, CENTER_XY] = index[["dx_px", "dy_px"]].to_numpy(np.float32)
    table[:, SIZE_WH] = index[["w_px", "h_px"]].to_numpy(np.float32)
    return table


def count_classes(table: Table, n_classes: int) -> tuple[int, ...]:
    """Return how many patches of a table show background, then each class."""
    counts = np.bincount(table[:, CLASS].astype(np.int64) + 1, minlength=n_classes + 1)
    return tuple(counts.tolist())
