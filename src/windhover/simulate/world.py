"""The scenes of the built-in world and their files: views of invented airports, aircraft on them, complete labels.

Decides how many scenes there are and which aircraft stand in each, so that aircraft are as rare as in real scenes.
`render_scene` makes the pixels of one scene; `make_world` writes all of them. Reads no file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from windhover.errors import ParameterError
from windhover.files import atomic_folder
from windhover.params.simulate import SimulateParams
from windhover.progress import track
from windhover.simulate.aircraft import LIVERIES, TYPES, Aircraft, cast_aircraft, stamp_aircraft
from windhover.simulate.airport import layout_of
from windhover.simulate.drawing import Canvas, Light, Points, Sensor, Shape, box, disc, expose, near_infrared
from windhover.simulate.places import Layout, Place, Slot, View, bounds_of, places_of

CLASS_NAME = "aircraft"
WRITTEN = "2024-01-01T00:00:00.000Z"  # in the GeoPackages, in place of the clock: the same seed gives the same bytes
FINE_SHARE = 1 / 3  # aircraft in a fine scene, beside those in a scene of train or val
REFLECTANCE = 10_000 * 0.42 / 255  # uint16 value of one 8-bit count


@dataclass(frozen=True)
class SceneSpec:
    """Everything that decides the pixels of one scene."""

    name: str
    place: Place
    view: View
    gsd_m: float
    width_px: int
    height_px: int
    bands: int
    dtype: str
    nodata_border: float
    sensor: Sensor
    light: Light
    number: int
    aircraft: tuple[Aircraft, ...] = ()
    docked: tuple[int, ...] = ()

    @property
    def transform(self) -> Affine:
        """Affine from pixel corners to metres of the scene's CRS."""
        east, north = origin_of(self.place)
        return Affine(self.gsd_m, 0, east + self.view.west, 0, -self.gsd_m, north + self.view.north)


def origin_of(place: Place) -> tuple[float, float]:
    """Return the place's origin in its UTM zone, on whole 10 m (a multiple of the pixel for usual sizes)."""
    east, north = Transformer.from_crs(4326, place.epsg, always_xy=True).transform(place.longitude, place.latitude)
    return round(east / 10) * 10.0, round(north / 10) * 10.0


# --- pixels


def render_scene(spec: SceneSpec) -> tuple[NDArray[Any], gpd.GeoDataFrame]:
    """Return one scene and its labels.

    Returns:
        The picture (bands, H, W) in the scene's dtype, 0 where there is no data when it has a nodata border.
        The labels in the scene's CRS: column `class`, and each aircraft's box in the pixel grid as a polygon, which may
        leave the picture where the border cuts an aircraft whose centre is inside.
    """
    layout, place = layout_of(spec.place), spec.place
    rng = place.rng(3, spec.number)
    canvas = Canvas((spec.height_px, spec.width_px), spec.gsd_m, (spec.view.west, spec.view.north), spec.light)
    for shape in _seen(layout.ground, layout.bounds[0], spec.view):
        canvas.lay(shape, rng)
    for points, strength in layout.stains:
        canvas.stain(points, strength)
    objects = [*_seen(layout.objects, layout.bounds[1], spec.view), *_bridges(layout, spec)]
    for shape in objects:
        if shape.height_m > 0 and shape.base_m == 0:
            canvas.cast(shape.rings[0], 0.0, shape.height_m)
    for aircraft in spec.aircraft:
        cast_aircraft(canvas, aircraft)
    canvas.settle_light(rng)
    for shape in objects:
        canvas.lift(shape)
    picture = canvas.flatten(rng)
    for aircraft in spec.aircraft:
        stamp_aircraft(picture, canvas, aircraft)
    return _deliver(spec, picture, rng), _labels(spec)


def _seen(shapes: list[Shape], bounds: NDArray[np.float64], view: View) -> list[Shape]:
    return [shapes[k] for k in np.flatnonzero(view.meets(bounds))]


