"""The built-in world of clouds in files: scenes of six bands, and the class of every px.

Reads no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from windhover.errors import ParameterError
from windhover.params.simulate import SimulateParams
from windhover.simulate.cloud_layers import KINDS
from windhover.simulate.places import Place, places_of
from windhover.simulate.shapes import FloatImage
from windhover.simulate.sky_scene import SkyScene, render_sky
from windhover.simulate.write_scenes import write_scenes

BAND_NAMES = ("blue", "green", "red", "nir", "swir16", "swir22")
MASK_NODATA = 255
REFLECTANCE_SCALE = 10_000  # uint16 value of reflectance 1
SCENE_DISTANCE_M = 2_000.0  # between neighbouring scenes of a place
FILE_BLOCK_PX = 256


@dataclass(frozen=True, slots=True)
class SkySpec:
    """Everything that decides the pixels of one scene.

    Attributes:
        params: of the world.
        name: of its files, without suffix.
        place: whose climate decides the ground.
        number: 0, 1, ... among the scenes of the place.
        shape_hw: rows and columns.
        kind: of its clouds, key of `cloud_layers.KINDS`.
    """

    params: SimulateParams
    name: str
    place: Place
    number: int
    shape_hw: tuple[int, int]
    kind: str

    @property
    def transform(self) -> Affine:
        """Affine from pixel corners to metres of the place's UTM zone."""
        east, north = self.place.origin
        step_m = self.shape_hw[1] * self.params.gsd_m + SCENE_DISTANCE_M
        west = east + round(self.number * step_m / 10) * 10.0
        return Affine(self.params.gsd_m, 0, west, 0, -self.params.gsd_m, north)


def plan_sky(params: SimulateParams) -> list[SkySpec]:
    """Return the scenes of the world: every kind of cloud in every split that is large enough.

    Raises:
        ParameterError: more test places than search tiles.
    """
    if params.test_places > params.search_tiles:
        raise ParameterError(
            f"`simulate.test_places` must be at most `simulate.search_tiles` "
            f"({params.search_tiles} tiles), got {params.test_places}. "
            "Set `simulate.test_places` in params.yaml."
        )
    scene_hw = (params.scene_height_px, params.scene_width_px)
    tile_hw = (params.search_tile_px, params.search_tile_px)
    counts = {
        "train": (params.train_places, params.train_places * params.scenes_per_place, scene_hw),
        "val": (params.val_places, params.val_places * params.scenes_per_place, scene_hw),
        "test": (params.test_places, params.search_tiles, tile_hw),
    }
    specs = []
    for split, (n_places, n_scenes, shape_hw) in counts.items():
        places = places_of(split, params.seed, n_places)
        kinds = _shuffled_kinds(params.seed, split, n_scenes)
        for position in range(n_scenes):
            number, place_number = divmod(position, n_places)
            place = places[place_number]
            name = f"{place.name}_{number + 1:02d}"
            specs.append(SkySpec(params, name, place, number, shape_hw, kinds[position]))
    return specs


def _shuffled_kinds(seed: int, split: str, count: int) -> list[str]:
    """Return `count` kinds of cloud, each as often as every other, in random order."""
    rng = np.random.default_rng([seed, *split.encode()])
    rounds = -(-count // len(KINDS))
    order = [rng.permutation(list(KINDS)) for _ in range(rounds)]
    return [str(kind) for kind in np.concatenate(order)[:count]]


def render_scene(spec: SkySpec) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return one scene and its truth.

    Returns:
        The image (6, H, W): reflectance times 10,000 as uint16, or reflectance as float32; 0 where
        there is no data. The classes (H, W) of `sky_scene`, 255 where there is no data.
    """
    rng = spec.place.rng(11, spec.number)
    scene = render_sky(
        rng, spec.shape_hw, spec.params.gsd_m, climate=spec.place.climate, kind=spec.kind
    )
    image = _to_dtype(scene, spec.params)
    classes = scene.classes
    if spec.params.nodata_border > 0:
        valid = _valid_area(spec, rng)
        image *= valid.astype(image.dtype)
        classes = np.where(valid, classes, np.uint8(MASK_NODATA))
    return image, classes


def _to_dtype(scene: SkyScene, params: SimulateParams) -> NDArray[Any]:
    if params.dtype == "float32":
        # 0 is kept for nodata
        return np.maximum(scene.reflectance, np.float32(1e-4))
    counts: NDArray[np.uint16] = np.clip(
        np.rint(scene.reflectance * REFLECTANCE_SCALE), 1, 65535
    ).astype(np.uint16)
    return counts


def _valid_area(spec: SkySpec, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the area (H, W) of a slanted swath, whose sides the scene leaves."""
    height, width = spec.shape_hw
    west, east = rng.uniform(0, spec.params.nodata_border, 2) * width
    fall: FloatImage = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    cols = np.arange(width, dtype=np.float32)[None]
    return np.asarray((cols >= west * fall) & (cols < width - east * (1 - fall)))


def make_sky(params: SimulateParams, folder: str | Path, workers: int | None = None) -> int:
    """Write the built-in world of clouds: scenes, `masks/` of their classes, and `places.csv`.

    Args:
        params: of the world.
        folder: to write to; replaced as a whole.
        workers: number of processes, which changes nothing in the files; None for all CPUs.

    Returns:
        The number of scenes.

    Raises:
        ParameterError: counts that contradict one another.
    """
    specs = plan_sky(params)
    write_scenes(specs, write_scene, folder, truth_folder="masks", workers=workers)
    return len(specs)


def write_scene(spec: SkySpec, folder: Path) -> None:
    """Write one scene as a GeoTIFF, and its classes as a GeoTIFF of the same name in `masks/`."""
    image, classes = render_scene(spec)
    profile = _profile(spec, image)
    with rasterio.open(folder / f"{spec.name}.tif", "w", **profile) as dataset:
        dataset.write(image)
        for band, name in enumerate(BAND_NAMES, 1):
            dataset.set_band_description(band, name)
    profile = _profile(spec, classes[None]) | {"nodata": MASK_NODATA}
    with rasterio.open(folder / "masks" / f"{spec.name}.tif", "w", **profile) as dataset:
        dataset.write(classes, 1)
        dataset.set_band_description(1, "0 clear, 1 cloud, 2 shadow, 3 water")


def _profile(spec: SkySpec, image: NDArray[Any]) -> dict[str, Any]:
    """Return rasterio's options of a compressed GeoTIFF."""
    count, height, width = image.shape
    predictor = 3 if image.dtype == np.float32 else 2
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": image.dtype,
        "crs": f"EPSG:{spec.place.epsg}",
        "transform": spec.transform,
        "nodata": 0 if spec.params.nodata_border > 0 else None,
        "compress": "deflate",
        "predictor": predictor,
        "zlevel": 4,
    }
    if min(height, width) >= FILE_BLOCK_PX:
        profile |= {"blockxsize": FILE_BLOCK_PX, "blockysize": FILE_BLOCK_PX, "tiled": True}
    return profile
