"""Shapes moved to another plane: by an affine, between coordinate systems, axes swapped."""

from __future__ import annotations

from functools import partial
from typing import Any

import shapely
from affine import Affine

from windhover.geometry.georef import pixel_to_world, transformer


def apply_affine(shapes: Any, transform: Affine) -> Any:
    """Return a shape, or shapes (N,), moved by an affine, such as from px to the world."""
    move = partial(pixel_to_world, transform)
    return shapely.transform(shapes, move, interleaved=False)  # type: ignore[arg-type]


def reproject(shapes: Any, source_crs: str, target_crs: str) -> Any:
    """Return a shape, or shapes (N,), in another coordinate system: its corners, not its edges.

    Raises:
        FormatError: a system is unknown.
        DataError: there is no way from one to the other.
    """
    project = transformer(source_crs, target_crs).transform
    return shapely.transform(shapes, project, interleaved=False)  # type: ignore[arg-type]


def swap_axes(shapes: Any) -> Any:
    """Return a shape, or shapes (N,), with x and y swapped."""
    return shapely.transform(shapes, lambda xy: xy[:, ::-1])