def _bridges(layout: Layout, spec: SceneSpec) -> list[Shape]:
    """Return the jet bridges: at the door where an aircraft is docked, else drawn back."""
    rng, shapes = spec.place.rng(4), []
    docked = set(spec.docked)
    for number, slot in enumerate(layout.slots):
        if slot.bridge_en is None:
            continue
        ahead = np.array([math.cos(slot.heading), math.sin(slot.heading)])
        left = np.array([-ahead[1], ahead[0]])
        root, nose = np.array(slot.bridge_en), np.array(slot.nose_en)
        back = rng.uniform(0.13, 0.17)
        if number in docked:
            door = nose - (4.5 + back * 10) * ahead + 3.0 * left
        else:
            door = root - rng.uniform(15, 19) * ahead + rng.uniform(-0.5, 4) * left
        run = door - root
        angle, far = math.atan2(run[1], run[0]), float(np.hypot(*run))
        tone = int(rng.integers(170, 226))
        middle = root + 0.5 * run
        shapes.append(Shape((disc((root[0], root[1]), 3.0, 12),), (tone - 12, tone - 12, tone - 10), 8, 5.5))
        shapes.append(
            Shape(
                (box((root[0] + 4.5 * ahead[0], root[1] + 4.5 * ahead[1]), 9.0, 3.2, slot.heading),),
                (tone, tone, tone),
                8,
                5.0,
            )
        )
        shapes.append(Shape((box((middle[0], middle[1]), far, 3.0, angle),), (tone, tone, tone - 2), 8, 5.0))
        shapes.append(Shape((box((door[0], door[1]), 3.6, 4.4, angle),), (tone - 40, tone - 38, tone - 34), 8, 5.5))
    return _seen(shapes, bounds_of(shapes), spec.view)


