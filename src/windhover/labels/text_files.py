"""Reading label files as text, JSON or words, with one sentence for what is broken."""

from __future__ import annotations

import codecs
import json
import math
import re
from pathlib import Path
from typing import Any

from windhover.errors import FormatError

MAX_JSON_BYTES = 1_000_000_000
DOTA_HEADER = re.compile(r"[A-Za-z ]+:")  # imagesource:, gsd:, acquisition dates:


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8; in UTF-16 where its byte order mark stands first.

    Spreadsheets call UTF-16 with tabs "Unicode text".

    Raises:
        UnicodeDecodeError: it is neither.
    """
    with path.open("rb") as file:
        begin = file.read(2)
    encoding = "utf-8-sig"
    if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    return path.read_text(encoding=encoding)


def read_utf8(path: Path) -> str:
    """Return the text of a file.

    Raises:
        FormatError: it is not UTF-8.
    """
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: is not UTF-8 text ({error}). Save it as UTF-8.") from None


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        FormatError: it is larger than 1 GB, or not JSON.
    """
    size_bytes = path.stat().st_size
    if size_bytes > MAX_JSON_BYTES:
        raise FormatError(
            f"{path}: has {size_bytes / 1e9:.1f} GB, at most 1 GB of JSON is read. "
            "Split it by scene."
        )
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not valid JSON ({error}). Export the labels again.") from None


def read_label_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number and the words of each line of labels; commas separate words too.

    Empty lines and the header of a DOTA file are left out.

    Raises:
        FormatError: the file is not UTF-8 text.
    """
    try:
        lines = read_text(path).splitlines()
    except UnicodeDecodeError:
        raise FormatError(
            f"{path}: is not text. Take it out, or name the label files in `scenes.labels`."
        ) from None
    result = []
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if words and not DOTA_HEADER.match(" ".join(words)):
            result.append((number, words))
    return result


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
