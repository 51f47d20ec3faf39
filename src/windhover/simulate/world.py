"""The built-in world in files: every planned scene drawn, labelled, written as a georeferenced
tile. Reads no file.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray

from windhover.files import atomic_folder
from windhover.params.simulate import SimulateParams
from windhover.progress import track
from windhover.simulate.airport import airport_of
from windhover.simulate.canvas import Canvas
from windhover.simulate.country import country_of
from windhover.simulate.planning import SceneSpec, plan_scenes, valid_outline
from windhover.simulate.sensor import expose

CLASS_NAME = "aircraft"
# in the GeoPackages, in place of the clock: the same seed gives the same bytes
WRITTEN = "2024-01-01T00:00:00.000Z"
REFLECTANCE = 10_000 * 0.42 / 255  # uint16 value of one 8-bit count


def render_scene(spec: SceneSpec) -> tuple[NDArray[Any], gpd.GeoDataFrame]:
    """Return one scene and its labels.

    Returns:
        The picture (bands, H, W) in the scene's dtype, 0 where there is no data when it has a
        nodata border. The labels in the scene's CRS: column `class`, and each aircraft's box in the
        pixel grid as a polygon, which may leave the picture where the border cuts an aircraft whose
        centre is inside.
    """
    site, view, rng = airport_of(spec.place), spec.view, spec.place.rng(3, spec.number)
    country = country_of(site, view)
    canvas = Canvas(
        (spec.height_px, spec.width_px), spec.gsd_m, (view.west, view.north), spec.light
    )
    for shape in view.meets(country.ground + site.ground):
        canvas.lay(shape, rng)
    for points, strength in site.stains:
        canvas.stain(points, strength)
    objects = view.meets(country.objects + site.objects)
    for shape in objects:
        if shape.height_m > 0 and shape.base_m == 0:
            canvas.cast(shape.rings[0], 0.0, shape.height_m)
    for aircraft in spec.aircraft:
        canvas.cast_aircraft(aircraft)
    canvas.settle_light(rng)
    for shape in objects:
        canvas.lift(shape)
    picture = canvas.flatten(rng)
    for aircraft in spec.aircraft:
        canvas.stamp(picture, aircraft)
    shift = np.array(spec.place.origin * 2)
    boxes = [shapely.box(*(shift + aircraft.bounds_en())) for aircraft in spec.aircraft]
    labels = gpd.GeoDataFrame(
        {"class": [CLASS_NAME] * len(boxes)}, geometry=boxes, crs=spec.place.epsg
    )
    return _deliver(spec, expose(picture, spec.sensor, spec.gsd_m, rng, spec.params.bands)), labels


def _deliver(spec: SceneSpec, picture: NDArray[np.float32]) -> NDArray[Any]:
    """Return a picture (bands, H, W) in the scene's dtype, with a nodata border where the scene has
    one.
    """
    scale, most = (REFLECTANCE, 65535) if spec.params.dtype == "uint16" else (1.0, 255)
    delivered: NDArray[Any] = np.clip(np.rint(picture * np.float32(scale)), 1, most).astype(
        spec.params.dtype
    )  # 0 is kept for nodata
    if spec.params.nodata_border > 0:
        valid: NDArray[np.uint8] = np.zeros((spec.height_px, spec.width_px), np.uint8)
        cv2.fillPoly(valid, [np.rint(valid_outline(spec)).astype(np.int32)], 1)
        delivered *= valid.astype(delivered.dtype)
    return delivered


def make_world(params: SimulateParams, folder: str | Path, workers: int | None = None) -> int:
    """Write the built-in world: tiles, one GeoPackage of labels a tile, and `places.csv`. The same
    for any `workers`.

    Returns:
        The number of aircraft.

    Raises:
        ParameterError: counts that contradict one another.
    """
    scenes = plan_scenes(params)
    workers = min(len(scenes), workers or os.cpu_count() or 1)
    with (
        atomic_folder(folder) as target,
        ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool,
    ):
        (target / "labels").mkdir()
        for _ in track(
            (map if workers == 1 else pool.map)(write_scene, scenes, repeat(target)),
            "drawing",
            len(scenes),
        ):
            pass
        lines = [f"{spec.name},{spec.place.name},{spec.place.split}" for spec in scenes]
        (target / "places.csv").write_text(
            "\n".join(["scene,place,split", *lines]) + "\n", encoding="utf-8"
        )
    return sum(len(spec.aircraft) for spec in scenes)


def write_scene(spec: SceneSpec, folder: Path) -> None:
    """Write one scene as a tiled, compressed GeoTIFF, and its labels as a GeoPackage with a layer
    `labels`.
    """
    picture, labels = render_scene(spec)
    count, height, width = picture.shape
    profile: dict[str, Any] = {"driver": "GTiff", "count": count, "height": height, "width": width}
    profile |= {
        "dtype": picture.dtype,
        "crs": f"EPSG:{spec.place.epsg}",
        "transform": spec.transform,
    }
    profile |= {"nodata": 0 if spec.params.nodata_border > 0 else None, "photometric": "RGB"}
    profile |= {"compress": "deflate", "predictor": 2, "zlevel": 6}
    if min(height, width) >= 256:
        profile |= {"blockxsize": 256, "blockysize": 256, "tiled": True}
    with rasterio.open(folder / f"{spec.name}.tif", "w", **profile) as dataset:
        dataset.write(picture)
        for band, name in enumerate(("red", "green", "blue", "nir")[:count], 1):
            dataset.set_band_description(band, name)
    path, options = folder / "labels" / f"{spec.name}.gpkg", {"driver": "GPKG", "engine": "pyogrio"}
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": WRITTEN})
    labels.to_file(path, layer="labels", geometry_type="Polygon", **options)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
