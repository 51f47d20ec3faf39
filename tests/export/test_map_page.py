"""The map page: self-contained, bounded, and used by a browser as a person would."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from browser import BROWSER, Browser
from toy_results import BOX, searched
from windhover.errors import DataError
from windhover.export import map_page
from windhover.export.map_files import is_own_map
from windhover.export.map_page import write_map_page
from windhover.geometry.georef import box_polygons

REDRAW_MS = 200
SLIDE = """(async () => {
  const slider = document.getElementById('slider');
  slider.value = %s;
  slider.dispatchEvent(new Event('input'));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return [windhoverMap.state.redrawMs, windhoverMap.state.shown];
})()"""


def data_of(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.mark.parametrize("rows", [(), (BOX, (90.5, 20, 8, 8))])
def test_a_page_holds_all_it_needs(make_scene: Any, tmp_path: Path, rows: Any) -> None:
    found = searched([make_scene()], *rows)
    for name in ("a.html", "b.html"):
        write_map_page(*found, tmp_path / name)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert is_own_map(tmp_path / "a.html")
    assert "BSD 2-Clause License" in text
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.http", text)
    data = data_of(tmp_path / "a.html")
    assert (data["crs"], len(data["found"]["id"]), len(data["chips"])) == (
        "earth",
        *[len(rows)] * 2,
    )
    assert data["scenes"][0]["image"].startswith("data:image/webp;base64,")


def test_local_grids_lie_side_by_side(make_scene: Any, tmp_path: Path) -> None:
    paths = [make_scene(f"{name}.png", crs=None, driver="PNG") for name in "abc"]
    write_map_page(*searched(paths, BOX, gsd=0.5), tmp_path / "l.html")
    data = data_of(tmp_path / "l.html")
    assert data["crs"] == "plane"
    boxes = [scene["bounds"] for scene in data["scenes"]]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        a, b = boxes[first], boxes[second]
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
    assert "laid out side by side" in (tmp_path / "l.html").read_text(encoding="utf-8")


def test_rasters_that_are_gone_and_texts_with_tags_do_no_harm(
    make_scene: Any, tmp_path: Path
) -> None:
    path = make_scene("a<b.tif")
    table, summary = searched([path], BOX)
    path.unlink()
    write_map_page(table, summary, tmp_path / "d.html")
    assert "No imagery of 1 scene" in (tmp_path / "d.html").read_text(encoding="utf-8")
    evil = table.assign(**{"class": "</script><b>"})
    write_map_page(evil, summary, tmp_path / "e.html")
    assert "</script><b>" not in (tmp_path / "e.html").read_text(encoding="utf-8")


def test_a_raster_that_was_changed_or_damaged_since_costs_its_pictures_alone(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_page, "side_of_overlays", lambda n_scenes: 160)  # from an overview
    pixels = np.random.default_rng(0).integers(1, 255, (3, 512, 640)).astype(np.uint8)
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "DEFLATE"}
    path = make_scene("a.tif", data=pixels, **blocks)
    found = searched([path], BOX)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4, 8], Resampling.average)
    whole = path.read_bytes()
    with rasterio.open(path) as raster:
        offset = int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    path.write_bytes(whole[:offset] + b"\xff" * 1000 + whole[offset + 1000 :])
    write_map_page(*found, tmp_path / "damaged.html")
    assert "No pictures of the detections of 1 scene" in (tmp_path / "damaged.html").read_text()
    make_scene("a.tif", data=pixels[:, :64, :48])
    write_map_page(*found, tmp_path / "changed.html")
    sentence = "No imagery of 1 scene: .*has 48 x 64 px, and had 640 x 512 when it was searched"
    assert re.search(sentence, (tmp_path / "changed.html").read_text())
    for name in ("damaged", "changed"):
        data = data_of(tmp_path / f"{name}.html")
        assert (len(data["found"]["id"]), data["chips"]) == (1, {})


def test_a_page_of_too_much_shows_the_best_and_tells_what_it_leaves_out(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_page, "MAX_ROWS", 2)
    monkeypatch.setattr(map_page, "MAX_OVERLAYS", 2)
    paths = [make_scene(f"{name}.tif", seed=number) for number, name in enumerate("abc")]
    table, summary = searched(paths, BOX, (90.5, 20, 8, 8))
    table = table[table["scene"] != "b"].reset_index(drop=True)
    write_map_page(table, summary, tmp_path / "m.html")
    data = data_of(tmp_path / "m.html")
    best = table.sort_values("score", ascending=False, kind="stable")["id"].tolist()[:2]
    assert data["found"]["id"] == best
    assert ["image" in scene for scene in data["scenes"]] == [True, False, True]
    text = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert "The 2 detections of the highest scores are shown, 2 are left out" in text
    assert "Imagery of 2 of 3 scenes, those with the most detections" in text


def test_without_leaflet_a_page_is_refused(
    make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_page, "LEAFLET_PACKAGE", "no-such-package")
    with pytest.raises(DataError, match="Install it: pip install no-such-package"):
        write_map_page(*searched([make_scene()], BOX), tmp_path / "d.html")
    assert not (tmp_path / "d.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_browser_slides_clicks_and_measures(
    make_scene: Any, tmp_path: Path, width: int, height: int
) -> None:
    """A hundred thousand detections are drawn anew within 200 ms of a move of the slider."""
    if BROWSER is None:
        pytest.skip("needs a browser: apt-get install chromium")
    table, summary = searched(
        [make_scene(shape_hw=(1500, 2100), data=np.full((3, 1500, 2100), 90, np.uint8))], BOX
    )
    n = 100_000
    rng = np.random.default_rng(0)
    centers = rng.uniform(10, [2090, 1490], (n, 2))
    boxes = np.hstack([centers - 5, centers + 5])
    many = table.iloc[np.zeros(n, int)].reset_index(drop=True)
    many["score"] = rng.uniform(0.5, 1, n)
    many["col"], many["row"] = centers.T
    shapes = box_polygons(boxes, summary.scenes[0].affine)
    write_map_page(
        geopandas.GeoDataFrame(many.assign(geometry=shapes), geometry="geometry"),
        summary,
        tmp_path / "m.html",
    )
    with Browser(tmp_path / "profile", width, height) as browser:
        browser.open(tmp_path / "m.html", "window.windhoverMap")
        shown = []
        redraw_ms = []
        for score in (0.6, 0.9, 0.7, 0.55, 0.5):
            ms, count = browser.value(SLIDE % score)
            redraw_ms.append(ms)
            shown.append(count)
        assert shown == [int((many["score"] >= s).sum()) for s in (0.6, 0.9, 0.7, 0.55)] + [n]
        assert min(redraw_ms) < REDRAW_MS
        text = browser.value("document.getElementById('expected').textContent")
        assert "expected precision 75." in text or "expected precision 74." in text
        place = browser.value("windhoverMap.pointOf(0)")
        browser.click(place["x"], place["y"])
        time.sleep(0.5)
        assert browser.value("document.querySelector('.leaflet-popup-content') !== null")
        browser.value("document.getElementById('measure').click()")
        for x in (60, 160):
            browser.click(x, 300)
        assert "distance" in browser.value("document.getElementById('distance').textContent")
        assert not browser.errors
        assert all(url.startswith(("file:", "data:")) for url in browser.requests)
