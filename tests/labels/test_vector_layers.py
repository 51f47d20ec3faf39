"""Vector files keep their shapes, classes and coordinate system."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from windhover.errors import FormatError
from windhover.labels.formats import read_labels

BOX = (10.5, 20.0, 40.25, 60.0)


@pytest.mark.parametrize("driver", ["GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "Parquet"])
def test_vector_files_keep_shape_class_and_system(tmp_path: Path, driver: str) -> None:
    suffix = {
        "GPKG": "gpkg",
        "GeoJSON": "geojson",
        "ESRI Shapefile": "shp",
        "FlatGeobuf": "fgb",
        "Parquet": "parquet",
    }
    path = tmp_path / f"labels.{suffix[driver]}"
    crs = "EPSG:4326" if driver == "GeoJSON" else "EPSG:32631"
    frame = geopandas.GeoDataFrame(
        {"class": ["ship", "tug"]}, geometry=[shapely.box(*BOX), shapely.box(0, 0, 1, 2)], crs=crs
    )
    frame.to_parquet(path) if driver == "Parquet" else frame.to_file(path, driver=driver)
    labels = read_labels(path)
    order = np.argsort(labels.class_name)
    assert labels.class_name[order].tolist() == ["ship", "tug"]
    assert np.allclose(shapely.bounds(labels.geometry[order]), [BOX, (0, 0, 1, 2)])
    assert labels.crs == crs
    assert labels.space == "map"


def test_points_and_parts_are_taken_and_empty_shapes_counted(tmp_path: Path) -> None:
    shapes = [shapely.Point(1, 2), shapely.MultiPoint([(3, 4), (5, 6)]), shapely.Polygon(), None]
    geopandas.GeoDataFrame({"class": list("abcd")}, geometry=shapes, crs="EPSG:32631").to_file(
        tmp_path / "labels.gpkg"
    )
    labels = read_labels(tmp_path / "labels.gpkg")
    assert labels.class_name.tolist() == ["a", "b", "b"]
    assert labels.dropped == {"empty or reversed geometry": 2}


def test_an_empty_layer_is_a_layer(tmp_path: Path) -> None:
    geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:32631").to_file(
        tmp_path / "labels.gpkg"
    )
    assert len(read_labels(tmp_path / "labels.gpkg")) == 0


def test_of_several_layers_the_one_called_labels_is_read(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["a"]}, geometry=[shapely.Point(1, 2)], crs="EPSG:32631"
    )
    frame.to_file(tmp_path / "two.gpkg", layer="one")
    frame.assign(**{"class": ["b"]}).to_file(tmp_path / "two.gpkg", layer="labels")
    assert read_labels(tmp_path / "two.gpkg").class_name.tolist() == ["b"]


def test_layers_of_one_kind_are_read_together_and_name_their_classes(tmp_path: Path) -> None:
    boats = [shapely.box(x, 0, x + 2, 5) for x in (430_000.0, 430_050.0)]
    frame = geopandas.GeoDataFrame(geometry=boats, crs="EPSG:32631")
    frame.to_file(tmp_path / "two.gpkg", layer="boats")
    buoys = geopandas.GeoDataFrame(
        {"type": ["big buoy"], "role": ["ignore"]}, geometry=[boats[0]], crs="EPSG:32631"
    )
    buoys.to_crs("EPSG:4326").to_file(tmp_path / "two.gpkg", layer="buoys")
    labels = read_labels(tmp_path / "two.gpkg")
    assert labels.class_name.tolist() == ["boats", "boats", "big buoy"]
    assert labels.ignored is not None
    assert labels.ignored.tolist() == [False, False, True]
    bounds = shapely.bounds(labels.geometry)
    np.testing.assert_allclose(bounds[2], bounds[0], atol=1e-3)
    assert labels.crs == "EPSG:32631"
    assert "boats (2 polygons), buoys (1 polygons); read as labels: boats, buoys" in labels.notes[0]


def test_outlines_around_the_objects_of_another_layer_are_no_objects(tmp_path: Path) -> None:
    boats = [shapely.box(x, 0, x + 2, 5) for x in (10.0, 20.0, 30.0)]
    for layer, shapes in (("survey", [shapely.box(0, -10, 60, 20)]), ("boats", boats)):
        geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32631").to_file(
            tmp_path / "two.gpkg", layer=layer
        )
    labels = read_labels(tmp_path / "two.gpkg")
    assert labels.class_name.tolist() == ["boats"] * 3
    assert "left out: survey" in labels.notes[0]


def test_layers_of_unlike_shapes_are_named_with_what_to_do(tmp_path: Path) -> None:
    for layer, shape in (("masts", shapely.Point(1, 2)), ("boats", shapely.box(0, 0, 2, 3))):
        geopandas.GeoDataFrame(geometry=[shape], crs="EPSG:32631").to_file(
            tmp_path / "two.gpkg", layer=layer
        )
    sentence = r"masts \(1 points\), boats \(1 polygons\) and none called 'labels'.*ogr2ogr"
    with pytest.raises(FormatError, match=sentence):
        read_labels(tmp_path / "two.gpkg")


def test_json_that_is_geojson_is_read_as_such(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["a"]}, geometry=[shapely.box(1, 2, 3, 4)], crs="EPSG:4326"
    )
    (tmp_path / "labels.json").write_text(frame.to_json())
    assert read_labels(tmp_path / "labels.json").space == "map"


def test_a_parquet_table_without_geo_metadata_is_said_to_be_one(tmp_path: Path) -> None:
    boxes = pd.DataFrame({"class": ["boat"], "xmin": [1], "ymin": [2]})
    boxes.to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(
        FormatError, match=r"labels\.parquet: is a table without .*columns are class, xmin, ymin\)"
    ):
        read_labels(tmp_path / "labels.parquet")
