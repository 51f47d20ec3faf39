"""Labels on ground without data: left out and told, however a raster marks such ground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp

from conftest import MakeScene
from windhover.dataset import labels_without_data
from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog
from windhover.dataset.check_rasters import check_pixels
from windhover.dataset.labels_without_data import ON_NO_DATA, drop_labels_without_data
from windhover.errors import DataError
from windhover.imagery.rasters import inspect_scene
from windhover.params.scenes import ScenesParams

SHAPE_HW = (150, 210)
GAP = (slice(40, 110), slice(90, 170))  # rows, columns without data
# left, top, right, bottom, px: on data, at the border of the gap, and three times in the gap
ON_DATA, AT_BORDER = (10, 20, 34, 44), (60, 50, 91, 70)
IN_GAP, AT_GAPS_EDGE, POINT_IN_GAP = (100, 50, 130, 80), (90, 40, 100, 52), (150, 90, 150, 90)
BOXES = (ON_DATA, AT_BORDER, IN_GAP, AT_GAPS_EDGE, POINT_IN_GAP)


def pixels(dtype: str = "uint8", bands: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 250, (bands, *SHAPE_HW)).astype(dtype)


def write_nodata(make_scene: MakeScene, name: str) -> Path:
    data = pixels()
    data[:, *GAP] = 0
    return make_scene(name, data=data, nodata=0)


def write_nan(make_scene: MakeScene, name: str) -> Path:
    data = pixels("float32", 2)
    data[0, *GAP] = np.nan  # of one band alone
    return make_scene(name, data=data)


def write_alpha(make_scene: MakeScene, name: str) -> Path:
    data = pixels(bands=4)
    data[3] = 255
    data[3, *GAP] = 0
    path = make_scene(name, data=data)
    with rasterio.open(path, "r+") as dataset:
        names = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        dataset.colorinterp = names
    return path


def write_mask(make_scene: MakeScene, name: str) -> Path:
    path = make_scene(name, data=pixels())
    mask = np.full(SHAPE_HW, 255, np.uint8)
    mask[GAP] = 0
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    return path


def write_boxes(path: Path, boxes: Any = BOXES) -> None:
    rows = [f"{path.stem},{left},{top},{right},{bottom},a" for left, top, right, bottom in boxes]
    path.with_suffix(".csv").write_text(
        "\n".join(["image,xmin,ymin,xmax,ymax,class", *rows]) + "\n"
    )


def catalog_of(tmp_path: Path, **changes: Any) -> Catalog:
    out = tmp_path / "made"
    out.mkdir(exist_ok=True)
    values = {"raw": str(tmp_path / "raw"), "groups": None, "split_fractions": [1.0, 0.0, 0.0]}
    return build_catalog(ScenesParams(**(values | changes)), out, tmp_path / "final")


@pytest.mark.parametrize("write", [write_nodata, write_nan, write_alpha, write_mask])
def test_labels_without_a_valid_pixel_are_left_out(
    write: Any, tmp_path: Path, make_scene: MakeScene
) -> None:
    write_boxes(write(make_scene, "raw/gap.tif"))
    catalog = catalog_of(tmp_path)
    found = catalog.labels.sort_values("col")[["left", "top", "right", "bottom"]].to_numpy()
    assert found.tolist() == [list(ON_DATA), list(AT_BORDER)]
    assert catalog.report.dropped[ON_NO_DATA] == 3
    sentence = "3 labels lie where their raster has no data; they are left out: gap (3)"
    assert catalog.report.notes.count(sentence) == 1


def test_blocks_and_stacks_leave_them_out_too(tmp_path: Path, make_scene: MakeScene) -> None:
    data = pixels(bands=1)
    data[:, *GAP] = 0
    for band in ("B1", "B2"):
        write_boxes(make_scene(f"raw/{band}.tif", data=data, nodata=0))
    (tmp_path / "raw/B2.csv").unlink()
    catalog = catalog_of(
        tmp_path,
        stack={"one": "B1.tif", "two": "B2.tif"},
        spatial_block_m=130.0,
        guard_m=80.0,
    )
    assert catalog.report.dropped[ON_NO_DATA] == 3
    assert len(catalog.labels) + catalog.report.dropped["in the guard strips between blocks"] == 2


def test_bands_decide_which_pixels_are_valid(tmp_path: Path, make_scene: MakeScene) -> None:
    data = pixels()
    data[0, *GAP] = 0  # a raster of unsigned numbers misses what all bands that are read miss
    write_boxes(make_scene("raw/gap.tif", data=data, nodata=0))
    assert len(catalog_of(tmp_path).labels) == 5
    assert len(catalog_of(tmp_path, bands=["band1"]).labels) == 2


def test_no_label_with_data_is_an_error(tmp_path: Path, make_scene: MakeScene) -> None:
    write_boxes(write_nodata(make_scene, "raw/gap.tif"), [IN_GAP, POINT_IN_GAP])
    with pytest.raises(
        DataError, match=r"gap\.csv: none of the 2 labels lies where its raster has data: gap \(2\)"
    ):
        catalog_of(tmp_path)


def test_cells_and_large_boxes_change_nothing(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_nodata(make_scene, "gap.tif")
    info = inspect_scene(path)
    rng = np.random.default_rng(3)
    corner = rng.uniform(-10, 1, (300, 2)) + rng.uniform(0, 1, (300, 2)) * SHAPE_HW[::-1]
    boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (300, 2))], axis=1)
    boxes = np.concatenate([boxes, [(95.0, 45.0, 168.0, 108.0), (95.0, 45.0, 171.0, 108.0)]])
    labels = geopandas.GeoDataFrame(
        boxes, columns=["left", "top", "right", "bottom"], geometry=list(shapely.box(*boxes.T))
    ).assign(scene="gap", source="x")
    with rasterio.open(path) as dataset:
        is_valid = (dataset.read() != 0).any(axis=0)
    kept = []
    for cell_px in (512, 37):
        monkeypatch.setattr(labels_without_data, "CELL_PX", cell_px)
        seen = drop_labels_without_data(labels, [info], check_pixels([info]), bands=info.bands)
        assert seen.n_dropped + len(seen.labels) == len(labels)
        kept.append(seen.labels)
    assert kept[0].equals(kept[1])
    assert 0 < len(kept[0]) < len(labels)
    for box in kept[0].query("right - left > 3 and bottom - top > 3").itertuples():
        rows = slice(max(int(box.top), 0), int(np.ceil(box.bottom)))
        cols = slice(max(int(box.left), 0), int(np.ceil(box.right)))
        assert is_valid[rows, cols].any()


def test_rasters_that_lack_no_pixel_are_not_read_again(
    tmp_path: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(labels_without_data, "Scene", fail)
    write_boxes(make_scene("raw/plain.tif", data=pixels()))
    write_boxes(make_scene("raw/full.tif", data=pixels(), nodata=0, origin=(5e5, 5e6)))
    assert len(catalog_of(tmp_path).labels) == 10


def test_one_missing_pixel_of_many_is_not_all_of_them(make_scene: MakeScene) -> None:
    data = np.ones((1, 300, 400), np.uint8)
    data[0, 7, 9] = 0
    info = inspect_scene(make_scene(data=data, nodata=0))
    assert check_pixels([info])[info.name].valid == 0.9999
