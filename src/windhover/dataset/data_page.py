"""One HTML page about the data: tables, a sheet of labelled objects, and scenes with their boxes.

Pictures are for people: they may come from overviews and are stretched to be seen. Nothing here is
learned from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from PIL import Image, ImageDraw

from windhover.dataset.catalog import Catalog, scene_info
from windhover.imagery.scenes import Scene
from windhover.rendering.class_overlay import overlay_classes, with_legend
from windhover.rendering.contact_sheet import tile_images
from windhover.rendering.html_page import EmbeddedImage, Table, embed_image, render_page, table_of
from windhover.rendering.images import (
    Color,
    draw_box,
    evenly_chosen,
    scene_overview,
    thumbnail_around,
)
from windhover.rendering.text import count_lines

OVERVIEW_PX = 520
N_OVERVIEWS = 12
THUMBNAIL_PX = 96
N_THUMBNAILS = 60
SHEET_COLUMNS = 10
OBJECT_COLOR: Color = (255, 60, 30)
IGNORED_COLOR: Color = (255, 210, 0)


def data_page(catalog: Catalog, lines: Iterable[str]) -> str:
    """Return the page as HTML.

    Args:
        catalog: with its statistics; its rasters can be read at the paths in it.
        lines: the summary, as on the terminal.
    """
    report = catalog.report
    dropped = count_lines(report.dropped, "label")
    label_tables = []
    if report.coverage_table:
        label_tables.append(("Shares of the classes", table_of_rows(report.coverage_table)))
    if report.class_table:
        label_tables.append(("Classes", table_of_rows(report.class_table)))
    for title, labels in (
        ("Longer than the window", report.larger_than_the_window),
        ("Smaller than 3 px", report.smaller_than_3_px),
    ):
        if labels is not None and labels.first:
            label_tables.append((title, table_of_rows(labels.first)))
    scene_table = None
    if report.scene_table:
        scene_table = table_of_rows(report.scene_table)
    return render_page(
        "data_page.html.j2",
        title="The data",
        summary="\n".join(lines),
        notes=[*dropped, *report.notes],
        label_tables=label_tables,
        objects=object_sheet(catalog),
        scenes=scene_images(catalog),
        scene_table=scene_table,
    )


def table_of_rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return rows of plain values as a table, their keys as titles and every column as text."""
    frame = pd.DataFrame([dict(row) for row in rows], dtype=object)
    frame = frame.where(frame.notna(), "").map(str)
    frame.columns = frame.columns.str.replace("_", " ")
    return table_of(frame, text_columns=set(frame.columns))


def scene_images(catalog: Catalog) -> list[EmbeddedImage]:
    """Return the scenes with most labels, whole, with their boxes."""
    if catalog.is_coverage:
        return class_map_images(catalog)
    counts = catalog.labels["scene"].value_counts()
    rows = sorted(catalog, key=lambda row: (-int(counts.get(row.scene, 0)), row.scene))
    images = []
    for row in rows[:N_OVERVIEWS]:
        image, scale = scene_overview(scene_info(row), OVERVIEW_PX)
        draw = ImageDraw.Draw(image)
        for label in catalog.labels_of(row.scene).itertuples():
            corners = (label.left, label.top, label.right, label.bottom)
            draw_box(draw, [value * scale for value in corners], _label_color(label.role))
        split = row.split or "no split"
        caption = f"{row.scene} ({split}, {int(counts.get(row.scene, 0))} labels)"
        images.append(embed_image(image, caption, "natural"))
    return images


def class_map_images(catalog: Catalog) -> list[EmbeddedImage]:
    """Return evenly chosen scenes with a class map, whole, the classes over them."""
    rows = [row for row in catalog if row.class_map is not None]
    images = []
    for number in evenly_chosen(len(rows), N_OVERVIEWS) if rows else []:
        row = rows[number]
        image, _ = scene_overview(scene_info(row), OVERVIEW_PX)
        with rasterio.open(row.class_map) as dataset:
            classes = dataset.read(1, out_shape=(image.height, image.width))
        shown = with_legend(overlay_classes(np.asarray(image), classes), catalog.classes)
        images.append(embed_image(shown, f"{row.scene} ({row.split})", "natural"))
    return images


def object_sheet(catalog: Catalog) -> EmbeddedImage | None:
    """Return a sheet of evenly chosen objects at the training GSD; None without labels."""
    if catalog.labels.empty:
        return None
    chosen = evenly_chosen(len(catalog.labels), N_THUMBNAILS)
    rows = {row.scene: row for row in catalog}
    thumbnails = []
    for name, labels in catalog.labels.iloc[chosen].groupby("scene", sort=False):
        with Scene(scene_info(rows[name]), catalog.gsd_m, catalog.bands) as scene:
            thumbnails += [object_thumbnail(scene, label) for label in labels.itertuples()]
    caption = (
        f"{len(chosen)} of {len(catalog.labels)} labels at {catalog.gsd_m:g} m; "
        "in yellow those of ignore regions"
    )
    return embed_image(tile_images(thumbnails, SHEET_COLUMNS), caption, "wide")


def object_thumbnail(scene: Scene, label: Any) -> Image.Image:
    """Return a labelled object and its surroundings, with its box.

    Args:
        scene: at the training GSD.
        label: a row of the labels, native px.
    """
    ratio_x, ratio_y = scene.ratio_xy
    center = (label.col / ratio_x, label.row / ratio_y)
    thumbnail = thumbnail_around(scene, center, THUMBNAIL_PX)
    image = Image.fromarray(thumbnail.image)
    box = (
        label.left / ratio_x - thumbnail.left,
        label.top / ratio_y - thumbnail.top,
        label.right / ratio_x - thumbnail.left,
        label.bottom / ratio_y - thumbnail.top,
    )
    draw_box(ImageDraw.Draw(image), box, _label_color(label.role))
    return image


def _label_color(role: str) -> Color:
    return OBJECT_COLOR if role == "object" else IGNORED_COLOR
