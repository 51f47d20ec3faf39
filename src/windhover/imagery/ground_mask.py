"""Which ground of a scene can be used, from a mask of any grid and system: of clouds, of snow, ...

The mask is read where the scene asks, its nearest pixel for each of the scene's, so memory does not
grow with either. What its values mean is given by the caller, or by the names that a class map of
Windhover carries. Ground beyond the mask, and its nodata, is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window as RasterWindow

from windhover.errors import DataError, ParameterError, UnsupportedError
from windhover.geometry.windows import Bounds
from windhover.imagery.rasters import open_raster

CLEAR = 0
MASKED = 1
UNKNOWN = 255
# tag of a class map's band that names a value
CLASS_TAG = "class_"
# parts of the names of classes under which objects cannot be seen
UNUSABLE_WORDS = ("cloud", "cirrus", "shadow", "haze", "fog", "smoke", "snow", "ice")


class MaskGrid(NamedTuple):
    """The grid on which a mask is read.

    Attributes:
        path: of the scene's raster.
        crs: coordinate system, None for a local grid in metres.
        transform: px -> map.
        shape_hw: rows and columns.
    """

    path: str
    crs: str | None
    transform: Affine
    shape_hw: tuple[int, int]


@dataclass(frozen=True)
class GroundMask:
    """A mask in a file, and which of its values stand for ground that cannot be used.

    Attributes:
        path: of the raster.
        values: that stand for unusable ground; None for all but 0.
    """

    path: str
    values: frozenset[int] | None = None

    @contextmanager
    def on_grid(self, grid: MaskGrid) -> Iterator[SceneMask]:
        """Open the mask on the grid of a scene.

        Raises:
            MissingFileError: no such file.
            FormatError: GDAL cannot open it.
            UnsupportedError: it has several bands.
            ParameterError: a value that it cannot hold stands for unusable ground.
            DataError: the mask covers no part of the scene, or only one of them is georeferenced.
        """
        with ExitStack() as stack:
            dataset = stack.enter_context(open_raster(self.path))
            _check_bands(dataset, self.path)
            _check_values(dataset, self.path, self.values)
            if (dataset.crs is None) != (grid.crs is None):
                raise DataError(_only_one_placed(self.path, grid))
            to_mask = None
            if grid.crs is None:
                to_mask = _local_px(dataset, self.path, grid)
            if not _overlaps(dataset, grid, to_mask):
                raise DataError(
                    f"{self.path}: covers no part of {grid.path}, so it is not known which ground "
                    "is clear. Name the mask of that scene."
                )
            if to_mask is None:
                dataset = stack.enter_context(_warped(dataset, grid))
            yield SceneMask(dataset, grid.shape_hw, self.values, to_mask=to_mask)


class SceneMask:
    """A mask on the grid of one scene."""

    def __init__(
        self,
        dataset: Any,
        shape_hw: tuple[int, int],
        values: frozenset[int] | None,
        *,
        to_mask: Affine | None = None,
    ) -> None:
        """Take an open raster.

        Args:
            dataset: on the scene's grid, or any with `to_mask`.
            shape_hw: of the scene's grid.
            values: that stand for unusable ground; None for all but 0.
            to_mask: scene px -> px of the dataset; None where they are the same.
        """
        self._dataset = dataset
        self._shape_hw = shape_hw
        self._values = None if values is None else np.asarray(sorted(values))
        self._to_mask = to_mask

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return which px of a block of the scene are clear, masked or not known.

        Args:
            row: first row, px of the scene's grid.
            col: first column.
            height: rows.
            width: columns.

        Returns:
            (height, width) of `CLEAR`, `MASKED` and `UNKNOWN`.
        """
        bounds = Bounds(row, row + height, left=col, right=col + width)
        states = np.full((height, width), UNKNOWN, np.uint8)
        inside = bounds.clipped(self._shape_hw)
        if inside.is_empty:
            return states
        states[inside.slices(row, col)] = self._read_inside(inside)
        return states

    def _read_inside(self, bounds: Bounds) -> NDArray[np.uint8]:
        if self._to_mask is None:
            return self._states(RasterWindow.from_slices(*bounds.slices()))
        rows, cols = np.mgrid[bounds.top : bounds.bottom, bounds.left : bounds.right]
        mask_cols, mask_rows = self._to_mask @ (cols.ravel() + 0.5, rows.ravel() + 0.5)
        index = np.floor(np.stack([mask_rows, mask_cols])).astype(np.int64)
        limits = np.array([[self._dataset.height], [self._dataset.width]])
        is_inside = ((index >= 0) & (index < limits)).all(axis=0)
        states = np.full(rows.size, UNKNOWN, np.uint8)
        if is_inside.any():
            top, left = index[:, is_inside].min(axis=1)
            bottom, right = index[:, is_inside].max(axis=1) + 1
            part = self._states(RasterWindow(left, top, right - left, bottom - top))
            states[is_inside] = part[index[0, is_inside] - top, index[1, is_inside] - left]
        return states.reshape(rows.shape)

    def _states(self, window: RasterWindow) -> NDArray[np.uint8]:
        """Return the states of a window of the dataset."""
        values = self._dataset.read(1, window=window)
        known = self._dataset.dataset_mask(window=window) > 0
        if values.dtype.kind == "f":
            known &= np.isfinite(values)
        if self._values is None:
            is_masked = values != 0
        else:
            is_masked = np.isin(values, self._values)
        return np.where(known, np.where(is_masked, MASKED, CLEAR), UNKNOWN).astype(np.uint8)


