"""Fixtures of the dataset tests."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from conftest import MakeScene
from toy_places import write_labels
from windhover.geometry import georef
from windhover.imagery.rasters import inspect_scene


@pytest.fixture
def labeled_folder(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Two scenes: one rotated and sheared, one in degrees; with boxes, an oriented one, a point, an
    ignored box.
    """
    turned = (
        Affine.translation(4e5, 5e6)
        @ Affine.rotation(31)
        @ Affine.shear(5, 0)
        @ Affine.scale(1.25, -1.0)
    )
    scenes = [
        make_scene("raw/turned.tif", transform=turned),
        make_scene(
            "raw/degrees.tif",
            crs="EPSG:4326",
            transform=Affine(1e-5, 0, 8.0, 0, -1e-5, 47.0),
            seed=1,
        ),
    ]
    shapes = [
        shapely.box(10.25, 20.5, 40, 60),
        shapely.Polygon([(100, 50), (120, 60), (110, 80), (90, 70)]),
        shapely.Point(150.5, 90.25),
        shapely.box(170, 100, 172, 101),
        shapely.box(60, 10, 140, 40),
    ]
    for scene in scenes:
        info = inspect_scene(scene)
        placed = [
            shapely.transform(
                shape,
                lambda p, t=info.transform: np.stack(georef.pixel_to_world(t, p[:, 0], p[:, 1]), 1),
            )
            for shape in shapes
        ]
        frame = {
            "class": ["plane", "plane", "tree", "car", "plane"],
            "role": ["", "", "", "", "ignore"],
        }
        geopandas.GeoDataFrame(frame, geometry=placed, crs=info.crs).to_file(
            scene.with_suffix(".gpkg"), layer="labels"
        )
    return tmp_path


@pytest.fixture
def three_places(tmp_path: Path, make_scene: MakeScene) -> Path:
    """Three scenes far apart, each with two labelled objects."""
    for number in range(3):
        scene = make_scene(f"raw/s{number}.tif", origin=(4e5 + 1e4 * number, 5e6), seed=number)
        write_labels(
            tmp_path / f"raw/labels/s{number}.gpkg",
            scene,
            [(10, 20, 40, 50), (100, 60.5, 130, 80.25)],
        )
    return tmp_path
