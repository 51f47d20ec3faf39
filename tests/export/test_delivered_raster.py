"""Files of review tools name the raster that was delivered, with its own size, for a block too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import MakeScene
from toy_results import searched
from windhover.export.coco import write_coco
from windhover.export.label_studio import write_label_studio
from windhover.geometry.windows import Window
from windhover.imagery.rasters import inspect_scene
from windhover.imagery.virtual_rasters import write_window

BOX = (30, 40, 20, 12)  # center and size in px of the block
WINDOW = Window(50, 70, 90, 130)  # of the raster: from row 50 and column 70


@pytest.fixture
def block(make_scene: MakeScene, tmp_path: Path) -> Path:
    raster = make_scene("port.tif", (150, 210))
    path = tmp_path / "port~b1.vrt"
    write_window(inspect_scene(raster), WINDOW, path)
    return path


def test_coco_has_px_and_size_of_the_raster(block: Path, tmp_path: Path) -> None:
    table, summary = searched([block], BOX)
    scene = summary.scenes[0].model_copy(update={"origin_px": (70, 50)})
    summary = summary.model_copy(update={"scenes": (scene,)})
    write_coco(table, summary, tmp_path / "found.json")
    coco = json.loads((tmp_path / "found.json").read_text())
    image = coco["images"][0]
    assert (image["file_name"], image["width"], image["height"]) == ("port.tif", 210, 150)
    assert coco["annotations"][0]["bbox"] == pytest.approx([90, 84, 20, 12], abs=0.02)
    write_label_studio(table, summary, tmp_path / "tasks.json")
    task = json.loads((tmp_path / "tasks.json").read_text())[0]
    assert task["data"]["image"].endswith("=port.tif")
    value = task["predictions"][0]["result"][0]["value"]
    assert value["x"] == pytest.approx(100 * 90 / 210, abs=0.02)
    assert value["y"] == pytest.approx(100 * 84 / 150, abs=0.02)


def test_where_the_raster_is_gone_the_block_itself_is_named(block: Path, tmp_path: Path) -> None:
    table, summary = searched([block], BOX)
    (tmp_path / "port.tif").unlink()
    write_coco(table, summary, tmp_path / "found.json")
    image = json.loads((tmp_path / "found.json").read_text())["images"][0]
    assert (image["file_name"], image["width"], image["height"]) == ("port~b1.vrt", 130, 90)
