"""Overlapping tiles, collected: AP against that of whole scenes, and aircraft that stand twice.

    python benchmarks/bench_one_object_once.py MODEL [--split test] [--pictures N] [--phases]

Airbus pictures of one split (WINDHOVER_REAL_DATA names the folder above airbus-aircraft) are cut
into tiles of 1024 px that overlap by a quarter; each inner border is shifted by 0 to 3 px, so that
the windows of two tiles nowhere coincide. All are searched at a score of 0.01, whole and in tiles,
and the tiles are collected. The pictures have no georeference: each gets a place of its own, 10 km
from the next, in the metres of EPSG:32631 at 0.5 m a px (nominal). `shifted` moves each tile's
georeference by 0 to 3 px too, as scenes of two dates are. For comparison,
`own_tile` keeps of each place only the tile that it lies deepest in, without merging.

With `--phases` the whole pictures are searched again without their first 3 to 17 rows and columns,
so that windows and averaged px begin elsewhere, as they do in every tile: how far AP differs by it.

Truth and rule are those of `airbus_truth.py`. An aircraft stands twice where two rows above the
model's threshold have their centres within half its longer side.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from airbus_truth import GSD_M, AirbusScene, airbus_scenes, assess_found
from measuring import save

from windhover.collection.read_results import collected_scenes
from windhover.collection.write_collection import write_collection
from windhover.detection.detect_rasters import detect_rasters
from windhover.detection.detect_request import DetectRequest
from windhover.export.collected_scene import CollectedScene
from windhover.geometry.georef import WGS84, transformer
from windhover.models.bundle import load_bundle

CRS = "EPSG:32631"
STEP_M = 10_000.0
TILE_PX = 1024
OVERLAP_PX = 256
MAX_SHIFT_PX = 3
SIDE_PX = 2560
LEAST_SCORE = 0.01
PHASES = (
    (5, 13),
    (10, 3),
    (15, 8),
    (3, 17),
)  # first row and column; a stride has 20 px as delivered


def corner(number: int) -> tuple[float, float]:
    """Return x and y of the upper left corner of a picture."""
    return 300_000.0 + STEP_M * (number % 8), 5_000_000.0 - STEP_M * (number // 8)


def starts(rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return first px and length of the tiles along one side."""
    inner = range(TILE_PX - OVERLAP_PX, SIDE_PX - OVERLAP_PX, TILE_PX - OVERLAP_PX)
    first = [0, *(start - int(rng.integers(0, MAX_SHIFT_PX + 1)) for start in inner)]
    return [(start, min(TILE_PX + MAX_SHIFT_PX, SIDE_PX - start)) for start in first]


def write_pictures(scenes: Sequence[AirbusScene], folder: Path) -> None:
    """Write each picture whole and in tiles, as GeoTIFF at its place."""
    rng = np.random.default_rng(0)
    for number, scene in enumerate(scenes):
        with rasterio.open(scene.path) as dataset:
            pixels = dataset.read()
        x, y = corner(number)
        place = Affine(GSD_M, 0, x, 0, -GSD_M, y)
        name = scene.path.stem
        write(folder / "whole" / f"{name}.tif", pixels, place)
        for row, height in starts(rng):
            for col, width in starts(rng):
                part = pixels[:, row : row + height, col : col + width]
                path = folder / "tiles" / f"{name}_{row}_{col}.tif"
                write(path, part, place @ Affine.translation(col, row))


def write_phases(folder: Path) -> None:
    """Write each whole picture without some rows and columns at its upper left corner."""
    for path in sorted((folder / "whole").glob("*.tif")):
        with rasterio.open(path) as dataset:
            pixels = dataset.read()
            place = dataset.transform
        for row, col in PHASES:
            part = pixels[:, row:, col:]
            target = folder / f"phase_{row}_{col}" / path.name
            write(target, part, place @ Affine.translation(col, row))


