"""Virtual rasters of which a source is missing or damaged: which, where, and what is left.

GDAL finds a missing source when it reads, and then fails for everything that is read with it.
"""

from __future__ import annotations

import math
import re
import warnings
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from windhover.errors import FormatError

SOURCE_SUFFIX = "Source"  # SimpleSource, ComplexSource, AveragedSource, ...
MAX_BYTES = 64_000_000  # larger files are left to GDAL
NAMES_CHARS = 200  # of the names of missing files that an error shows
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
MAX_DEPTH = 8  # of virtual rasters in one another; what is deeper is left to GDAL


class MissingSource(NamedTuple):
    """A source file that is not there or cannot be opened, and the px that it should give."""

    path: str
    row: int
    col: int
    height: int
    width: int


class PartialRaster(NamedTuple):
    """GDAL's description of a virtual raster without its missing sources, and what these are."""

    xml: str
    missing: tuple[MissingSource, ...]


class _Pruned(NamedTuple):
    """A virtual raster without its missing sources."""

    root: ET.Element
    missing: tuple[MissingSource, ...]
    n_present: int


def missing_sources(path: str) -> tuple[MissingSource, ...]:
    """Return the sources of a virtual raster that are not there, each once; none of other files.

    Those of virtual rasters in it are among them, with the px of the outer raster.
    """
    part = partial_raster(path)
    return () if part is None else part.missing


def partial_raster(path: str) -> PartialRaster | None:
    """Return what is left of a virtual raster; None where nothing is missing.

    Args:
        path: of any raster.

    Raises:
        FormatError: nothing is left.
    """
    pruned = _prune(path, ())
    if pruned is None or not pruned.missing:
        return None
    if not pruned.n_present:
        names = ", ".join(dict.fromkeys(source.path for source in pruned.missing))[:NAMES_CHARS]
        raise FormatError(
            f"{path}: every source of this virtual raster is missing or damaged ({names}). Put "
            "them back, or build it again: gdalbuildvrt."
        )
    return PartialRaster(ET.tostring(pruned.root, encoding="unicode"), pruned.missing)


def _prune(path: str, outer: tuple[str, ...]) -> _Pruned | None:
    """Return a virtual raster without its missing sources; None for any other file.

    Args:
        path: of the raster.
        outer: the virtual rasters that it is part of.
    """
    root = None if path in outer or len(outer) > MAX_DEPTH else _read_root(path)
    if root is None:
        return None
    missing: dict[MissingSource, None] = {}
    n_present = 0
    for band in list(root.iter()):
        for source in [child for child in band if child.tag.endswith(SOURCE_SUFFIX)]:
            name = source.find("SourceFilename")
            if name is None or not name.text:
                continue
            found, is_there = _check_source(source, name, root, path=path, outer=outer)
            missing |= dict.fromkeys(found)
            if is_there:
                n_present += 1
            else:
                band.remove(source)
    return _Pruned(root, tuple(missing), n_present)


def _read_root(path: str) -> ET.Element | None:
    """Return the content of a virtual raster; None for a file that is none, or cannot be read.

    Raises:
        FormatError: it is not UTF-8.
    """
    if not path.lower().endswith(".vrt") or not Path(path).is_file():
        return None
    if Path(path).stat().st_size > MAX_BYTES:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError:
        return None
    try:
        return ET.fromstring(content)
    except RecursionError:
        return None
    except (ET.ParseError, ValueError, LookupError):
        return _parse_as_gdal(path, content)


