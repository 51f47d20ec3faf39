"""Export of labels: they survive the way out and back, and what is lost is named."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from conftest import MakeScene
from toy_catalog import import_folder
from windhover.dataset.export_labels import export_labels, write_labels
from windhover.dataset.import_labels import ImportOptions, import_labels
from windhover.errors import DataError, ParameterError
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene


@pytest.mark.parametrize("name", ["labels.json", "labels.geojson"])
def test_labels_survive_the_way_out_and_back(labeled_folder: Path, name: str) -> None:
    first = import_folder(labeled_folder / "raw", labeled_folder, "out")
    lines: list[str] = []
    export_labels(first, labeled_folder / name, lines.append)
    assert "cannot hold" in lines[1]
    again = import_folder(labeled_folder / name, labeled_folder, "again")
    assert again.labels[["scene", "class", "role"]].equals(first.labels[["scene", "class", "role"]])
    sides = ["left", "top", "right", "bottom", "col", "row"]
    assert np.abs(again.labels[sides].to_numpy() - first.labels[sides].to_numpy()).max() < 1e-3
    for one, other in zip(first.labels.geometry, again.labels.geometry, strict=True):
        assert one.geom_type == other.geom_type
        assert shapely.hausdorff_distance(one, other) < 1e-3


def test_what_coco_cannot_hold_is_named_and_names_that_clash_find_their_scenes(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    shapes = [
        shapely.Point(30, 40).buffer(12).difference(shapely.Point(30, 40).buffer(5)),
        shapely.box(60, 70, 80, 95),
    ]
    for number, name in enumerate(("raw/one/tile.tif", "raw/two/tile.tif")):
        path = make_scene(name, origin=(4e5 + 1e4 * number, 5e6))
        transform = inspect_scene(path).transform
        placed = shapely.transform(
            shapes, lambda p, t=transform: np.stack(georef.pixel_to_world(t, *p.T), 1)
        )
        frame = geopandas.GeoDataFrame(
            {"class": ["ring", "hut"]}, geometry=list(placed), crs="EPSG:32631"
        )
        frame.to_file(tmp_path / "labels.gpkg", layer="labels", mode="a" if number else "w")
    first = import_folder(tmp_path / "labels.gpkg", tmp_path, "out")
    lines: list[str] = []
    export_labels(first, tmp_path / "labels.json", lines.append)
    assert "2 outlines with holes or of lines, of which it holds the box" in lines[1]
    again = import_folder(tmp_path / "labels.json", tmp_path, "again")
    assert set(again.labels["scene"]) == {"one--tile", "two--tile"}
    sides = ["left", "top", "right", "bottom"]
    np.testing.assert_allclose(again.labels[sides], first.labels[sides], atol=1e-3)


def test_geojson_needs_a_georeference_and_other_suffixes_are_refused(
    tmp_path: Path, make_scene: MakeScene
) -> None:
    make_scene("raw/a.png", crs=None, driver="PNG")
    (tmp_path / "labels.csv").write_text("image,xmin,ymin,xmax,ymax\na.png,1,2,30,40\n")
    catalog = import_labels(
        tmp_path / "labels.csv",
        tmp_path / "raw",
        tmp_path / "out",
        options=ImportOptions(gsd_m=0.5),
        report=lambda _: None,
    )
    with pytest.raises(DataError, match="no scene has a georeference"):
        write_labels(catalog, tmp_path / "a.geojson")
    with pytest.raises(
        ParameterError, match=r"written as \.json \(COCO\) or \.geojson, got a\.kml"
    ):
        write_labels(catalog, tmp_path / "a.kml")
    assert not list(tmp_path.glob("a.*"))
