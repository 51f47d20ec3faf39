"""Virtual rasters of which a source file is missing: which, where, and the rest of the raster.

GDAL finds a missing source when it reads, and then fails for everything that is read with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

SOURCE_SUFFIX = "Source"  # SimpleSource, ComplexSource, AveragedSource, ...
MAX_BYTES = 64_000_000  # larger files are left to GDAL


class MissingSource(NamedTuple):
    """A source file that is not there, and the px that it should give."""

    path: str
    row: int
    col: int
    height: int
    width: int


class PartialRaster(NamedTuple):
    """GDAL's description of a virtual raster without its missing sources, and what these are."""

    xml: str
    missing: tuple[MissingSource, ...]


def missing_sources(path: str) -> tuple[MissingSource, ...]:
    """Return the sources of a virtual raster that are not there, each once; none of other files."""
    part = partial_raster(path)
    return () if part is None else part.missing


def partial_raster(path: str) -> PartialRaster | None:
    """Return what is left of a virtual raster; None where nothing is missing, or nothing is left.

    Args:
        path: of any raster.
    """
    if not path.lower().endswith(".vrt") or not Path(path).is_file():
        return None
    if Path(path).stat().st_size > MAX_BYTES:
        return None
    try:
        root = ET.fromstring(Path(path).read_bytes())
    except (ET.ParseError, ValueError, RecursionError):
        return None  # GDAL's error is the one to be shown
    missing: dict[MissingSource, None] = {}
    n_present = 0
    for band in list(root.iter()):
        for source in [child for child in band if child.tag.endswith(SOURCE_SUFFIX)]:
            name = source.find("SourceFilename")
            if name is None or not name.text:
                continue
            is_there = _resolve(name, Path(path).absolute().parent)
            if is_there:
                n_present += 1
                continue
            band.remove(source)
            missing[_missing_source(str(name.text), source, root)] = None
    if not missing or not n_present:
        return None
    return PartialRaster(ET.tostring(root, encoding="unicode"), tuple(missing))


def _resolve(name: ET.Element, folder: Path) -> bool:
    """Make a source's file name absolute, and return whether it is there, as far as can be told."""
    text = str(name.text)
    if text.startswith(("/vsi", "<")) or ":" in text.partition("/")[0]:
        return True
    if name.get("relativeToVRT") == "1":
        text = str(folder / text)
        name.text = text
        name.set("relativeToVRT", "0")
    return Path(text).exists()


def _missing_source(path: str, source: ET.Element, root: ET.Element) -> MissingSource:
    """Return a missing source with the px that it should give; all px where none are named."""
    width = int(root.get("rasterXSize", "0"))
    height = int(root.get("rasterYSize", "0"))
    place = source.find("DstRect")
    if place is None:
        return MissingSource(path, row=0, col=0, height=height, width=width)
    left = float(place.get("xOff", "0"))
    top = float(place.get("yOff", "0"))
    right = left + float(place.get("xSize", str(width)))
    bottom = top + float(place.get("ySize", str(height)))
    row = max(int(top), 0)
    col = max(int(left), 0)
    # a px that a source covers in part is missing too
    return MissingSource(
        path, row=row, col=col, height=int(-(-bottom // 1)) - row, width=int(-(-right // 1)) - col
    )