def parse_mask_values(path: str, texts: Sequence[str] | None) -> frozenset[int] | None:
    """Return the values of a mask that stand for unusable ground; None for all but 0.

    Args:
        path: of the raster.
        texts: whole numbers, or names of classes of a class map of Windhover; None for its classes
            of cloud, shadow, snow and the like, or for all but 0 of any other raster.

    Raises:
        ParameterError: a text is neither a whole number nor the name of a class.
    """
    names = class_names(path)
    if texts is None:
        return _unusable_classes(names) if names else None
    value_of = {name: value for value, name in names.items()}
    values = set()
    for text in texts:
        if text in value_of:
            values.add(value_of[text])
            continue
        try:
            values.add(int(text))
        except ValueError:
            classes = f" or classes ({', '.join(value_of)})" if names else ""
            raise ParameterError(
                f"--mask-values must be whole numbers{classes} with commas between, got {text!r}. "
                f"Name values of {path}."
            ) from None
    return frozenset(values)


def class_names(path: str | Path) -> dict[int, str]:
    """Return the names of the values of a class map; empty of another raster."""
    with open_raster(path) as dataset:
        tags = dataset.tags(1)
        nodata = dataset.nodata
    names = {}
    for key, name in tags.items():
        number = key.removeprefix(CLASS_TAG)
        if key.startswith(CLASS_TAG) and number.isdigit() and int(number) != nodata:
            names[int(number)] = name
    return names


def _unusable_classes(names: dict[int, str]) -> frozenset[int]:
    """Return the values whose names are those of clouds and the like; all but 0 if none is."""
    unusable = set()
    for value, name in names.items():
        if any(word in name.lower() for word in UNUSABLE_WORDS):
            unusable.add(value)
    return frozenset(unusable or set(names) - {0})


def _check_bands(dataset: Any, path: str) -> None:
    """Raise if a mask has several bands.

    Raises:
        UnsupportedError: it has.
    """
    n_bands = sum(color != ColorInterp.alpha for color in dataset.colorinterp)
    if n_bands != 1:
        raise UnsupportedError(
            f"{path}: a mask must have one band, got {n_bands}. Extract the one that is meant: "
            "gdal_translate -b."
        )


def _check_values(dataset: Any, path: str, values: frozenset[int] | None) -> None:
    """Raise if a value that stands for unusable ground cannot be in a mask.

    Raises:
        ParameterError: its dtype does not hold the value.
    """
    dtype = np.dtype(dataset.dtypes[0])
    if values is None or dtype.kind not in "ui":
        return
    limits = np.iinfo(dtype)
    for value in sorted(values):
        if not limits.min <= value <= limits.max:
            raise ParameterError(
                f"--mask-values {value}: {path} holds {dtype}, {limits.min} to {limits.max}. Name "
                "values that it holds."
            )


def _only_one_placed(path: str, grid: MaskGrid) -> str:
    """Return a sentence on a mask and a scene of which one alone has a place on Earth."""
    placed, local = path, grid.path
    if grid.crs is not None:
        placed, local = local, placed
    return (
        f"{path}: cannot be laid on {grid.path}: {placed} has a georeference and {local} has none. "
        "Give both in one system."
    )


def _warped(dataset: Any, grid: MaskGrid) -> WarpedVRT:
    """Return a mask on the grid of a scene, which has a place on Earth."""
    has_own_mask = dataset.nodata is not None or ColorInterp.alpha in dataset.colorinterp
    return WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.shape_hw[0],
        width=grid.shape_hw[1],
        resampling=Resampling.nearest,
        add_alpha=not has_own_mask,
    )


def _local_px(dataset: Any, path: str, grid: MaskGrid) -> Affine:
    """Return the map from scene px to px of a mask, both of local grids.

    A mask with a grid in metres of its own stands where that says; any other is of the same extent.

    Raises:
        DataError: its sides have another ratio than the scene's.
    """
    if not dataset.transform.almost_equals(Affine.identity()):
        to_mask: Affine = ~dataset.transform @ grid.transform
        return to_mask
    height, width = grid.shape_hw
    ratio_x = dataset.width / width
    ratio_y = dataset.height / height
    if abs(ratio_x / ratio_y - 1) > 2 / min(dataset.width, dataset.height, height, width):
        raise DataError(
            f"{path}: has {dataset.width} x {dataset.height} px and {grid.path} is seen in "
            f"{width} x {height}: without georeference both must show the same "
            "ground. Name the mask of that scene."
        )
    return Affine.scale(ratio_x, ratio_y)


def _overlaps(dataset: Any, grid: MaskGrid, to_mask: Affine | None) -> bool:
    """Return whether the extents of a mask and of a scene's grid meet."""
    height, width = grid.shape_hw
    to_place = grid.transform
    bounds = (0.0, 0.0, float(dataset.width), float(dataset.height))
    if to_mask is None:
        bounds = transform_bounds(dataset.crs, grid.crs, *dataset.bounds)
    else:
        to_place = to_mask
    left, top, right, bottom = bounds
    corners = [to_place @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    x, y = zip(*corners, strict=True)
    low, high = sorted((top, bottom))
    return bool(left < max(x) and right > min(x) and low < max(y) and high > min(y))
