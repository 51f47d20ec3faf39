"""HTML pages from the templates of this room: one style sheet, pictures inside, nothing fetched.

The same values give the same bytes. Values are escaped by the templates. Computes nothing.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from windhover.rendering.text import (
    ValueAndInterval,
    format_cell,
    format_interval,
)

TEMPLATES = Path(__file__).with_name("templates")
JPEG_QUALITY = 85
MAX_ROWS = 500  # of a table in a page; files hold the others
BETWEEN_BACKTICKS = re.compile(r"`([^`]+)`")
# wide: over the whole page; natural: not enlarged beyond its own size
ImageLayout: TypeAlias = Literal["", "wide", "natural"]


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and whether it holds text, which is aligned to the left."""

    title: str
    is_text: bool


@dataclass(frozen=True)
class Table:
    """A table of formatted cells, row by row.

    Attributes:
        columns: its titles.
        rows: the first `MAX_ROWS` of it.
        n_left_out: rows that follow them.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left_out: int = 0


@dataclass(frozen=True)
class EmbeddedImage:
    """A picture inside the page.

    Attributes:
        data_uri: the file's bytes.
        caption: what it shows.
        layout: how much room it takes.
    """

    data_uri: str
    caption: str
    layout: ImageLayout = ""


@dataclass(frozen=True)
class Card:
    """A headline value with its interval, as text."""

    name: str
    value: str
    interval: str


def render_page(template: str, **values: Any) -> str:
    """Return the page that a template makes of values.

    Args:
        template: name of a file in `templates`.
        values: what it shows; `title` is the page's title.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = _with_code
    return environment.get_template(template).render(**values)


def _with_code(text: str) -> Markup:
    """Return a text, escaped, with what stands between backticks set as code."""
    return Markup(BETWEEN_BACKTICKS.sub(r"<code>\1</code>", str(escape(text))))


def table_of(frame: pd.DataFrame, text_columns: Collection[str] = ()) -> Table:
    """Return a table of a data frame, numbers formatted with three decimals.

    Args:
        frame: its columns' names are the titles.
        text_columns: titles of the columns that hold text.
    """
    columns = tuple(Column(str(title), title in text_columns) for title in frame.columns)
    shown = frame.head(MAX_ROWS)
    rows = tuple(tuple(map(format_cell, row)) for row in shown.itertuples(index=False))
    return Table(columns, rows, len(frame) - len(shown))


def card_of(name: str, estimate: ValueAndInterval) -> Card:
    """Return a headline value with its 95 % interval."""
    value, low, _ = estimate
    interval = "no interval"
    if low is not None:
        interval = f"95 %: {format_interval(estimate)}"
    return Card(name, format_cell(value), interval)


def embed_file(path: Path, caption: str, layout: ImageLayout = "") -> EmbeddedImage:
    """Return a PNG file as a picture inside the page."""
    return EmbeddedImage(_data_uri("image/png", path.read_bytes()), caption, layout)


def embed_image(image: Image.Image, caption: str, layout: ImageLayout) -> EmbeddedImage:
    """Return an image as a JPEG inside the page."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return EmbeddedImage(_data_uri("image/jpeg", stream.getvalue()), caption, layout)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