def _deliver(spec: SceneSpec, picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[Any]:
    """Return the picture as the sensor's bands (bands, H, W), with a nodata border where the scene has one."""
    out = expose(picture, spec.sensor, spec.gsd_m, rng)
    bands = [out[..., 0], out[..., 1], out[..., 2]]
    if spec.bands == 4:
        bands.append(near_infrared(out))
    stack = np.stack(bands)
    if spec.dtype == "uint16":
        delivered: NDArray[Any] = np.clip(np.rint(stack * np.float32(REFLECTANCE)), 1, 65535).astype(np.uint16)
    else:
        delivered = np.clip(np.rint(stack), 1 if spec.nodata_border > 0 else 0, 255).astype(np.uint8)
    if spec.nodata_border > 0:
        valid = np.zeros((spec.height_px, spec.width_px), np.uint8)
        cv2.fillPoly(valid, [np.rint(valid_outline(spec)).astype(np.int32)], 1)
        delivered *= valid.astype(delivered.dtype)
    return delivered


def valid_outline(spec: SceneSpec) -> Points:
    """Return the corners (4, 2) in px of the part of a scene that holds data: a swath that runs aslant through it."""
    rng, wide, high = spec.place.rng(5, spec.number), spec.width_px, spec.height_px
    cut = spec.nodata_border * wide * rng.uniform(0.3, 1.0, 4) if spec.nodata_border > 0 else np.zeros(4)
    return np.array([(cut[0], 0), (wide - cut[1], 0), (wide - cut[2], high), (cut[3], high)])


def _labels(spec: SceneSpec) -> gpd.GeoDataFrame:
    east, north = origin_of(spec.place)
    polygons = []
    for aircraft in spec.aircraft:
        box_m = aircraft.bounds_en()
        polygons.append(shapely.box(east + box_m[0], north + box_m[1], east + box_m[2], north + box_m[3]))
    return gpd.GeoDataFrame(
        {"class": [CLASS_NAME] * len(polygons)}, geometry=gpd.GeoSeries(polygons, crs=spec.place.epsg)
    )


# --- planning


def plan_scenes(params: SimulateParams) -> list[list[SceneSpec]]:
    """Return the scenes of the world, one list a place.

    Raises:
        ParameterError: more empty search tiles than search tiles, or fewer tiles than test places.
    """
    if params.search_empty > params.search_tiles:
        raise ParameterError(
            f"`simulate.search_empty` must be at most `simulate.search_tiles` ({params.search_tiles} tiles), "
            f"got {params.search_empty} tiles. Set `simulate.search_empty` in params.yaml."
        )
    if params.search_tiles < params.test_places:
        raise ParameterError(
            f"`simulate.search_tiles` must be at least `simulate.test_places` ({params.test_places}), "
            f"got {params.search_tiles} tiles. Set `simulate.search_tiles` in params.yaml."
        )
    train, val = (
        places_of("train", params.seed)[: params.train_places],
        places_of("val", params.seed)[: params.val_places],
    )
    order = [train[0], val[0], *train[1:], *val[1:]]  # of the fine scenes: both splits have one
    fine = _share(params.fine_scenes, len(order))
    scenes = [_learning_scenes(params, place, fine[order.index(place)]) for place in [*train, *val]]
    totals = params.search_tiles, params.search_empty, params.search_aircraft
    shares = zip(*(_share(total, params.test_places) for total in totals), strict=True)
    for place, (tiles, empty, aircraft) in zip(places_of("test", params.seed), shares, strict=False):
        scenes.append(_search_scenes(params, place, tiles, empty, aircraft))
    return scenes


def _share(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def _spec(
    params: SimulateParams, place: Place, view: View, gsd_m: float, size_wh: tuple[int, int], name: str, number: int
) -> SceneSpec:
    """Return a scene without aircraft under the place's light and the day's air."""
    site, day = place.rng(6), place.rng(7, number)
    red, green, blue = (site.uniform(0.9, 1.1) * site.uniform((0.97, 0.97, 0.93), (1.04, 1.03, 1.02))).tolist()
    path = site.uniform(0, 12) + np.array([0.0, 1.5, 5.0]) * site.uniform(
        0.2, 1.0
    )  # light of the air itself, mostly blue
    offset = (float(path[0]), float(path[1]), float(path[2]))
    gamma = float(site.uniform(0.9, 1.15))
    morning = 180 - day.uniform(20, 65) if place.latitude >= 0 else day.uniform(15, 70)
    light = Light.of(morning, day.uniform(32, 66), day.uniform(0, 360), day.uniform(2, 16))
    cloud = params.cloud * day.uniform(0.3, 1.0) if day.random() < 0.25 else 0.0
    sensor = Sensor(
        params.haze * float(day.uniform(0, 1) ** 1.5),
        cloud,
        params.blur_px * float(day.uniform(0.8, 1.2)),
        params.noise_dn * float(day.uniform(0.4, 1.0)),
        (red, green, blue),
        offset,
        gamma,
    )
    return SceneSpec(
        name, place, view, gsd_m, *size_wh, params.bands, params.dtype, params.nodata_border, sensor, light, number
    )


def _learning_scenes(params: SimulateParams, place: Place, fine: int) -> list[SceneSpec]:
    """Return the scenes of a place to learn from: one at the training GSD, further ones at the fine GSD."""
    rng = place.rng(8)
    sizes = [(params.gsd_m, (params.scene_width_px, params.scene_height_px))]
    sizes += [(params.fine_gsd_m, (params.fine_width_px, params.fine_height_px))] * fine
    views = [
        _view(rng.uniform(-150, 150, 2) if k == 0 else rng.uniform(-420, 420, 2), gsd, size)
        for k, (gsd, size) in enumerate(sizes)
    ]
    place = replace(place, views=tuple(views))
    scenes = []
    for number, (view, (gsd, size)) in enumerate(zip(views, sizes, strict=True)):
        spec = _spec(
            params, place, view, gsd, size, place.name if number == 0 else f"{place.name}-fine-{number}", number
        )
        wanted = params.aircraft_per_scene * rng.uniform(2 / 3, 4 / 3) * (1 if number == 0 else FINE_SHARE)
        scenes.append(_populate(spec, round(wanted)))
    return scenes


def _view(centre: NDArray[np.float64], gsd_m: float, size_wh: tuple[int, int]) -> View:
    """Return the view of a size around a centre, snapped to whole 10 m."""
    west, north = (
        round(float(centre[0]) / 10) * 10.0 - size_wh[0] * gsd_m / 2,
        round(float(centre[1]) / 10) * 10.0 + size_wh[1] * gsd_m / 2,
    )
    return View(west, north - size_wh[1] * gsd_m, west + size_wh[0] * gsd_m, north)


def _search_scenes(params: SimulateParams, place: Place, tiles: int, empty: int, aircraft: int) -> list[SceneSpec]:
    """Return a test place's tiles: those with most stands hold the aircraft, some of their neighbours none."""
    side, size = params.search_tile_px * params.gsd_m, (params.search_tile_px, params.search_tile_px)
    reach = max(2, math.ceil(math.sqrt(tiles) / 2) + 1)
    steps = range(-reach, reach)
    cells = [View(i * side, j * side, (i + 1) * side, (j + 1) * side) for j in reversed(steps) for i in steps]
    slots = _slots(place)
    stands = [sum(_holds(cell, slot, 12) for slot in slots) for cell in cells]
    ranked = sorted(range(len(cells)), key=lambda k: (-stands[k], k))
    used, rest = ranked[: tiles - empty], ranked[tiles - empty :]
    none = {rest[round(k * (min(len(rest), 3 * empty) - 1) / max(empty - 1, 1))] for k in range(empty)}
    chosen = sorted({*used, *none})
    place = replace(place, views=tuple(cells[k] for k in chosen))
    counts = dict.fromkeys(used, 0)
    for k in range(aircraft if used else 0):  # one each, so that no used tile stays empty; then where most stands are
        counts[used[k] if k < len(used) else used[k % math.ceil(len(used) / 2)]] += 1
    specs = [
        _spec(params, place, cells[k], params.gsd_m, size, f"{place.name}-{n + 1:02d}", n) for n, k in enumerate(chosen)
    ]
    return [_populate(spec, counts.get(k, 0)) for spec, k in zip(specs, chosen, strict=True)]


def _slots(place: Place) -> list[Slot]:
    """Return the stands of a place; they do not depend on the views, without which there is no country to lay out."""
    return layout_of(replace(place, views=())).slots


def _holds(view: View, slot: Slot, margin_m: float) -> bool:
    """Return whether the middle of a stand lies inside a view, `margin_m` from its border."""
    east = slot.nose_en[0] - 0.5 * slot.span_m * math.cos(slot.heading)
    north = slot.nose_en[1] - 0.5 * slot.span_m * math.sin(slot.heading)
    return view.west + margin_m < east < view.east - margin_m and view.south + margin_m < north < view.north - margin_m


def _populate(spec: SceneSpec, count: int) -> SceneSpec:
    """Return the scene with `count` aircraft, or as many as there is room for: some single, the rest in rows."""
    rng, slots = spec.place.rng(9, spec.number), _slots(spec.place)
    inside = [
        k for k, slot in enumerate(slots) if _holds(spec.view, slot, 8.0 if rng.random() < 0.1 else 0.62 * slot.span_m)
    ]
    single = [k for k in inside if slots[k].row == 0]
    rows: dict[int, list[int]] = {}
    for k in inside:
        if slots[k].row:
            rows.setdefault(slots[k].row, []).append(k)
    order = [int(k) for k in rng.permutation(single)][: round(0.3 * count)]
    for row in rng.permutation(sorted(rows)).tolist():
        start = int(rng.integers(len(rows[row])))
        run = [*rows[row][start:], *rows[row][:start]]
        order += [k for k in run[: max(2, round(0.5 * count))] if rng.random() < 0.85]
    order += [k for k in rng.permutation(inside).tolist() if k not in order]
    placed: list[Aircraft] = []
    docked: list[int] = []
    for k in order:
        if len(placed) >= count:
            break
        aircraft = _park(spec, slots[k], rng)
        if not _fits(spec, aircraft, placed):
            continue
        placed.append(aircraft)
        if slots[k].bridge_en is not None:
            docked.append(k)
    return replace(spec, aircraft=tuple(placed), docked=tuple(docked))


def _park(spec: SceneSpec, slot: Slot, rng: np.random.Generator) -> Aircraft:
    """Return an aircraft of a type that fits a stand, parked about as well as people do."""
    fitting = [
        name
        for name, kind in TYPES.items()
        if 0.6 * slot.span_m <= kind.span_m <= slot.span_m or (slot.row == 0 and kind.span_m > 24)
    ]
    fitting = [name for name in fitting if TYPES[name].span_m <= slot.span_m] or ["B350"]
    weights = np.array([TYPES[name].weight for name in fitting])
    name = fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
    livery = list(LIVERIES)[int(rng.choice(len(LIVERIES), p=_livery_weights()))]
    slack = rng.normal(0, 1.2) if slot.row == 0 else rng.normal(0, 0.5)
    along = rng.normal(0, 6) if slot.row == 0 else -abs(rng.normal(0, 1.2))
    east = slot.nose_en[0] + along * math.cos(slot.heading) - slack * math.sin(slot.heading)
    north = slot.nose_en[1] + along * math.sin(slot.heading) + slack * math.cos(slot.heading)
    return Aircraft(name, livery, (east, north), slot.heading + rng.normal(0, 0.02))


def _livery_weights() -> NDArray[np.float64]:
    weights = np.array(
        [
            {"white": 4.0, "blue tail": 3.0, "red tail": 2.0, "dark tail": 1.5, "green tail": 1.2}.get(name, 0.7)
            for name in LIVERIES
        ]
    )
    return np.asarray(weights / weights.sum())


def _fits(spec: SceneSpec, aircraft: Aircraft, placed: list[Aircraft]) -> bool:
    """Return whether an aircraft's centre is in the scene's data, and its body clear of the others."""
    west, south, east, north = aircraft.bounds_en()
    middle = ((west + east) / 2 - spec.view.west) / spec.gsd_m, (spec.view.north - (south + north) / 2) / spec.gsd_m
    data = shapely.Polygon(valid_outline(spec)).buffer(
        -(1.0 if spec.nodata_border == 0 else 0.5 * max(east - west, north - south) / spec.gsd_m)
    )
    if not data.contains(shapely.Point(middle)):
        return False
    body = _trunk(aircraft)
    return all(body.distance(_trunk(other)) > 1.0 for other in placed)


def _trunk(aircraft: Aircraft) -> shapely.Polygon:
    """Return a rhomb-like outline of an aircraft: nose, wing tips, tail."""
    kind = TYPES[aircraft.kind]
    long, half = kind.length_m, kind.span_m / 2
    return shapely.Polygon(
        aircraft.outline(
            np.array(
                [
                    [0, 0],
                    [-0.3 * long, 3],
                    [-0.6 * long, half],
                    [-long, 0.25 * half],
                    [-long, -0.25 * half],
                    [-0.6 * long, -half],
                    [-0.3 * long, -3],
                ],
                np.float64,
            )
        )
    )


# --- files


def make_world(params: SimulateParams, folder: str | Path, workers: int | None = None) -> int:
    """Write the built-in world: tiles, one GeoPackage of labels a tile, and `places.csv`. The same for any `workers`.

    Returns:
        The number of aircraft.

    Raises:
        ParameterError: counts that contradict one another.
    """
    places = plan_scenes(params)
    scenes = [spec for place in places for spec in place]
    workers = min(len(places), workers or os.cpu_count() or 1)
    with atomic_folder(folder) as target:
        (target / "labels").mkdir()
        for _ in track(_written(places, target, workers), "drawing scenes", len(scenes)):
            pass
        lines = [f"{spec.name},{spec.place.name},{spec.place.split}" for spec in scenes]
        (target / "places.csv").write_text("\n".join(["scene,place,split", *lines]) + "\n", encoding="utf-8")
    return sum(len(spec.aircraft) for spec in scenes)


def _written(places: list[list[SceneSpec]], target: Path, workers: int) -> Iterator[None]:
    if workers == 1:
        for scenes in places:
            for spec in scenes:
                write_scene(spec, target)
                yield None
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        for done in as_completed([pool.submit(_write_place, scenes, target) for scenes in places]):
            for _ in range(done.result()):
                yield None


def _write_place(scenes: list[SceneSpec], target: Path) -> int:
    for spec in scenes:
        write_scene(spec, target)
    return len(scenes)


def write_scene(spec: SceneSpec, folder: Path) -> None:
    """Write one scene as a tiled, compressed GeoTIFF, and its labels as a GeoPackage with a layer `labels`."""
    picture, labels = render_scene(spec)
    blocks = {"blockxsize": 256, "blockysize": 256, "tiled": True} if min(picture.shape[1:]) >= 256 else {}
    names = ("red", "green", "blue", "nir")[: spec.bands]
    with rasterio.open(
        folder / f"{spec.name}.tif",
        "w",
        driver="GTiff",
        count=spec.bands,
        height=spec.height_px,
        width=spec.width_px,
        dtype=picture.dtype,
        crs=f"EPSG:{spec.place.epsg}",
        transform=spec.transform,
        nodata=0 if spec.nodata_border > 0 else None,
        compress="deflate",
        predictor=2,
        zlevel=6,
        photometric="RGB",
        **blocks,
    ) as dataset:
        dataset.write(picture)
        for band, name in enumerate(names, 1):
            dataset.set_band_description(band, name)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": WRITTEN})
    labels.to_file(
        folder / "labels" / f"{spec.name}.gpkg",
        layer="labels",
        driver="GPKG",
        engine="pyogrio",
        geometry_type="Polygon",
    )
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
