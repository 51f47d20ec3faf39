"""Class maps written from what labels a scene: a class raster, or polygons of classes.

Checks that a class raster is on the grid of its scene and that all of its values are named.
Pixels without data, ignored ones and those outside of what is labeled become unknown.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.features
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterWindow

from windhover.dataset.class_maps import UNKNOWN
from windhover.dataset.label_coverage import LabelCoverage
from windhover.errors import DataError, FormatError
from windhover.files import atomic_file
from windhover.geometry import georef
from windhover.geometry.windows import Window
from windhover.imagery.rasters import SceneInfo
from windhover.imagery.scenes import Scene
from windhover.params.scenes import BACKGROUND, ScenesParams

STRIP_ROWS = 512  # of a scene that are in memory at once
TILE_PX = 256
GRID_TOLERANCE_PX = 0.05  # by which the corners of a class raster may be off
N_VALUES_SHOWN = 6


@dataclass(frozen=True)
class ClassLabels:
    """What labels one raster.

    Attributes:
        mask: its class raster; None for polygons.
        polygons: `class` and `geometry` in native px of the raster; None for a class raster.
    """

    mask: Path | None = None
    polygons: geopandas.GeoDataFrame | None = None


@dataclass(frozen=True)
class ClassNames:
    """The classes of a catalog, and what they are called in its labels.

    Attributes:
        names: sorted, without background.
        index_of: name in the labels -> index in a class map.
    """

    names: list[str]
    index_of: Mapping[str, int]

    @classmethod
    def of(cls, params: ScenesParams, in_polygons: Sequence[str]) -> ClassNames:
        """Return the classes that the parameters and the polygons name.

        Args:
            params: of the stage.
            in_polygons: names of classes in files of polygons.

        Raises:
            DataError: a class of the polygons is unknown, or there is no class at all.
        """
        known = set(params.classes) | set(params.ignore_classes)
        unknown = sorted(set(in_polygons) - known) if params.classes else []
        if unknown:
            raise DataError(
                f"The labels hold the class {unknown[0]!r}, which is neither in `scenes.classes` "
                f"nor in `scenes.ignore_classes` ({', '.join(sorted(known))}). Add it to one of "
                "them."
            )
        of_polygons = {name: params.classes.get(name, name) for name in in_polygons}
        names = sorted({*of_polygons.values(), *params.mask_values.values()} - {BACKGROUND})
        names = [name for name in names if name not in params.ignore_classes]
        if not names:
            raise DataError(
                "No class is named. Name the values of the class rasters in `scenes.mask_values`, "
                "such as {0: background, 1: cloud}."
            )
        index = {name: number for number, name in enumerate(names, 1)} | {BACKGROUND: 0}
        index_of = {name: index.get(own, UNKNOWN) for name, own in of_polygons.items()}
        return cls(names, index | index_of)


def value_table(params: ScenesParams, classes: ClassNames) -> dict[int, int]:
    """Return value of a class raster -> index in a class map."""
    table = {}
    for value, name in params.mask_values.items():
        table[value] = classes.index_of.get(name, UNKNOWN)  # of an ignored class
    return table | dict.fromkeys(params.mask_ignore, UNKNOWN)


def check_mask(path: Path, info: SceneInfo) -> None:
    """Check that a class raster is on the grid of its scene.

    Raises:
        FormatError: it cannot be read.
        DataError: it has several bands, no whole numbers, or another size, place or system.
    """
    with _open_mask(path) as dataset:
        if dataset.count != 1:
            raise DataError(
                f"{path}: a class raster has one band of class numbers, and this one has "
                f"{dataset.count}. Write the numbers of the classes into one band."
            )
        if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
            raise DataError(
                f"{path}: a class raster holds whole numbers, and this one {dataset.dtypes[0]}. "
                "Convert it: gdal_translate -ot Byte."
            )
        if dataset.shape != info.shape_hw:
            found = f"{dataset.width} x {dataset.height} px"
            raise DataError(
                f"{path}: has {found}, but its raster {info.path} has {info.width_px} x "
                f"{info.height_px} px. {_warp_advice(info)}"
            )
        _check_place(path, dataset, info)


def _warp_advice(info: SceneInfo) -> str:
    """Return how a class raster is brought onto the grid of its scene."""
    return (
        f"Bring it onto the grid of {Path(info.path).name}: gdalwarp -r near, with that raster's "
        "-te, -ts and -t_srs."
    )


def _check_place(path: Path, dataset: Any, info: SceneInfo) -> None:
    """Check place and system of a class raster that has a georeference.

    Raises:
        DataError: they are not those of its scene.
    """
    if dataset.crs is None or info.crs is None:
        return
    if not georef.same_crs(dataset.crs.to_wkt(), info.crs):
        named = dataset.crs.to_string()[:40]
        raise DataError(
            f"{path}: is in the system {named}, but its raster {info.path} is in "
            f"{info.crs[:40]}. {_warp_advice(info)}"
        )
    corners = np.array([[0, 0], [info.width_px, 0], [0, info.height_px]], np.float64)
    to_native = ~info.transform @ dataset.transform
    moved = np.array([to_native @ (x, y) for x, y in corners])
    shift = float(np.abs(moved - corners).max())
    if shift > GRID_TOLERANCE_PX:
        raise DataError(
            f"{path}: its corners are up to {shift:.3g} px off those of its raster {info.path}. "
            f"{_warp_advice(info)}"
        )


@contextmanager
def _open_mask(path: Path) -> Iterator[Any]:
    """Open a class raster; one with a palette gives its numbers.

    Raises:
        FormatError: it cannot be opened or read.
    """
    try:
        with warnings.catch_warnings():
            # a class raster without georeference lies on its scene
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                yield dataset
    except rasterio.errors.RasterioError as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: cannot be read ({reason}). Restore the file.") from None


class ClassMapWriter:
    """Writes the class maps of the scenes of one catalog."""

    def __init__(self, params: ScenesParams, classes: ClassNames) -> None:
        """Take the parameters of the stage and the classes."""
        self._classes = classes
        self._index_of_value = value_table(params, classes)

    def write(
        self, target: Path, info: SceneInfo, labels: ClassLabels, *, coverage: LabelCoverage
    ) -> NDArray[np.int64]:
        """Write the class map of a scene; return the px of background and of each class.

        Args:
            target: the GeoTIFF to write.
            info: of the scene; a spatial block knows where it is in its raster.
            labels: of the raster that the scene is, or is a block of.
            coverage: of the scene, native px.

        Raises:
            DataError: the class raster holds a value that is not named.
        """
        counts = np.zeros(len(self._classes.names) + 1, np.int64)
        profile = {
            "driver": "GTiff",
            "height": info.height_px,
            "width": info.width_px,
            "count": 1,
            "dtype": "uint8",
            "nodata": UNKNOWN,
            "crs": info.crs,
            "transform": info.transform,
            "tiled": True,
            "blockxsize": TILE_PX,
            "blockysize": TILE_PX,
            "compress": "DEFLATE",
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_file(target) as temporary,
            rasterio.open(temporary, "w", **profile) as out,
            Scene(info) as scene,
        ):
            for row in range(0, info.height_px, STRIP_ROWS):
                strip = Window(row, 0, min(STRIP_ROWS, info.height_px - row), info.width_px)
                classes = self._classes_of_strip(info, labels, strip)
                valid = scene.read(*strip).valid
                classes[~valid] = UNKNOWN
                _apply_coverage(classes, coverage, strip)
                out.write(classes, 1, window=_raster_window(strip))
                counts += np.bincount(classes.ravel(), minlength=UNKNOWN + 1)[: len(counts)]
        return counts

    def _classes_of_strip(
        self, info: SceneInfo, labels: ClassLabels, strip: Window
    ) -> NDArray[np.uint8]:
        """Return the classes of some rows of a scene."""
        col, row = info.origin_px
        in_raster = strip._replace(row=strip.row + row, col=strip.col + col)
        if labels.mask is not None:
            return self._read_mask(labels.mask, in_raster)
        return self._rasterize(labels.polygons, in_raster)

    def _read_mask(self, path: Path, window: Window) -> NDArray[np.uint8]:
        """Return the classes that a class raster holds in a window."""
        with _open_mask(path) as dataset:
            values = dataset.read(1, window=_raster_window(window))
            nodata = dataset.nodata
        classes = np.full(values.shape, UNKNOWN, np.uint8)
        found, inverse = np.unique(values, return_inverse=True)
        table = dict(self._index_of_value)
        if nodata is not None:
            table.setdefault(int(nodata), UNKNOWN)
        strange = [int(value) for value in found if int(value) not in table]
        if strange:
            shown = ", ".join(str(value) for value in strange[:N_VALUES_SHOWN])
            raise DataError(
                f"{path}: holds the value {shown}, which is neither in `scenes.mask_values` nor in "
                f"`scenes.mask_ignore` ({', '.join(map(str, sorted(table)))}). Name it in one of "
                "them."
            )
        index = np.array([table[int(value)] for value in found], np.uint8)
        classes[...] = index[inverse].reshape(values.shape)
        return classes

    def _rasterize(
        self, polygons: geopandas.GeoDataFrame | None, window: Window
    ) -> NDArray[np.uint8]:
        """Return the classes of polygons in a window: each px has the one over its middle.

        Of several polygons over a px, the smallest counts.
        """
        classes = np.zeros((window.height, window.width), np.uint8)
        if polygons is None or polygons.empty:
            return classes
        shapes = polygons["geometry"].to_numpy(object)
        order = np.argsort(-shapely.area(shapes), kind="stable")
        box = shapely.box(
            window.col, window.row, window.col + window.width, window.row + window.height
        )
        burnt = []
        for number in order:
            if shapely.intersects(shapes[number], box):
                name = polygons["class"].iloc[number]
                burnt.append((shapes[number], self._classes.index_of[name]))
        if burnt:
            rasterio.features.rasterize(
                burnt, out=classes, transform=Affine.translation(window.col, window.row)
            )
        return classes


def _raster_window(window: Window) -> RasterWindow:
    """Return a window as rasterio takes it."""
    return RasterWindow(window.col, window.row, window.width, window.height)


def _apply_coverage(classes: NDArray[np.uint8], coverage: LabelCoverage, strip: Window) -> None:
    """Make unknown, in place, what areas leave unknown of some rows of a scene.

    That is ground in `ignore` areas, outside of `complete` ones where there are any, and background
    in `positive_only` ones.
    """
    if coverage.is_whole_scene:
        return
    extent = shapely.box(strip.col, strip.row, strip.col + strip.width, strip.row + strip.height)
    transform = Affine.translation(strip.col, strip.row)
    unlabeled = _burn(coverage.unlabeled_region(extent), transform, classes.shape)
    positive_only = _burn(coverage.positive_only, transform, classes.shape)
    classes[unlabeled | (positive_only & (classes == 0))] = UNKNOWN


def _burn(shape: Any, transform: Affine, shape_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which px have their middle in a shape."""
    if shape.is_empty:
        return np.zeros(shape_hw, bool)
    burnt = rasterio.features.rasterize([(shape, 1)], out_shape=shape_hw, transform=transform)
    return np.asarray(burnt, bool)


def check_masks(masks: Mapping[str, Path], infos: Sequence[SceneInfo]) -> None:
    """Check that each class raster is on the grid of its scene.

    Raises:
        FormatError, DataError: of the first one that does not.
    """
    by_name = {info.name: info for info in infos}
    for scene, path in masks.items():
        check_mask(path, by_name[scene])