def write(path: Path, pixels: np.ndarray, transform: Affine) -> None:
    """Write a raster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    options = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with rasterio.open(
        path, "w", **options, dtype=pixels.dtype, crs=CRS, transform=transform, compress="deflate"
    ) as dataset:
        dataset.write(pixels)


def shifted(scenes: Iterator[CollectedScene]) -> Iterator[CollectedScene]:
    """Yield scenes with their georeference moved by 0 to 3 px each way."""
    rng = np.random.default_rng(1)
    for scene in scenes:
        offset = rng.integers(-MAX_SHIFT_PX, MAX_SHIFT_PX + 1, 2) * GSD_M
        columns = dict(scene.detections)
        columns["x"] = columns["x"] + offset[0]
        columns["y"] = columns["y"] + offset[1]
        lonlat = transformer(CRS, WGS84).transform(columns["x"], columns["y"])
        columns["lon"], columns["lat"] = map(np.asarray, lonlat)
        columns["geometry"] = shapely.transform(columns["geometry"], lambda xy, by=offset: xy + by)
        place = Affine.translation(*offset) @ scene.summary.affine
        summary = scene.summary.model_copy(update={"transform": tuple(place)[:6], "path": ""})
        yield replace(scene, summary=summary, detections=columns)


def in_pictures(table: pd.DataFrame, scenes: Sequence[AirbusScene]) -> pd.DataFrame:
    """Return rows with the picture they are in and their px there."""
    found = []
    for number, scene in enumerate(scenes):
        x, y = corner(number)
        col = (table["x"] - x) / GSD_M
        row = (y - table["y"]) / GSD_M
        inside = col.between(-50, SIDE_PX + 50) & row.between(-50, SIDE_PX + 50)
        rows = pd.DataFrame({"score": table["score"], "col": col, "row": row})[inside]
        found.append(rows.assign(scene=scene.path.stem))
    return pd.concat(found, ignore_index=True).sort_values("score", ascending=False)


def own_tiles(table: pd.DataFrame, tiles: dict[str, Any]) -> pd.DataFrame:
    """Return the rows that lie deepest in the tile that found them, of all tiles."""
    depth = []
    for tile in tiles.values():
        x = tile.transform[2]
        y = tile.transform[5]
        right = x + tile.width_px * GSD_M
        bottom = y - tile.height_px * GSD_M
        sides = [table["x"] - x, right - table["x"], y - table["y"], table["y"] - bottom]
        depth.append(np.min(sides, axis=0))
    owner = np.array(list(tiles), object)[np.argmax(depth, axis=0)]
    return table[owner == table["scene"].to_numpy(object)]


def twice(found: pd.DataFrame, scenes: Sequence[AirbusScene], threshold: float) -> int:
    """Return how many aircraft have several rows above a score within half their longer side."""
    count = 0
    for scene in scenes:
        rows = found[(found["scene"] == scene.path.stem) & (found["score"] >= threshold)]
        for kind in scene.boxes.values():
            for box in np.array(kind).reshape(-1, 4):
                x, y = (box[:2] + box[2:]) / 2
                longer = (box[2:] - box[:2]).max()
                near = np.hypot(rows["col"] - x, rows["row"] - y) <= longer / 2
                count += int(near.sum() > 1)
    return count


def main() -> None:
    """Search the pictures whole and in tiles, and compare what is collected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="folder that stays")
    parser.add_argument("--phases", action="store_true")
    args = parser.parse_args()
    scenes = [scene for scene in airbus_scenes() if scene.split == args.split][: args.pictures]
    point = load_bundle(args.model).operating_point
    threshold = min(of_class.threshold for of_class in point.per_class.values())
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        kinds = ["whole", "tiles"]
        if not (folder / "tiles").exists():
            write_pictures(scenes, folder)
        if args.phases:
            write_phases(folder)
            kinds += [f"phase_{row}_{col}" for row, col in PHASES]
        results = {kind: folder / f"{kind}.parquet" for kind in kinds}
        for kind, path in results.items():
            if not path.exists():
                scene_folder = str(folder / kind)
                detect_rasters(
                    DetectRequest([scene_folder], args.model, path, threshold=LEAST_SCORE)
                )
        measure(scenes, results, folder, threshold)


def measure(
    scenes: Sequence[AirbusScene], results: dict[str, Path], folder: Path, threshold: float
) -> None:
    """Collect the tiles and write the figures."""
    tables = {kind: pd.DataFrame(geopandas.read_parquet(path)) for kind, path in results.items()}
    tiles, header = collected_scenes([results["tiles"]])
    tables["own_tile"] = own_tiles(
        tables["tiles"], {scene.summary.scene: scene.summary for scene in tiles}
    )
    for kind in ("collected", "shifted"):
        found, _ = collected_scenes([results["tiles"]])
        if kind == "shifted":
            found = shifted(found)
        write_collection(found, header, folder / kind)
        tables[kind] = pd.DataFrame(geopandas.read_parquet(folder / kind / "objects"))
    figures: dict[str, Any] = {"pictures": len(scenes), "threshold": threshold}
    for kind, table in tables.items():
        rows = in_pictures(table, scenes)
        judged = assess_found(rows, list(scenes))
        above = rows[rows["score"] >= threshold]
        figures[kind] = {
            "rows_above_threshold": len(above),
            "ap": judged["ap"],
            "ap_95": judged["ap_95"],
            "f1": judged["f1"],
            "aircraft": judged["aircraft"],
            "aircraft_twice": twice(rows, scenes, threshold),
        }
    figures["ap_difference"] = round(figures["collected"]["ap"] - figures["whole"]["ap"], 4)
    save("one_object_once", figures, "AP within 0.002 of the whole scenes', no aircraft twice")


if __name__ == "__main__":
    main()
