"""When a raster was taken, from its tags; guesses nothing from names of files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

# most telling first: when the ground was seen, then when the file was made
TAGS = (
    "ACQUISITIONDATETIME",  # of GDAL's domain IMAGERY, read from IMD, DIM and MTL files
    "ACQUISITION_DATETIME",
    "ACQUISITION_DATE",
    "ACQUISITION_TIME",
    "DATE_ACQUIRED",
    "DATATAKE_1_DATATAKE_SENSING_START",
    "PRODUCT_START_TIME",
    "SENSING_TIME",
    "IMAGING_DATE",
    "START_DATETIME",
    "DATETIME",
    "EXIF_DATETIMEORIGINAL",
    "TIFFTAG_DATETIME",
    "EXIF_DATETIME",
)
DOMAINS = (None, "IMAGERY")
# what `datetime.fromisoformat` does not read
PATTERNS = ("%Y:%m:%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y:%m:%d", "%Y/%m/%d")
FIRST_YEAR = 1900  # cameras without a clock write 0000:00:00


def acquisition_time(dataset: Any) -> str | None:
    """Return when a raster was taken, such as `2017-05-02T10:20:30Z`; None where it has none.

    A time without a zone is taken as UTC, as satellites' products have it.

    Args:
        dataset: open in rasterio.
    """
    tags: dict[str, str] = {}
    for domain in DOMAINS:
        for name, value in dataset.tags(ns=domain).items():
            tags.setdefault(name.upper(), str(value))
    for name in TAGS:
        time = parse_time(tags.get(name, ""))
        if time is not None:
            return time
    return None


def parse_time(text: str) -> str | None:
    """Return a time in ISO 8601 and UTC, to the second; None for what is none.

    Args:
        text: a date, or date and time, as ISO 8601, TIFF or EXIF write them.
    """
    text = text.strip().strip('"')
    time = _parse(text)
    if time is None or time.year < FIRST_YEAR:
        return None
    if time.tzinfo is not None:
        time = time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str) -> datetime | None:
    """Return a time as it is written, None for what is none."""
    if len(text) < len("20170502"):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for pattern in PATTERNS:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    return None