def _parse_as_gdal(path: str, content: bytes) -> ET.Element | None:
    """Return the content of a virtual raster whatever encoding it names, as GDAL reads it.

    Raises:
        FormatError: it is not UTF-8, so that GDAL's errors about its sources would be lost.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError(
            f"{path}: holds bytes that are not UTF-8: write it again in UTF-8, such as by "
            "gdalbuildvrt."
        ) from None
    try:
        return ET.fromstring(XML_DECLARATION.sub("", text))
    except (ET.ParseError, ValueError):
        return None  # GDAL's error is the one to be shown


def _check_source(
    source: ET.Element, name: ET.Element, root: ET.Element, *, path: str, outer: tuple[str, ...]
) -> tuple[list[MissingSource], bool]:
    """Return what is missing of a source, and whether anything of it is left.

    A virtual raster that is left in part takes the place of its name.
    """
    if not _resolve(name, Path(path).absolute().parent):
        return [_missing_source(str(name.text), source, root)], False
    inner = _prune(str(name.text), (*outer, path))
    if inner is None or not inner.missing:
        return [], True
    if not inner.n_present:
        return [_missing_source(inside.path, source, root) for inside in inner.missing], False
    name.text = ET.tostring(inner.root, encoding="unicode")
    return [_in_outer(inside, source, root) for inside in inner.missing], True


def _in_outer(inside: MissingSource, source: ET.Element, root: ET.Element) -> MissingSource:
    """Return a missing source of a source with the px that it should give in the outer raster."""
    whole = _missing_source(inside.path, source, root)
    rect = source.find("SrcRect")
    if rect is None:
        return whole
    first_row = _number(rect, "yOff", 0)
    first_col = _number(rect, "xOff", 0)
    row_scale = whole.height / max(_number(rect, "ySize", whole.height), 1e-9)
    col_scale = whole.width / max(_number(rect, "xSize", whole.width), 1e-9)
    top = max(math.floor((inside.row - first_row) * row_scale), 0)
    left = max(math.floor((inside.col - first_col) * col_scale), 0)
    bottom = min(math.ceil((inside.row + inside.height - first_row) * row_scale), whole.height)
    right = min(math.ceil((inside.col + inside.width - first_col) * col_scale), whole.width)
    return MissingSource(
        inside.path,
        row=whole.row + top,
        col=whole.col + left,
        height=max(bottom - top, 0),
        width=max(right - left, 0),
    )


def _number(element: ET.Element, name: str, default: float) -> float:
    """Return a number of an element; the default where it is none."""
    try:
        value = float(element.get(name, str(default)))
    except ValueError:
        return default
    return value if math.isfinite(value) else default


def _resolve(name: ET.Element, folder: Path) -> bool:
    """Make a source's file name absolute, and return whether it seems to be there."""
    text = str(name.text)
    if text.startswith(("/vsi", "<")) or ":" in text.partition("/")[0]:
        return True
    if name.get("relativeToVRT") == "1":
        text = str(folder / text)
        name.text = text
        name.set("relativeToVRT", "0")
    try:
        state = Path(text).stat()
    except (OSError, ValueError):  # not there, a name too long, or with a zero in it
        return False
    if _read_root(text) is not None:
        return True
    return _can_be_opened(text, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=100_000)
def _can_be_opened(path: str, mtime_ns: int, size: int) -> bool:
    """Return whether GDAL opens a source; each state of a file is tried once.

    A virtual raster fails once for a source that cannot be opened, and gives zeros from then on.
    """
    del mtime_ns, size  # they tell the states of a file apart
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path):
                return True
        except (RasterioError, OSError, UnicodeDecodeError):
            return False


def _missing_source(path: str, source: ET.Element, root: ET.Element) -> MissingSource:
    """Return a missing source with the px that it should give; all px where none are named."""
    width = int(_number(root, "rasterXSize", 0))
    height = int(_number(root, "rasterYSize", 0))
    place = source.find("DstRect")
    if place is None:
        return MissingSource(path, row=0, col=0, height=height, width=width)
    left = _number(place, "xOff", 0)
    top = _number(place, "yOff", 0)
    right = left + _number(place, "xSize", width)
    bottom = top + _number(place, "ySize", height)
    row = max(int(top), 0)
    col = max(int(left), 0)
    # a px that a source covers in part is missing too
    return MissingSource(
        path, row=row, col=col, height=math.ceil(bottom) - row, width=math.ceil(right) - col
    )
