"""Rasters made of others without copying a pixel: stacked bands, and a window of a larger raster.

Writes GDAL's virtual format, which any GIS opens too. Bands keep their name, color, nodata value
and mask.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags

from windhover.errors import DataError
from windhover.geometry.windows import Window
from windhover.imagery.rasters import SceneInfo, open_raster

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
# flags of bands without a mask of their own
SHARED_OR_NO_MASK = {MaskFlags.all_valid, MaskFlags.per_dataset, MaskFlags.nodata}
COLOR_NAMES = {
    ColorInterp.red: "Red",
    ColorInterp.green: "Green",
    ColorInterp.blue: "Blue",
    ColorInterp.alpha: "Alpha",
}


class SourceFile(NamedTuple):
    """A file as a virtual raster names it."""

    name: str
    is_relative: bool  # to the virtual raster

    @classmethod
    def of(cls, path: Path, target: Path) -> SourceFile:
        """Return a relative name where both files are in the project, else an absolute one."""
        project = Path.cwd()
        absolute = path.absolute()
        if absolute.is_relative_to(project) and target.absolute().is_relative_to(project):
            return cls(os.path.relpath(absolute, target.absolute().parent), True)
        return cls(str(absolute), False)


class BandOfFile(NamedTuple):
    """A band of a raster, which becomes a band of a stack."""

    path: str  # or address
    number: int  # from 1


def write_stack(sources: Mapping[str, Path], target: Path, final: Path | None = None) -> None:
    """Write a raster whose bands are the first bands of several files of one grid.

    Args:
        sources: band name -> file, in the order of the bands.
        target: the file to write.
        final: where it will be moved to, for relative paths; `target` itself when None.

    Raises:
        DataError: the files differ in size, place, coordinate system or dtype.
    """
    if sources:
        bands = {name: BandOfFile(str(path), 1) for name, path in sources.items()}
        target.write_bytes(stack_content(bands, final or target))


def stack_content(sources: Mapping[str, BandOfFile], target: Path | None = None) -> bytes:
    """Return a virtual raster whose bands are those of several rasters of one grid.

    Args:
        sources: by name of the band, in the order of the bands; at least one.
        target: where it will be, for relative paths; None for names that hold everywhere.

    Raises:
        DataError: the rasters differ in size, place, coordinate system or dtype.
    """
    root: ET.Element | None = None
    first_grid: tuple[Any, ...] = ()
    for number, (name, (path, index)) in enumerate(sources.items(), 1):
        with open_raster(path) as dataset:
            grid = (
                dataset.width,
                dataset.height,
                dataset.crs,
                dataset.transform,
                dataset.dtypes[index - 1],
            )
            if root is None:
                root = _vrt_root(dataset, (dataset.height, dataset.width), dataset.transform)
                first_grid = grid
            if grid != first_grid:
                first_path = next(iter(sources.values())).path
                raise DataError(
                    f"{path}: is on another grid than {first_path} (size, place, "
                    "system or dtype differ), so they cannot be bands of one scene. "
                    "Warp it onto that grid with gdalwarp."
                )
            band = _add_band(root, dataset, index, number=number, name=name)
            window = Window(0, 0, dataset.height, dataset.width)
            source = _source_file(path, target)
            _add_source(band, source, str(index), window=window)
            mask_band = _mask_of_band(dataset, index)
            if mask_band is not None:
                _add_mask(band, source, mask_band, window=window)
    assert root is not None  # there is a source
    return ET.tostring(root)


def _source_file(path: str, target: Path | None) -> SourceFile:
    """Return a raster as a virtual raster at `target` names it; addresses as GDAL reads them."""
    scheme, separator, rest = path.partition("://")
    if separator:
        name = f"/vsis3/{rest}" if scheme.lower() == "s3" else f"/vsicurl/{path}"
        return SourceFile(name, False)
    if target is None:
        return SourceFile(str(Path(path).absolute()), False)
    return SourceFile.of(Path(path), target)


def write_window(
    info: SceneInfo,
    window: Window,
    target: Path,
    *,
    final: Path | None = None,
    current_path: Path | None = None,
) -> None:
    """Write a raster that is a window of another, with its georeference.

    Args:
        info: the other raster.
        window: in its px.
        target: the file to write.
        final: where it will be moved to, for relative paths; `target` itself when None.
        current_path: where the other raster is before it is moved to its path; its path when None.
    """
    if "://" in info.path:
        source = SourceFile(info.path, False)
    else:
        source = SourceFile.of(Path(info.path), final or target)
    with open_raster(current_path or info.path) as dataset:
        transform = None
        if dataset.crs is not None:
            transform = dataset.transform @ Affine.translation(window.col, window.row)
        root = _vrt_root(dataset, (window.height, window.width), transform)
        for index in dataset.indexes:
            name = dataset.descriptions[index - 1] or ""
            band = _add_band(root, dataset, index, number=index, name=name)
            _add_source(band, source, str(index), window=window)
            if not set(dataset.mask_flag_enums[index - 1]) & SHARED_OR_NO_MASK:
                _add_mask(band, source, f"mask,{index}", window=window)
        if _has_mask(dataset):
            _add_mask(root, source, "mask,1", window=window)
    target.write_bytes(ET.tostring(root))


def _mask_of_band(dataset: Any, index: int) -> str | None:
    """Return what masks one band of a file, as a virtual raster names it; None for nothing."""
    flags = set(dataset.mask_flag_enums[index - 1])
    if not flags & {MaskFlags.all_valid, MaskFlags.nodata}:
        return f"mask,{index}"
    if ColorInterp.alpha in dataset.colorinterp:
        return str(dataset.colorinterp.index(ColorInterp.alpha) + 1)
    return None


def _add_mask(parent: ET.Element, source: SourceFile, index: str, *, window: Window) -> None:
    """Give a band, or all bands, the mask of a file."""
    mask = ET.SubElement(ET.SubElement(parent, "MaskBand"), "VRTRasterBand", dataType="Byte")
    _add_source(mask, source, index, window=window)


def _has_mask(dataset: Any) -> bool:
    """Return whether a raster has a mask for all its bands that is no alpha band."""
    has_shared_mask = MaskFlags.per_dataset in dataset.mask_flag_enums[0]
    return has_shared_mask and ColorInterp.alpha not in dataset.colorinterp


def _vrt_root(dataset: Any, shape_hw: tuple[int, int], transform: Affine | None) -> ET.Element:
    height, width = shape_hw
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if dataset.crs is not None:
        system = ET.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2")
        system.text = dataset.crs.to_wkt()
    if transform is not None:
        numbers = [repr(float(value)) for value in transform.to_gdal()]
        ET.SubElement(root, "GeoTransform").text = ", ".join(numbers)
    return root


def _add_band(root: ET.Element, dataset: Any, index: int, *, number: int, name: str) -> ET.Element:
    """Add a band of a number and name that is described as band `index` of a dataset is."""
    dtype = dataset.dtypes[index - 1]
    data_type = GDAL_TYPES.get(dtype, dtype)
    band = ET.SubElement(root, "VRTRasterBand", dataType=data_type, band=str(number))
    if name:
        ET.SubElement(band, "Description").text = name
    color = COLOR_NAMES.get(dataset.colorinterp[index - 1])
    if color:
        ET.SubElement(band, "ColorInterp").text = color
    nodata = dataset.nodatavals[index - 1]
    if nodata is not None:
        ET.SubElement(band, "NoDataValue").text = repr(nodata)
    return band


def _add_source(band: ET.Element, source: SourceFile, index: str, *, window: Window) -> None:
    """Let a band be a window of the band `index` of a file."""
    simple = ET.SubElement(band, "SimpleSource")
    relative = "1" if source.is_relative else "0"
    ET.SubElement(simple, "SourceFilename", relativeToVRT=relative).text = source.name
    ET.SubElement(simple, "SourceBand").text = index
    size: dict[str, Any] = {"xSize": str(window.width), "ySize": str(window.height)}
    ET.SubElement(simple, "SrcRect", xOff=str(window.col), yOff=str(window.row), **size)
    ET.SubElement(simple, "DstRect", xOff="0", yOff="0", **size)
