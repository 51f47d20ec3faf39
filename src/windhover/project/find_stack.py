"""Bands in separate files: which files of a folder are the bands of one scene.

Recognized by names such as `..._B04_...`, `red.tif`, with one band each. Of several grids the
finest one that bands share is taken, and no band that was enlarged to it. Decides by names and
grids alone; reads no pixel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
# files of Sentinel-2: by its name, its satellites', products' or tiles', or its band 8A
SENTINEL_2 = re.compile(
    r"sentinel.?2|(?<![A-Za-z0-9])(S2[ABCD]?|MSIL?[12][AC]|L2A|L1C|T\d\d[A-Z]{3}|B8A)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
# GSD of the sensor, m; the other bands have 10 m
SENTINEL_2_GSD_M = {
    **dict.fromkeys(("B5", "B6", "B7", "B8A", "B11", "B12"), 20.0),
    **dict.fromkeys(("B1", "B9", "B10"), 60.0),
}
FINEST_GSD_M = 10.0
COARSER = 1.2  # px of the same ground, from which one of two folders is left out
ENLARGED = 1.5  # a band's own GSD in that of its file, from which it counts as enlarged


@dataclass(frozen=True)
class BandStack:
    """Bands of scenes in separate files.

    Attributes:
        patterns: band name -> file pattern.
        coarse: bands that all scenes have, but coarser than those: left out.
    """

    patterns: dict[str, str]
    coarse: tuple[str, ...] = ()


def find_stack(paths: Sequence[Path]) -> BandStack | None:
    """Return the bands where every scene is a folder of single-band files.

    Args:
        paths: rasters.

    Returns:
        The bands that all such folders have on their finest common grid, in order of their names;
        None where there are no such folders, or two files of one band in a folder.
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
    stacks = {folder: bands for folder, bands in by_folder.items() if len(bands) >= MIN_BANDS}
    if not stacks:
        return None
    finest = _finest_of_one_ground(stacks)
    folders = [stacks[folder] for folder in finest]
    common = set(folders[0]).intersection(*map(set, folders[1:]))
    coarser = {band for folder in stacks if folder not in finest for band in stacks[folder]}
    fine = common.intersection(*map(_fine_bands, folders))
    if len(fine) < MIN_BANDS:
        return None
    patterns = {band: _pattern(band, folders) for band in sorted(fine, key=_order)}
    coarse = (common | coarser) - fine
    return BandStack(patterns, tuple(sorted(coarse, key=_order)))


def _finest_of_one_ground(stacks: Mapping[Path, dict[str, Path]]) -> list[Path]:
    """Return the folders, of neighbours that show the same ground those of the finest px.

    Such as R10m of a SAFE folder, without R20m and R60m.
    """
    grounds = {folder: _Ground.of(next(iter(bands.values()))) for folder, bands in stacks.items()}
    return [
        folder
        for folder, ground in grounds.items()
        if not any(
            folder.parent == other.parent and ground.is_coarser_than(grounds[other])
            for other in grounds
        )
    ]


class _Ground(NamedTuple):
    """What a raster covers, and its px, in units of its system."""

    crs: str
    bounds: tuple[float, ...]
    px: float

    @classmethod
    def of(cls, path: Path) -> _Ground:
        with open_raster(path) as dataset:
            return cls(str(dataset.crs), tuple(dataset.bounds), max(dataset.res))

    def is_coarser_than(self, other: _Ground) -> bool:
        """Return whether another raster shows the same ground in finer px."""
        far = max(abs(one - two) for one, two in zip(self.bounds, other.bounds, strict=True))
        return self.crs == other.crs and far <= self.px and self.px > COARSER * other.px


def _pattern(band: str, folders: Sequence[dict[str, Path]]) -> str:
    """Return the file pattern that one band's files have in common."""
    written = BAND.search(folders[0][band].stem)
    token = written.group(0) if written else band
    tail = folders[0][band].name[written.end() :] if written else ""
    if any(not bands[band].name.endswith(f"{token}{tail}") for bands in folders):
        return f"*{_literal(token)}[!0-9A-Za-z]*"  # not B1 of B11
    return f"*{_literal(token)}{_literal(tail)}"


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


def _fine_bands(bands: dict[str, Path]) -> set[str]:
    """Return the bands of a folder on the finest grid that some share, without enlarged ones.

    A band alone on the finest grid, such as a panchromatic one, is no scene of several bands.
    """
    grids = {name: _grid(path) for name, path in bands.items()}
    counts = Counter(grids.values())
    shared = [grid for grid, count in counts.items() if count >= MIN_BANDS]
    if not shared:
        return set()
    # of two grids as fine, the one of more bands
    finest = max(shared, key=lambda grid: (grid.width * grid.height, counts[grid]))
    on_grid = {name for name, grid in grids.items() if grid == finest}
    if not any(SENTINEL_2.search(f"{path.parent.name}/{path.name}") for path in bands.values()):
        return on_grid
    not_enlarged = {name for name in on_grid if not _is_enlarged(name, finest.gsd_m)}
    return not_enlarged if len(not_enlarged) >= MIN_BANDS else on_grid


def _is_enlarged(band: str, gsd_m: float | None) -> bool:
    """Return whether a band of Sentinel-2 has px finer than the sensor's."""
    if gsd_m is None:
        return False
    own = SENTINEL_2_GSD_M.get(re.sub(r"^B0", "B", band), FINEST_GSD_M)
    # a map's metres may be longer than the ground's (Web Mercator), never below the finest band's
    return own > max(FINEST_GSD_M, gsd_m) * ENLARGED


class _Grid(NamedTuple):
    width: int
    height: int
    crs: str
    dtype: str
    gsd_m: float | None  # None without a projected system


def _grid(path: Path) -> _Grid:
    with open_raster(path) as dataset:
        gsd_m = None
        if dataset.crs is not None and dataset.crs.is_projected:
            gsd_m = max(dataset.res) * dataset.crs.linear_units_factor[1]
        return _Grid(dataset.width, dataset.height, str(dataset.crs), dataset.dtypes[0], gsd_m)


def _literal(text: str) -> str:
    """Return text as a file pattern that matches it alone."""
    return SPECIAL.sub(lambda match: f"[{match.group(0)}]", text)
