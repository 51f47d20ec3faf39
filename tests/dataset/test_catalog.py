"""The catalog and its records: rows, objects, and one sentence for every broken file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.dataset.catalog import Catalog, SceneRow, empty_areas
from windhover.dataset.catalog_report import CatalogReport, LabelCount, NamedLabels
from windhover.dataset.catalog_tables import LABEL_COLUMNS
from windhover.errors import FormatError, MissingFileError

RECORD: dict[str, Any] = {
    "scene": "a",
    "path": "a.tif",
    "width_px": np.int64(200),
    "height_px": np.int64(100),
    "bands": np.array(["red", "green"], object),
    "dtype": "uint8",
    "nodata": np.nan,
    "crs": None,
    "transform": np.array([0.5, 0, 0, 0, -2.0, 0]),
    "gsd_x_m": 0.5,
    "gsd_y_m": 2.0,
    "place": "p",
    "split": "train",
    "labeled": np.bool_(True),
    "footprint_wkt_4326": None,
}


def label(box: tuple[float, float, float, float], name: str, role: str) -> dict[str, Any]:
    left, top, right, bottom = box
    sides = dict(zip(("left", "top", "right", "bottom"), box, strict=True))
    return {
        "scene": "a",
        "class": name,
        "role": role,
        "col": (left + right) / 2,
        "row": (top + bottom) / 2,
        **sides,
        "length_m": np.nan,
        "width_m": np.nan,
        "source": "",
        "geometry": shapely.box(*box),
    }


@pytest.fixture
def catalog() -> Catalog:
    """One scene with two objects, one of them a point, and an ignored object."""
    labels = [
        label((10, 20, 40, 50), "jet", "object"),
        label((60, 60, 60, 60), "tug", "object"),
        label((80, 10, 90, 30), "cut", "ignore"),
    ]
    table = geopandas.GeoDataFrame(
        pd.DataFrame(labels, columns=list(LABEL_COLUMNS)), geometry="geometry"
    )
    report = CatalogReport(training_gsd_m=1.0, bands=["red", "green"])
    return Catalog(pd.DataFrame([RECORD]), table, empty_areas(), report)


def test_a_row_has_plain_numbers_and_none_for_missing_values(catalog: Catalog) -> None:
    (row,) = catalog
    assert isinstance(row, SceneRow)
    assert (type(row.width_px), row.bands, row.nodata, row.crs) == (
        int,
        ("red", "green"),
        None,
        None,
    )
    assert row.transform == (0.5, 0.0, 0.0, 0.0, -2.0, 0.0)
    assert (row.labeled, row.gsd_m, row.area_m2) == (True, (0.5, 2.0), 200 * 0.5 * 100 * 2.0)


def test_objects_are_the_labels_in_px_of_a_grid(catalog: Catalog) -> None:
    objects = catalog.objects_of("a", (2.0, 10.0), ["jet", "tug"])
    assert objects.centers_xy.tolist() == [[12.5, 3.5], [30.0, 6.0], [42.5, 2.0]]
    assert objects.sizes_wh[[0, 2]].tolist() == [[15.0, 3.0], [5.0, 2.0]]
    assert np.isnan(objects.sizes_wh[1]).all(), "a point has no size"
    assert objects.class_index.tolist() == [0, 1, -1]
    assert objects.is_ignored.tolist() == [False, False, True]
    assert catalog.ignored_boxes_of("a", (2.0, 10.0)).tolist() == [[40.0, 1.0, 45.0, 3.0]]
    assert len(catalog.objects_of("b", (1.0, 1.0), ["jet", "tug"])) == 0


def test_a_class_that_is_not_known_is_an_error(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="'tug' is not in list"):
        catalog.objects_of("a", (1.0, 1.0), ["jet"])


def test_a_report_is_the_same_after_saving(tmp_path: Path) -> None:
    report = CatalogReport(
        training_gsd_m=1.25,
        bands=["red"],
        dropped={"repeated": 1},
        by_split=[LabelCount(split="train", class_name="jet", role="object", labels=3)],
        smaller_than_3_px=NamedLabels(count=1, first=[{"scene": "a", "class": "jet"}]),
    )
    report.save(tmp_path / "report.json")
    assert CatalogReport.load(tmp_path / "report.json") == report
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["by_split"][0]["class"] == "jet"
    assert "label_files" not in content, "keys without a value are not written"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", r"report\.json: not valid JSON .*Run the scenes stage again: dvc repro -f scenes\."),
        ("{}", r"report\.json: `training_gsd_m` is missing\. Run the scenes stage again: dvc"),
        ('{"training_gsd_m": "x"}', r"`training_gsd_m`: .*valid number.*, got \"x\"\. Run the"),
        ('{"training_gsd_m": 1, "new": 2}', r"`new`: .*, got 2\. Run the scenes stage again"),
        ('{"training_gsd_m": 1, "dropped": {"a": 0.5}}', r"`dropped\.a`: .*integer.*, got 0\.5\."),
    ],
)
def test_a_broken_report_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(FormatError, match=sentence):
        CatalogReport.load(tmp_path / "report.json")


def test_a_missing_report_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="Run the scenes stage first: dvc repro scenes"):
        CatalogReport.load(tmp_path / "report.json")
