"""Numeric columns that grow part by part, each in one piece of memory.

A list of parts that is joined at the end is in memory twice for a moment; a piece that grows is
mapped anew by the system, without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class GrowingColumn:
    """One column (N,) or (N, K) of numbers or of bytes."""

    def __init__(self) -> None:
        """Begin without rows; the first part decides type and number of columns."""
        self._buffer = bytearray()
        self._dtype: np.dtype[Any] | None = None
        self._row_shape: tuple[int, ...] = ()

    def append(self, part: NDArray[Any]) -> None:
        """Add rows (N, ...) at the end; bytes become as wide as the widest part."""
        if self._dtype is None:
            self._dtype = part.dtype
            self._row_shape = part.shape[1:]
        if part.dtype.itemsize > self._dtype.itemsize:
            wider = self.take().astype(part.dtype)
            self._dtype = part.dtype
            self._row_shape = part.shape[1:]
            self._buffer += wider.tobytes()
        self._buffer += part.astype(self._dtype, copy=False).tobytes()

    def take(self) -> NDArray[Any]:
        """Return all rows, without a copy; the column is empty then."""
        buffer = self._buffer
        rows = np.frombuffer(buffer, self._dtype).reshape(-1, *self._row_shape)
        self._buffer = bytearray()
        self._dtype = None
        return rows
