"""Draw what a model found, missed and took for an object: `python docs/images/draw.py` after
`make repro`.

Six search tiles of the split `test` with the most objects, at most two of one place, with a legend
that counts over them and over the whole split. Writes `docs/images/detections.jpg`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import rasterio
from PIL import Image, ImageDraw, ImageFont

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.metrics.evaluation_result import match_rule_of
from windhover.metrics.ground_truth import ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.models.bundle import load_bundle
from windhover.params import load_params
from windhover.params.evaluate import EvaluateParams

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/detections.jpg"
N_TILES = 6
COLUMNS = 3
PER_PLACE = 2
TILE_PX = 384  # of a tile in the picture
GAP_PX = 6
LEGEND_PX = 44
QUALITY = 80
MARGIN_M = 3.0  # between an object and its mark
# kind: color, shape, words
MARKS = {
    "found": ((80, 255, 80), "box", "found"),
    "missed": ((90, 220, 255), "ellipse", "missed"),
    "false": ((255, 120, 40), "box", "false alarm"),
}


class Mark(NamedTuple):
    """A mark on a tile: its kind and its box in metres from the tile's upper left corner."""

    scene: str
    kind: str
    box_m: tuple[float, float, float, float]


def marks_of(
    catalog: Catalog, detections: pd.DataFrame, params: EvaluateParams, gsd_m: float
) -> list[Mark]:
    """Return the marks of a split's scenes.

    Args:
        catalog: of the split.
        detections: as the detect stage writes them.
        params: of the evaluate stage, for the match rule.
        gsd_m: of the training.
    """
    truth = ground_truth_of(catalog)
    gsd = catalog.scenes.set_index("scene")[["gsd_x_m", "gsd_y_m"]]
    mine = detections[detections["scene"].isin(truth.scenes["scene"])].copy()
    mine["x_m"] = mine["col"] * gsd["gsd_x_m"].reindex(mine["scene"]).to_numpy()
    mine["y_m"] = mine["row"] * gsd["gsd_y_m"].reindex(mine["scene"]).to_numpy()
    matched = match_detections(mine, truth, match_rule_of(params, gsd_m))
    marks = []
    for row in matched[~matched["ignored"]].to_dict("records"):
        kind = "found" if row["is_tp"] else "false"
        half = max(np.nan_to_num(row["length_m"], nan=40.0), 10.0) / 2
        box = (row["x_m"] - half, row["y_m"] - half, row["x_m"] + half, row["y_m"] + half)
        marks.append(Mark(row["scene"], kind, box))
    is_missed = ~truth.objects.index.isin(matched["object_index"])
    missed = truth.objects[is_missed].to_dict("records")
    return marks + [Mark(row["scene"], "missed", row["geometry"].bounds) for row in missed]


def chosen_tiles(catalog: Catalog) -> list[str]:
    """Return the names of the tiles with the most objects, at most two of one place."""
    counts = catalog.labels["scene"].value_counts()
    scenes = catalog.scenes.assign(objects=catalog.scenes["scene"].map(counts).fillna(0))
    is_square = scenes["width_px"] == scenes["height_px"]
    ordered = scenes[is_square].sort_values(["objects", "scene"], ascending=[False, True])
    return ordered.groupby("place", sort=False).head(PER_PLACE)["scene"].head(N_TILES).tolist()


def tile_with_marks(path: Path, gsd_m: float, marks: list[Mark]) -> Image.Image:
    """Return a tile as a picture with its marks."""
    with rasterio.open(path) as tile:
        pixels = tile.read()[:3]
    image = Image.fromarray(np.moveaxis(pixels, 0, 2)).resize((TILE_PX, TILE_PX))
    px_per_m = TILE_PX / (pixels.shape[2] * gsd_m)
    draw = ImageDraw.Draw(image)
    for mark in marks:
        left, top, right, bottom = mark.box_m
        grown = (left - MARGIN_M, top - MARGIN_M, right + MARGIN_M, bottom + MARGIN_M)
        draw_mark(draw, mark.kind, tuple(value * px_per_m for value in grown))
    return image


def draw_mark(draw: ImageDraw.ImageDraw, kind: str, box: tuple[float, ...]) -> None:
    """Draw one mark: a dark line under a colored one, so that it shows on any ground."""
    color, shape, _ = MARKS[kind]
    outline = draw.rectangle if shape == "box" else draw.ellipse
    outline(box, outline=(0, 0, 0), width=4)
    inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
    outline(inner, outline=color, width=2)


def draw_legend(image: Image.Image, top: int, shown: list[Mark], marks: list[Mark]) -> None:
    """Draw the legend below the tiles: each mark with its count here and over the split."""
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(17)
    left = 10
    for kind, (_, _, words) in MARKS.items():
        here = sum(mark.kind == kind for mark in shown)
        in_all = sum(mark.kind == kind for mark in marks)
        middle = top + LEGEND_PX / 2
        draw_mark(draw, kind, (left, middle - 11, left + 22, middle + 11))
        text = f"{words}: {here} here, {in_all} in all of test"
        draw.text((left + 32, middle), text, fill=(20, 30, 40), font=font, anchor="lm")
        left += 52 + int(draw.textlength(text, font=font)) + 20


def main() -> None:
    """Write docs/images/detections.jpg."""
    catalog = load_catalog(ROOT / "data/scenes").split("test")
    detections = pd.read_parquet(ROOT / "data/detections/detections.parquet")
    params = load_params("evaluate", EvaluateParams, ROOT)
    marks = marks_of(catalog, detections, params, load_bundle(ROOT / "data/model").card.gsd_m)
    rows = {row.scene: row for row in catalog}
    names = chosen_tiles(catalog)
    step = TILE_PX + GAP_PX
    n_lines = -(-len(names) // COLUMNS)
    height = n_lines * step - GAP_PX + LEGEND_PX
    picture = Image.new("RGB", (COLUMNS * step - GAP_PX, height), "white")
    for number, name in enumerate(names):
        row = rows[name]
        mine = [mark for mark in marks if mark.scene == name]
        tile = tile_with_marks(ROOT / row.path, row.gsd_m[0], mine)
        picture.paste(tile, (number % COLUMNS * step, number // COLUMNS * step))
    shown = [mark for mark in marks if mark.scene in names]
    draw_legend(picture, height - LEGEND_PX, shown, marks)
    picture.save(PICTURE, quality=QUALITY)


if __name__ == "__main__":
    main()
