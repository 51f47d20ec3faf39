"""The built-in world in files: every planned scene drawn, labeled and written as a GeoTIFF.

Reads no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray

from windhover.params.simulate import SimulateParams
from windhover.simulate.airport import Airport, airport_at
from windhover.simulate.canvas import Canvas
from windhover.simulate.country import country_around
from windhover.simulate.landscape import Landscape
from windhover.simulate.scene_plan import SceneSpec, data_outline_px, plan_scenes
from windhover.simulate.sensor import apply_sensor
from windhover.simulate.shapes import FloatImage
from windhover.simulate.write_scenes import write_scenes

CLASS_NAME = "aircraft"
BAND_NAMES = ("red", "green", "blue", "nir")
# in the GeoPackages, in place of the clock: the same seed gives the same bytes
TIMESTAMP = "2024-01-01T00:00:00.000Z"
REFLECTANCE_PER_COUNT = 10_000 * 0.42 / 255  # uint16 value of one 8-bit count
FILE_BLOCK_PX = 256


def render_scene(spec: SceneSpec) -> tuple[NDArray[Any], gpd.GeoDataFrame]:
    """Return one scene and its labels.

    Returns:
        The image (bands, H, W) in the scene's dtype, 0 where there is no data when it has a nodata
        border. The labels in the scene's CRS: column `class`, and each aircraft's box in the pixel
        grid as a polygon, which may leave the image where the border cuts an aircraft whose center
        is inside.
    """
    rng = spec.place.rng(3, spec.number)
    airport = airport_at(spec.place)
    country = country_around(airport, spec.view)
    image = _draw_scene(spec, airport, country, rng=rng)
    image = apply_sensor(image, spec.sensor, spec.gsd_m, rng=rng, bands=spec.params.bands)
    return _to_scene_dtype(spec, image), _labels(spec)


def _draw_scene(
    spec: SceneSpec, airport: Airport, country: Landscape, *, rng: np.random.Generator
) -> FloatImage:
    """Return the image (H, W, 3), 0..255, of the ground, what stands on it, and the aircraft."""
    view = spec.view
    canvas = Canvas(
        (spec.height_px, spec.width_px),
        spec.gsd_m,
        west_north=(view.west, view.north),
        light=spec.light,
    )
    for shape in view.select(country.ground + airport.ground):
        canvas.draw_flat(shape, rng)
    for stain in airport.stains:
        canvas.add_stain(stain.outline, stain.opacity)
    objects = view.select(country.objects + airport.objects)
    for shape in objects:
        if shape.height_m > 0 and shape.base_m == 0:
            canvas.cast_shadow(shape.rings[0], 0.0, shape.height_m)
    for aircraft in spec.aircraft:
        canvas.cast_aircraft_shadow(aircraft)
    canvas.apply_light(rng)
    for shape in objects:
        canvas.draw_raised(shape)
    image = canvas.to_image(rng)
    for aircraft in spec.aircraft:
        canvas.draw_aircraft(image, aircraft)
    return image


def _labels(spec: SceneSpec) -> gpd.GeoDataFrame:
    offset = np.array(spec.place.origin * 2)
    boxes = [shapely.box(*(offset + aircraft.bounds_en())) for aircraft in spec.aircraft]
    return gpd.GeoDataFrame(
        {"class": [CLASS_NAME] * len(boxes)}, geometry=boxes, crs=spec.place.epsg
    )


def _to_scene_dtype(spec: SceneSpec, image: FloatImage) -> NDArray[Any]:
    """Return an image (bands, H, W) in the scene's dtype, with a nodata border where it has one."""
    scale = 1.0
    maximum = 255
    if spec.params.dtype == "uint16":
        scale = REFLECTANCE_PER_COUNT
        maximum = 65535
    # 0 is kept for nodata
    values = np.clip(np.rint(image * np.float32(scale)), 1, maximum)
    delivered: NDArray[Any] = values.astype(spec.params.dtype)
    if spec.params.nodata_border > 0:
        valid: NDArray[np.uint8] = np.zeros((spec.height_px, spec.width_px), np.uint8)
        cv2.fillPoly(valid, [np.rint(data_outline_px(spec)).astype(np.int32)], 1)
        delivered *= valid.astype(delivered.dtype)
    return delivered


def make_world(params: SimulateParams, folder: str | Path, workers: int | None = None) -> int:
    """Write the built-in world: tiles, one GeoPackage of labels a tile, and `places.csv`.

    Args:
        params: of the world.
        folder: to write to; replaced as a whole.
        workers: number of processes, which changes nothing in the files; None for all CPUs.

    Returns:
        The number of aircraft.

    Raises:
        ParameterError: counts that contradict one another.
    """
    scenes = plan_scenes(params)
    write_scenes(scenes, write_scene, folder, truth_folder="labels", workers=workers)
    return sum(len(spec.aircraft) for spec in scenes)


def write_scene(spec: SceneSpec, folder: Path) -> None:
    """Write one scene as a GeoTIFF, and its labels as a GeoPackage with a layer `labels`."""
    image, labels = render_scene(spec)
    with rasterio.open(folder / f"{spec.name}.tif", "w", **_profile(spec, image)) as dataset:
        dataset.write(image)
        for band, name in enumerate(BAND_NAMES[: len(image)], 1):
            dataset.set_band_description(band, name)
    path = folder / "labels" / f"{spec.name}.gpkg"
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": TIMESTAMP})
    labels.to_file(path, layer="labels", geometry_type="Polygon", driver="GPKG", engine="pyogrio")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _profile(spec: SceneSpec, image: NDArray[Any]) -> dict[str, Any]:
    """Return rasterio's options of a tiled, compressed GeoTIFF."""
    count, height, width = image.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": image.dtype,
        "crs": f"EPSG:{spec.place.epsg}",
        "transform": spec.transform,
        "nodata": 0 if spec.params.nodata_border > 0 else None,
        "photometric": "RGB",
        "compress": "deflate",
        "predictor": 2,
        "zlevel": 6,
    }
    if min(height, width) >= FILE_BLOCK_PX:
        profile["blockxsize"] = FILE_BLOCK_PX
        profile["blockysize"] = FILE_BLOCK_PX
        profile["tiled"] = True
    return profile
