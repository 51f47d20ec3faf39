"""The map page at 100,000 detections: milliseconds from a move of the slider to the new picture.

    python benchmarks/bench_map_page.py [--objects N] [--picture FOLDER]

In headless Chromium without a GPU, on a desk's and on a phone's size. Also how large each format of
the same detections is, and what processor time writing takes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
from measuring import save, write_raster

from browser import BROWSER, Browser
from toy_results import searched
from windhover.export.write_detections import write_detections
from windhover.geometry.georef import box_polygons

SCREENS = {"desk": (1280, 800), "phone": (390, 844)}
SCORES = (0.6, 0.9, 0.7, 0.55, 0.95, 0.8, 0.5)
SUFFIXES = (".html", ".gpkg", ".parquet", ".geojson", ".fgb", ".csv", ".json", ".pmtiles")
HEIGHT_PX, WIDTH_PX = 6000, 8000
SIDE_PX = 10
SLIDE = """(async () => {
  const slider = document.getElementById('slider'), started = performance.now();
  slider.value = %s;
  slider.dispatchEvent(new Event('input'));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - started;
})()"""


def many_detections(folder: Path, count: int) -> Any:
    """Return a table and a summary of detections spread over one scene of 48 Mpx."""
    raster = write_raster(folder / "scene.tif", HEIGHT_PX, WIDTH_PX)
    table, summary = searched([raster], (50, 60, SIDE_PX, SIDE_PX))
    rng = np.random.default_rng(0)
    centers = rng.uniform(SIDE_PX, [WIDTH_PX - SIDE_PX, HEIGHT_PX - SIDE_PX], (count, 2))
    boxes = np.hstack([centers - SIDE_PX / 2, centers + SIDE_PX / 2])
    many = table.iloc[np.zeros(count, int)].reset_index(drop=True)
    shapes = box_polygons(boxes, summary.scenes[0].affine)
    many = many.assign(
        geometry=shapes,
        score=rng.uniform(0.5, 1, count),
        col=centers[:, 0],
        row=centers[:, 1],
        id=[f"{number:016x}" for number in range(count)],
    )
    return geopandas.GeoDataFrame(many, geometry="geometry"), summary


def redraw_ms(page: Path, folder: Path, screen: str, picture: Path | None) -> list[float]:
    """Return the milliseconds of each redraw on one screen."""
    with Browser(folder / f"profile-{screen}", *SCREENS[screen]) as browser:
        browser.open(page, "window.windhoverMap")
        taken = [float(browser.value(SLIDE % score)) for score in SCORES]
        if picture is not None:
            browser.picture(picture / f"map_{screen}.png")
    return taken


def main() -> None:
    """Write the page and every other format, and slide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"objects": arguments.objects, "formats": {}, "redraw_ms": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        table, summary = many_detections(folder, arguments.objects)
        for suffix in SUFFIXES:
            path = folder / f"found{suffix}"
            started = time.process_time()
            write_detections(table, summary, path)
            figures["formats"][suffix] = {
                "mb": round(path.stat().st_size / 1e6, 2),
                "processor_s": round(time.process_time() - started, 2),
            }
        if BROWSER is None:
            print("no redraws timed: no browser, apt-get install chromium")
        else:
            for screen in SCREENS:
                taken = redraw_ms(folder / "found.html", folder, screen, arguments.picture)
                figures["redraw_ms"][screen] = {
                    "median": round(float(np.median(taken)), 1),
                    "highest": round(max(taken), 1),
                }
    save("map_page", figures, "a redraw within 200 ms of a move of the slider")


if __name__ == "__main__":
    main()
