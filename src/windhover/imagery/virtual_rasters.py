"""Rasters made of others without copying a pixel: bands stacked from several files, and a window of
a larger raster.

Writes GDAL's virtual format, which any GIS opens too. Bands keep their name, colour, nodata value
and mask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags

from windhover.errors import DataError
from windhover.geometry.windows import Window
from windhover.imagery.rasters import SceneInfo, opened

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
COLORS = {
    ColorInterp.red: "Red",
    ColorInterp.green: "Green",
    ColorInterp.blue: "Blue",
    ColorInterp.alpha: "Alpha",
}


def write_stack(sources: Mapping[str, Path], target: Path, final: Path | None = None) -> None:
    """Write a raster whose bands are the first bands of several files that lie on one grid.

    Args:
        sources: band name -> file, in the order of the bands.
        target: the file to write.
        final: where it will be moved to, for relative paths; `target` itself when None.

    Raises:
        DataError: the files differ in size, place, coordinate system or dtype.
    """
    root: ET.Element | None = None
    first: tuple[Any, ...] = ()
    for number, (name, path) in enumerate(sources.items(), 1):
        with opened(path) as dataset:
            grid = (
                dataset.width,
                dataset.height,
                dataset.crs,
                dataset.transform,
                dataset.dtypes[0],
            )
            if root is None:
                root, first = (
                    _root(dataset.width, dataset.height, dataset.crs, dataset.transform),
                    grid,
                )
            if grid != first:
                raise DataError(
                    f"{path}: lies on another grid than {next(iter(sources.values()))} (size, place, "
                    "system or dtype differ), "
                    "so they cannot be bands of one scene. Warp it onto that grid with gdalwarp."
                )
            whole = Window(0, 0, dataset.height, dataset.width)
            _band(root, dataset, 1, number, name, _relative(path, final or target), whole)
    if root is not None:
        target.write_bytes(ET.tostring(root))


def write_window(
    info: SceneInfo,
    window: Window,
    target: Path,
    final: Path | None = None,
    now: Path | None = None,
) -> None:
    """Write a raster that is a window of another, with its georeference.

    Args:
        info: the other raster.
        window: in its px.
        target: the file to write.
        final: where it will be moved to, for relative paths; `target` itself when None.
        now: where the other raster is before it is moved to its path; its path when None.
    """
    with opened(now or info.path) as dataset:
        moved = dataset.transform @ Affine.translation(window.col, window.row)
        placed = moved if dataset.crs is not None else None
        root = _root(window.width, window.height, dataset.crs, placed)
        source = (
            _relative(Path(info.path), final or target)
            if "://" not in info.path
            else (info.path, "0")
        )
        for index in dataset.indexes:
            _band(
                root, dataset, index, index, dataset.descriptions[index - 1] or "", source, window
            )
        if (
            MaskFlags.per_dataset in dataset.mask_flag_enums[0]
            and ColorInterp.alpha not in dataset.colorinterp
        ):
            _mask(root, source, window)
    target.write_bytes(ET.tostring(root))


def _root(width: int, height: int, crs: Any, transform: Affine | None) -> ET.Element:
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if crs is not None:
        ET.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = crs.to_wkt()
    if transform is not None:
        ET.SubElement(root, "GeoTransform").text = ", ".join(
            repr(float(value)) for value in transform.to_gdal()
        )
    return root


def _band(
    root: ET.Element,
    dataset: Any,
    index: int,
    number: int,
    name: str,
    source: tuple[str, str],
    window: Window,
) -> None:
    dtype = dataset.dtypes[index - 1]
    band = ET.SubElement(
        root, "VRTRasterBand", dataType=GDAL_TYPES.get(dtype, dtype), band=str(number)
    )
    if name:
        ET.SubElement(band, "Description").text = name
    color = COLORS.get(dataset.colorinterp[index - 1])
    if color:
        ET.SubElement(band, "ColorInterp").text = color
    nodata = dataset.nodatavals[index - 1]
    if nodata is not None:
        ET.SubElement(band, "NoDataValue").text = repr(nodata)
    _source(band, source, str(index), window)


def _mask(root: ET.Element, source: tuple[str, str], window: Window) -> None:
    band = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    _source(band, source, "mask,1", window)


def _source(band: ET.Element, source: tuple[str, str], index: str, window: Window) -> None:
    simple = ET.SubElement(band, "SimpleSource")
    ET.SubElement(simple, "SourceFilename", relativeToVRT=source[1]).text = source[0]
    ET.SubElement(simple, "SourceBand").text = index
    size: dict[str, Any] = {"xSize": str(window.width), "ySize": str(window.height)}
    ET.SubElement(simple, "SrcRect", xOff=str(window.col), yOff=str(window.row), **size)
    ET.SubElement(simple, "DstRect", xOff="0", yOff="0", **size)


def _relative(path: Path, target: Path) -> tuple[str, str]:
    """Return a file's name as seen from the virtual raster where both are in the project, else its
    absolute path.
    """
    root, absolute = Path.cwd(), path.absolute()
    if absolute.is_relative_to(root) and target.absolute().is_relative_to(root):
        return os.path.relpath(absolute, target.absolute().parent), "1"
    return str(absolute), "0"
