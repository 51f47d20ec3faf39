"""Damage in a raster's pixels that GDAL passes over: what it only warns of, and deflated blocks
with a wrong checksum.

Formats without a checksum (LZW, ZSTD, PackBits, JPEG, uncompressed) can hold wrong pixels that
nothing can tell from right ones; docs/scenes.md says how often damage is noticed.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from rasterio.enums import Interleaving

from windhover.errors import FormatError
from windhover.imagery.rasters import opened

SIGNS = ("corrupt", "premature", "truncated")
TIFF = (".tif", ".tiff")


@contextmanager
def heeding_gdal(path: str) -> Iterator[None]:
    """Take GDAL's warnings of damaged pixels for errors: it goes on with grey where a JPEG inside a
    TIFF is broken.

    Raises:
        FormatError: there was such a warning.
    """
    heard: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._err")
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
    damage = [words for words in heard if any(sign in words.lower() for sign in SIGNS)]
    if damage:
        raise FormatError(
            f"{path}: its pixels are damaged ({damage[0][:160]}). Fetch it again, or take it out."
        )


def check_deflate(path: str) -> None:
    """Inflate every block of a local, deflated TIFF (or of those in a virtual raster) and compare
    its checksum.

    GDAL leaves out the comparison (RFC 1950, Adler-32), and a block that is overwritten often still
    inflates.

    Raises:
        FormatError: a block is not what was written.
    """
    with opened(path) as dataset:
        if dataset.driver == "VRT":
            sources = [name for name in dataset.files if Path(name).suffix.lower() in TIFF]
        else:
            sources = []
            if (
                dataset.driver == "GTiff"
                and Path(path).is_file()
                and "deflate" in str(dataset.compression).lower()
            ):
                _check_blocks(path, dataset)
    for source in sources:
        check_deflate(source)


def _check_blocks(path: str, dataset: Any) -> None:
    height, width = dataset.block_shapes[0]
    rows, cols = -(-dataset.height // height), -(-dataset.width // width)
    planes = dataset.indexes if dataset.interleaving == Interleaving.band else [1]
    with Path(path).open("rb") as stream:
        for band, row, col in product(planes, range(rows), range(cols)):
            offset, size = (
                dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=band)
                for what in ("OFFSET", "SIZE")
            )
            if offset is None:  # a block of a sparse file
                continue
            stream.seek(int(offset))
            inflating = zlib.decompressobj()
            try:
                inflating.decompress(stream.read(int(size)))
                sound = inflating.eof
            except zlib.error:
                sound = False
            if not sound:
                raise FormatError(
                    f"{path}: its pixels are damaged in rows {row * height} to {row * height + height} and columns "
                    f"{col * width} to {col * width + width} (checksum). Fetch it again, or take it out."
                )
