"""The spatial grid of a collection: cells of one degree, each with its files along a Hilbert curve.

Folders are named as Hive names them (`cell=N48E002`), so that DuckDB, Spark, pyarrow and GDAL read
the cell as a column and open none that a query does not need.
"""

from __future__ import annotations

from typing import NamedTuple

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from windhover.geometry.arrays import Bools, Floats, Ints

CELL_DEG = 1.0
LOCAL_CELL = "local"  # of scenes without a place on Earth
EMPTY_CELL = "none"  # of a collection without objects, so that its columns can be read
HILBERT_LEVEL = 16
MAX_ROWS = 100_000  # of a file, so that one can be held in memory


class GridFile(NamedTuple):
    """A file of the grid.

    Attributes:
        cell: its name, such as N48E002: the corner in the south-west.
        number: of the file in the cell, from 0.
        rows: numbers of the objects in it, in their order.
    """

    cell: str
    number: int
    rows: Ints

    @property
    def path(self) -> str:
        """Path below the folder of objects."""
        return f"cell={self.cell}/part-{self.number:03d}.parquet"


def cell_names(lonlat: Floats, on_earth: Bools) -> NDArray[np.object_]:
    """Return the cell (N,) in which each place is.

    Args:
        lonlat: (N, 2) degrees.
        on_earth: (N,) where not, the cell is `LOCAL_CELL`.
    """
    names = np.full(len(lonlat), LOCAL_CELL, object)
    lon = np.clip(np.floor(lonlat[on_earth, 0] / CELL_DEG) * CELL_DEG, -180, 179).astype(int)
    lat = np.clip(np.floor(lonlat[on_earth, 1] / CELL_DEG) * CELL_DEG, -90, 89).astype(int)
    corners, index = np.unique(np.stack([lat, lon], axis=1), axis=0, return_inverse=True)
    texts = [
        f"{'N' if south >= 0 else 'S'}{abs(south):02d}{'E' if west >= 0 else 'W'}{abs(west):03d}"
        for south, west in corners.tolist()
    ]
    names[on_earth] = np.array(texts, object)[index.ravel()] if texts else []
    return names


def plan_files(lonlat: Floats, on_earth: Bools, ids: NDArray[np.bytes_]) -> list[GridFile]:
    """Return the files of a grid, by cell, their rows along a Hilbert curve.

    Args:
        lonlat: (N, 2) centres, degrees; x and y of local grids.
        on_earth: (N,) which are degrees.
        ids: (N,) which decide where places are the same.
    """
    if not len(lonlat):
        return [GridFile(EMPTY_CELL, 0, np.zeros(0, np.int64))]
    names = cell_names(lonlat, on_earth)
    files = []
    for cell in sorted(set(names.tolist())):
        rows = np.flatnonzero(names == cell)
        rows = rows[np.lexsort((ids[rows], _hilbert(lonlat[rows])))]
        for number, start in enumerate(range(0, len(rows), MAX_ROWS)):
            files.append(GridFile(cell, number, rows[start : start + MAX_ROWS]))
    return files


def _hilbert(lonlat: Floats) -> Ints:
    """Return how far along a Hilbert curve through a cell places (N, 2) are."""
    bounds = [*lonlat.min(axis=0), *lonlat.max(axis=0)]
    parts = [np.zeros(0, np.int64)]
    for start in range(0, len(lonlat), MAX_ROWS):  # a point is many times as large as its numbers
        series = geopandas.GeoSeries(shapely.points(lonlat[start : start + MAX_ROWS]))
        parts.append(series.hilbert_distance(total_bounds=bounds, level=HILBERT_LEVEL).to_numpy())
    return np.concatenate(parts).astype(np.int64)
