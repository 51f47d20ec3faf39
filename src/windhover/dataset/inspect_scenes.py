"""The flow of `windhover inspect`: what rasters are, and whether they can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from windhover.dataset.catalog_report import PixelShares
from windhover.dataset.check_rasters import check_pixels
from windhover.dataset.discover import raster_paths
from windhover.errors import DataError, WindhoverError, shown_path
from windhover.imagery.rasters import SceneInfo, inspect_scene

CRS_CHARS = 40  # of a coordinate system that a line shows

Report = Callable[[str], None]  # takes one line for the terminal


def scene_line(info: SceneInfo, shares: PixelShares) -> str:
    """Return what a raster is, in one line."""
    crs = info.crs or "local grid"
    gsd = " x ".join(f"{value:.4g}" for value in dict.fromkeys(info.gsd_m))
    line = (
        f"{shown_path(info.path)}: {info.width_px} x {info.height_px} px, {gsd} m, {info.dtype}, "
        f"{', '.join(info.bands)}, {crs[:CRS_CHARS]}"
    )
    if shares.valid < 1:
        about = "about " if shares.sampled else ""
        line += f", {about}{1 - shares.valid:.1%} missing"
    if info.is_striped:
        line += ", in strips (slow to read in windows: make a COG of it)"
    return line


def scene_document(info: SceneInfo, shares: PixelShares) -> dict[str, Any]:
    """Return what a raster is, in JSON types."""
    return {
        "path": shown_path(info.path),
        "scene": info.name,
        "can_be_used": True,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "gsd_m": list(info.gsd_m),
        "dtype": info.dtype,
        "bands": list(info.bands),
        "crs": info.crs,
        "valid_fraction": shares.valid,
        "is_sampled": shares.sampled,
        "is_striped": info.is_striped,
        "notes": [*info.notes, *([shares.note] if shares.note else [])],
    }


def describe_rasters(paths: Sequence[str], gsd_m: float | None) -> list[dict[str, Any]]:
    """Return what each raster is in JSON types, or `can_be_used` false and the reason.

    Args:
        paths: rasters, and folders of rasters.
        gsd_m: of rasters without georeference.

    Raises:
        DataError: a folder holds no raster.
    """
    documents = []
    for path in _expand_folders(paths):
        try:
            info = inspect_scene(path, gsd_m)
            document = scene_document(info, check_pixels([info])[info.name])
        except WindhoverError as error:
            reason = error.sentence()
            document = {"path": shown_path(path), "can_be_used": False, "reason": reason}
        documents.append(document)
    return documents


def inspect_rasters(paths: Sequence[str], gsd_m: float | None, report: Report) -> list[str]:
    """Report what each raster is, or why it cannot be used; return the reasons.

    Args:
        paths: rasters, and folders of rasters.
        gsd_m: of rasters without georeference.
        report: takes the lines.

    Raises:
        DataError: a folder holds no raster.
    """
    faults = []
    for path in _expand_folders(paths):
        try:
            info = inspect_scene(path, gsd_m)
            shares = check_pixels([info])[info.name]
            report(scene_line(info, shares))
            for note in (*info.notes, *([shares.note] if shares.note else [])):
                report(f"  {note}")
        except WindhoverError as error:
            faults.append(error.sentence())
            report(f"cannot be used: {error.sentence()}")
    return faults


def _expand_folders(paths: Sequence[str]) -> list[str]:
    """Return the rasters, folders replaced by the rasters in them.

    Raises:
        DataError: a folder holds no raster.
    """
    rasters: list[str] = []
    for path in paths:
        if not Path(path).is_dir():
            rasters.append(path)
            continue
        in_folder = [str(raster) for raster in raster_paths(Path(path))]
        if not in_folder:
            raise DataError(f"{path}: holds no raster. Name the folder of your rasters.")
        rasters += in_folder
    return rasters
