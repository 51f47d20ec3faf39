"""Damage in a raster's pixels that GDAL reads over.

GDAL only warns of some damage, and does not compare the checksums of deflated blocks. Formats
without a checksum (LZW, ZSTD, PackBits, JPEG, uncompressed) can hold wrong pixels that are not
distinguishable from right ones; docs/scenes.md has how often damage is noticed.
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
from windhover.imagery.rasters import open_raster

DAMAGE_WORDS = ("corrupt", "premature", "truncated")
TIFF_SUFFIXES = (".tif", ".tiff")


@contextmanager
def gdal_warnings_as_errors(path: str) -> Iterator[None]:
    """Raise GDAL's warnings of damaged pixels as errors when the `with` block ends.

    GDAL goes on with grey where a JPEG inside a TIFF is broken.

    Args:
        path: the raster, for the message.

    Raises:
        FormatError: there was such a warning.
    """
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(  # type: ignore[method-assign]
        record.getMessage()
    )
    logger = logging.getLogger("rasterio._err")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    for message in messages:
        if any(word in message.lower() for word in DAMAGE_WORDS):
            raise FormatError(
                f"{path}: its pixels are damaged ({message[:160]}). Fetch it again, or take it out."
            )


def check_deflate_checksums(path: str) -> None:
    """Inflate every block of a local, deflated TIFF and compare its checksum.

    Of a virtual raster, the TIFFs that it is made of are checked. GDAL leaves out the comparison
    (RFC 1950, Adler-32), and a block that is overwritten often still inflates.

    Raises:
        FormatError: a block is not what was written.
    """
    sources: list[str] = []
    with open_raster(path) as dataset:
        if dataset.driver == "VRT":
            sources = [name for name in dataset.files if _is_tiff(name)]
        elif _is_deflated_file(path, dataset):
            _check_blocks(path, dataset)
    for source in sources:
        check_deflate_checksums(source)


def _is_tiff(name: str) -> bool:
    return Path(name).suffix.lower() in TIFF_SUFFIXES


def _is_deflated_file(path: str, dataset: Any) -> bool:
    return (
        dataset.driver == "GTiff"
        and Path(path).is_file()
        and "deflate" in str(dataset.compression).lower()
    )


def _check_blocks(path: str, dataset: Any) -> None:
    height, width = dataset.block_shapes[0]
    rows = -(-dataset.height // height)
    cols = -(-dataset.width // width)
    planes = [1]
    if dataset.interleaving == Interleaving.band:
        planes = dataset.indexes
    with Path(path).open("rb") as stream:
        for band, row, col in product(planes, range(rows), range(cols)):
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band)
            size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band)
            if offset is None:  # a block of a sparse file
                continue
            stream.seek(int(offset))
            if not _inflates(stream.read(int(size))):
                raise FormatError(
                    f"{path}: its pixels are damaged in rows {row * height} to "
                    f"{row * height + height} and columns {col * width} to "
                    f"{col * width + width} (checksum). Fetch it again, or take it out."
                )


def _inflates(content: bytes) -> bool:
    """Return whether a deflated block is whole and has the right checksum."""
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(content)
    except zlib.error:
        return False
    return inflater.eof
