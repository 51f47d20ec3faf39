"""Bands in separate files: which files of a folder are the bands of one scene.

Recognized by names such as `..._B04_...`, `red.tif`, with one band each and one size. Decides by
names and sizes alone; reads no pixel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import rasterio

from windhover.errors import WindhoverError
from windhover.imagery.rasters import open_raster

# a band in a file's name: Sentinel-2 and Landsat numbers, or a color
BAND = re.compile(
    r"(?<![A-Za-z0-9])(B\d{1,2}A?|band[_ ]?\d{1,2}|red|green|blue|nir\d?|swir\d?|rededge\d?|pan)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
MIN_BANDS = 2
COLORS = ["BLUE", "GREEN", "RED", "REDEDGE", "NIR", "SWIR", "PAN"]  # in their order
SPECIAL = re.compile(r"[][*?]")  # of a file pattern


def find_stack(paths: Sequence[Path]) -> dict[str, str] | None:
    """Return band name -> file pattern where every scene is a folder of single-band files.

    Args:
        paths: rasters.

    Returns:
        The bands that all such folders have, in order of their names; None where there are no
        such folders, or two files of one band in a folder.
    """
    by_folder: dict[Path, dict[str, Path]] = {}
    for path in paths:
        band = band_of(path)
        if band is None:
            continue
        bands = by_folder.setdefault(path.parent, {})
        if band in bands:  # two dates in one folder: no stack
            return None
        bands[band] = path
    folders = [bands for bands in by_folder.values() if len(bands) >= MIN_BANDS]
    if not folders:
        return None
    common = set(folders[0]).intersection(*map(set, folders[1:]))
    common = {band for band in common if all(_has_size_of(bands, band) for bands in folders)}
    if len(common) < MIN_BANDS:
        return None
    patterns = {}
    for band in sorted(common, key=_order):
        written = BAND.search(folders[0][band].stem)
        tail = folders[0][band].name[written.end() :] if written else ""
        if any(not bands[band].name.endswith(tail) for bands in folders):
            tail = folders[0][band].suffix
        token = written.group(0) if written else band
        patterns[band] = f"*{_literal(token)}{_literal(tail)}"
    return patterns


def band_of(path: Path) -> str | None:
    """Return the band of a single-band file, from its name; None for other files."""
    found = BAND.search(path.stem)
    if found is None:
        return None
    try:
        with open_raster(path) as dataset:
            is_single = dataset.count == 1
    except (WindhoverError, rasterio.errors.RasterioError):
        return None
    return re.sub(r"[_ ]", "", found.group(0)).upper() if is_single else None


def _order(band: str) -> tuple[str, int, str]:
    """Return the key by which bands are ordered: letters, then numbers as numbers."""
    letters = re.match(r"[A-Z]*", band)
    name = letters.group(0) if letters else ""
    number, _, rest = band[len(name) :].partition("A")
    if name in COLORS:
        name = f"{COLORS.index(name)}"
    return name, int(number or 0), rest


def _has_size_of(bands: dict[str, Path], band: str) -> bool:
    """Return whether a band's file is on the grid of the folder's most common size."""
    infos = {name: _grid(path) for name, path in bands.items()}
    grids = list(infos.values())
    return infos[band] == max(set(grids), key=grids.count)


def _grid(path: Path) -> tuple[object, ...]:
    with open_raster(path) as dataset:
        return dataset.width, dataset.height, str(dataset.crs), dataset.dtypes[0]


def _literal(text: str) -> str:
    """Return text as a file pattern that matches it alone."""
    return SPECIAL.sub(lambda match: f"[{match.group(0)}]", text)
