"""Where a raster lies: its transform, coordinate system and GSD, or a local grid without a place.

Placements that could only be read wrongly (ground control points, RPC models, px that cannot be)
raise an error of one sentence that ends with what to do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from affine import Affine

from windhover.errors import DataError, FormatError, ParameterError, UnsupportedError
from windhover.geometry import georef

ASSIGN_CRS = "name the system of its transform: gdal_translate -of VRT -a_srs EPSG:... IN OUT.vrt"
# metres a px: finer and coarser ones are degrees taken for metres, or slips
MIN_GSD_M = 1e-3
MAX_GSD_M = 1e5


class Georeference(NamedTuple):
    """Where a raster is.

    Attributes:
        crs: coordinate system, None for a local grid in metres.
        transform: native px -> map.
        notes: sentences for the user.
    """

    crs: str | None
    transform: Affine
    notes: tuple[str, ...] = ()


def read_georeference(dataset: Any, path: str, native_gsd_m: float | None) -> Georeference:
    """Return a raster's georeference, a local grid where it has none.

    Raises:
        UnsupportedError: it is placed by ground control points or by an RPC model.
        DataError: it has none and no `native_gsd_m` is given.
        ParameterError: `native_gsd_m` is not positive.
    """
    has_transform = dataset.transform != Affine.identity()
    if dataset.crs is not None and georef.is_engineering(str(dataset.crs.to_wkt())):
        return _engineering_grid(dataset, path, native_gsd_m)
    if dataset.crs is not None and has_transform:
        notes: tuple[str, ...] = ()
        if native_gsd_m is not None:
            notes = ("the stated GSD is not used: the raster has a georeference",)
        return Georeference(_crs_text(dataset), dataset.transform, notes)
    if dataset.gcps[0]:
        raise UnsupportedError(
            f"{path}: is placed by {len(dataset.gcps[0])} ground control points, not by an affine. "
            "Warp it first: gdalwarp -r bilinear IN OUT.tif."
        )
    if dataset.rpcs is not None:
        raise UnsupportedError(
            f"{path}: is placed by an RPC model, not by an affine. Orthorectify it first: gdalwarp "
            "-rpc -r bilinear IN OUT.tif."
        )
    return _local_grid(path, native_gsd_m, has_transform=has_transform)


def _engineering_grid(dataset: Any, path: str, native_gsd_m: float | None) -> Georeference:
    """Return the local grid of a raster whose system has no place on Earth.

    Raises:
        DataError: no `native_gsd_m` is given.
        ParameterError: it is out of range.
    """
    if native_gsd_m is None:
        raise DataError(
            f"{path}: its coordinate system is a local one (LOCAL_CS, an engineering system) "
            "without a place on Earth, so it cannot be reprojected. State its metres per pixel "
            f"(`scenes.native_gsd_m`, or --gsd) to read it in a grid of its own; or {ASSIGN_CRS}."
        )
    grid = _local_grid(path, native_gsd_m, has_transform=False)
    return grid._replace(
        notes=("its coordinate system has no place on Earth: a local grid is used",)
    )


def _local_grid(path: str, native_gsd_m: float | None, *, has_transform: bool) -> Georeference:
    """Return the local grid of a raster without georeference.

    Raises:
        DataError: no `native_gsd_m` is given.
        ParameterError: it is not positive.
    """
    if native_gsd_m is None:
        hint = f" Or {ASSIGN_CRS}." if has_transform else ""
        raise DataError(
            f"{path}: has no georeference and no GSD is stated. State its metres per pixel "
            f"(`scenes.native_gsd_m`, or --gsd).{hint}"
        )
    if not (math.isfinite(native_gsd_m) and native_gsd_m > 0):
        raise ParameterError(
            f"The stated GSD must be positive, got {native_gsd_m} m. Give metres per pixel."
        )
    if not MIN_GSD_M <= native_gsd_m <= MAX_GSD_M:
        raise ParameterError(
            f"The stated GSD must be in {MIN_GSD_M:g}..{MAX_GSD_M:g} m, got {native_gsd_m:g} m. "
            "Give metres per pixel."
        )
    notes: tuple[str, ...] = ()
    if has_transform:
        note = (
            "a transform without coordinate system: a local grid is used. "
            f"To keep its place, {ASSIGN_CRS}"
        )
        notes = (note,)
    return Georeference(None, georef.local_transform(native_gsd_m), notes)


def check_gsd(
    path: str, georeference: Georeference, shape_hw: tuple[int, int]
) -> tuple[float, float]:
    """Return metres per px of a raster that is on Earth or in a local grid.

    Raises:
        DataError: it is nowhere: beyond a pole, not finite, or in a system without longitude and
            latitude.
        FormatError: PROJ does not know its system.
    """
    crs, transform, _ = georeference
    try:
        gsd_m = georef.gsd_m(transform, crs, shape_hw)
        georef.footprint_4326(transform, crs, shape_hw)
    except (DataError, FormatError) as error:
        raise type(error)(f"{path}: {error}") from None
    if not MIN_GSD_M <= min(gsd_m) <= max(gsd_m) <= MAX_GSD_M:
        size = " x ".join(f"{value:.3g}" for value in dict.fromkeys(gsd_m))
        raise DataError(
            f"{path}: a px of {size} m cannot be, {MIN_GSD_M:g} to {MAX_GSD_M:g} m can. "
            f"{_gsd_advice(transform, crs)}"
        )
    return gsd_m


def _gsd_advice(transform: Affine, crs: str | None) -> str:
    """Return what to do about a px of an impossible size."""
    is_lonlat = abs(transform.c) <= 360 and abs(transform.f) <= 90
    if crs is not None and not georef.is_geographic(crs) and is_lonlat:
        return (
            f"Its numbers look like degrees, and its coordinate system {crs[:40]} is in metres: "
            "name the right one, such as gdal_edit.py -a_srs EPSG:4326."
        )
    return "Correct its georeference."


def _crs_text(dataset: Any) -> str:
    """Return `EPSG:code` where the raster's system is exactly that one, WKT otherwise."""
    authority = dataset.crs.to_authority(confidence_threshold=100)
    return ":".join(authority) if authority is not None else str(dataset.crs.to_wkt())
