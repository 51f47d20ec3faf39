"""One page about the data: tables, scenes with their boxes, and a sheet of objects. Opens anywhere,
fetches nothing.

Pictures are for people: they may come from overviews and are stretched to be seen. Nothing here is
learned from.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from windhover.dataset.catalog import Catalog, scene_info
from windhover.imagery.rasters import SceneInfo, opened
from windhover.imagery.scenes import Scene

THUMB_PX = 460
THUMBS = 12
CROP_PX = 96
CROPS = 60
OBJECT, IGNORED = (255, 60, 30), (255, 210, 0)
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:0 auto;padding:20px;color:#1c2733}"
    "h1{font-size:25px}h2{font-size:19px;margin-top:34px;border-top:1px solid #e3e8ee;padding-top:12px}"
    "table{border-collapse:collapse;font-size:13px}td,th{border-bottom:1px solid #e3e8ee;padding:4px 9px;"
    "text-align:left}"
    "th{background:#f6f8fa}.wide{overflow:auto;max-height:420px}.note{border-left:4px solid #b35309;background:#fff7ed;"
    "padding:6px 12px;margin:6px 0}figure{display:inline-block;margin:6px;vertical-align:top}figcaption{font-size:12px;"
    "color:#5f6b7a;max-width:460px}"
)


def data_page(catalog: Catalog, facts: Mapping[str, Any], lines: Iterable[str]) -> str:
    """Return the page as HTML.

    Args:
        catalog: whose rasters can be read at the paths it gives.
        facts: of `windhover.dataset.data_statistics`.
        lines: the summary, as on the terminal.
    """
    report = catalog.report
    notes = [
        f"{reason}: {count} labels" for reason, count in report.get("dropped", {}).items() if count
    ]
    notes += [str(note) for note in report.get("notes", [])]
    named = [
        (title, facts[key]["first"])
        for title, key in (
            ("Longer than the window", "larger_than_the_window"),
            ("Smaller than 3 px", "smaller_than_3_px"),
        )
    ]
    parts = [
        f"<h1>The data</h1><pre>{escape(chr(10).join(lines))}</pre>",
        "".join(f'<div class="note">{escape(note)}</div>' for note in notes),
        section("Classes", table(facts["class_table"])),
        *[section(title, table(rows)) for title, rows in named if rows],
        section("Objects", *crops(catalog)),
        section("Scenes", *thumbnails(catalog)),
        section("All scenes", table(facts["scene_table"])),
    ]
    head = f'<meta charset="utf-8"><title>The data</title><style>{STYLE}</style>'
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'
    )


def section(title: str, *parts: str) -> str:
    """Return a heading with its content; nothing where there is none."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>" if any(parts) else ""


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table."""
    if not rows:
        return ""
    heads = "".join(f"<th>{escape(str(name).replace('_', ' '))}</th>" for name in rows[0])
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{escape('' if value is None else str(value))}</td>" for value in row.values()
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{body}</table></div>'


def figure(image: Image.Image, caption: str) -> str:
    """Return a picture inside the page."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'


def thumbnails(catalog: Catalog) -> list[str]:
    """Return the scenes with most labels, whole, with their boxes."""
    counts = catalog.labels["scene"].value_counts()
    rows = sorted(catalog, key=lambda row: (-int(counts.get(row.scene, 0)), row.scene))[:THUMBS]
    made = []
    for row in rows:
        info = scene_info(row)
        image, scale = thumbnail(info)
        pen = ImageDraw.Draw(image)
        for label in catalog.labels_of(row.scene).itertuples():
            _draw_box(
                pen,
                (label.left, label.top, label.right, label.bottom),
                scale,
                (0.0, 0.0),
                label.role,
            )
        made.append(
            figure(
                image,
                f"{row.scene} ({row.split or 'no split'}, {int(counts.get(row.scene, 0))} labels)",
            )
        )
    return made


def thumbnail(info: SceneInfo) -> tuple[Image.Image, float]:
    """Return the whole scene as a small picture, and its px per native px."""
    scale = min(THUMB_PX / max(info.width_px, info.height_px), 1.0)
    shape = max(round(info.height_px * scale), 1), max(round(info.width_px * scale), 1)
    with opened(info.path) as dataset:
        bands = _three(list(info.bands))
        array = dataset.read([band + 1 for band in bands], out_shape=(len(bands), *shape))
    return Image.fromarray(_stretched(array)), scale


def crops(catalog: Catalog) -> list[str]:
    """Return one sheet of objects at the training GSD, drawn evenly from all scenes."""
    labels = catalog.labels
    if labels.empty:
        return []
    chosen = np.unique(np.linspace(0, len(labels) - 1, CROPS).round().astype(int))
    columns = min(10, len(chosen))
    step = CROP_PX + 4
    sheet = Image.new("RGB", (columns * step, -(-len(chosen) // columns) * step), (255, 255, 255))
    rows = {row.scene: row for row in catalog}
    position = 0
    for scene, part in labels.iloc[chosen].groupby("scene", sort=False):
        with Scene(scene_info(rows[scene]), catalog.gsd_m, catalog.bands) as seen:
            for label in part.itertuples():
                image = _crop(seen, label)
                sheet.paste(image, (position % columns * step, position // columns * step))
                position += 1
    return [
        figure(
            sheet,
            f"{len(chosen)} of {len(labels)} labels at {catalog.gsd_m:g} m; yellow ones are ignored",
        )
    ]


def _crop(seen: Scene, label: Any) -> Image.Image:
    ratio_x, ratio_y = seen.ratio_xy
    left, top = round(label.col / ratio_x - CROP_PX / 2), round(label.row / ratio_y - CROP_PX / 2)
    array, _ = seen.read(top, left, CROP_PX, CROP_PX)
    image = Image.fromarray(_stretched(array[_three(list(seen.bands))]))
    box = (label.left / ratio_x, label.top / ratio_y, label.right / ratio_x, label.bottom / ratio_y)
    _draw_box(ImageDraw.Draw(image), box, 1.0, (float(left), float(top)), label.role)
    return image


def _draw_box(
    pen: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    scale: float,
    origin: tuple[float, float],
    role: str,
) -> None:
    left, top, right, bottom = (
        (value - origin[axis]) * scale for value, axis in zip(box, (0, 1, 0, 1), strict=True)
    )
    small = max(3.0 - (right - left), 3.0 - (bottom - top), 0.0) / 2
    pen.rectangle(
        [left - small, top - small, right + small, bottom + small],
        outline=OBJECT if role == "object" else IGNORED,
    )


def _three(bands: list[str]) -> list[int]:
    """Return the numbers of three bands to show as red, green and blue."""
    for names in (("red", "green", "blue"), ("B04", "B03", "B02")):
        if set(names) <= set(bands):
            return [bands.index(name) for name in names]
    return [0, 1, 2] if len(bands) >= 3 else [0, 0, 0]


def _stretched(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (H, W, 3) bytes; other than 8-bit pictures are stretched between their 2nd and 98th
    percentile.
    """
    if array.dtype != np.uint8:
        values = array.astype(np.float32)
        shown = values[np.isfinite(values) & (values != 0)]
        low, high = np.percentile(shown, [2, 98]) if shown.size else (0.0, 1.0)
        shown = (np.nan_to_num(values) - low) / max(float(high - low), 1e-9) * 255
        array = np.clip(shown, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(array.transpose(1, 2, 0))
