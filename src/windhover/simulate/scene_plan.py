"""Which scenes there are and which aircraft stand in each, as rare as in real scenes.

Draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import shapely
from affine import Affine
from numpy.typing import ArrayLike
from shapely.geometry import Polygon

from windhover.errors import ParameterError
from windhover.geometry.arrays import Floats
from windhover.params.simulate import SimulateParams
from windhover.simulate.aircraft import LIVERIES, TYPES, Aircraft
from windhover.simulate.airport import airport_at
from windhover.simulate.canvas import Light
from windhover.simulate.landscape import AircraftStand
from windhover.simulate.places import Place, places_of
from windhover.simulate.sensor import Sensor
from windhover.simulate.shapes import Points, View, points_from_xy, rotate

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
# aircraft in a scene at the fine GSD, relative to those in another scene of train or val
FINE_SCENE_FRACTION = 1 / 3
MIN_SPAN_FRACTION = 0.6  # of a stand in a row that an aircraft takes
MIN_SINGLE_SPAN_M = 24  # of an aircraft at a single stand
SINGLE_FRACTION = 0.3  # of a scene's aircraft that are at single stands first
SceneKind = Literal["plain", "fine", "tile"]


@dataclass(frozen=True)
class SceneSpec:
    """Everything that decides the pixels of one scene."""

    params: SimulateParams
    name: str
    place: Place
    view: View
    gsd_m: float
    width_px: int
    height_px: int
    number: int
    light: Light
    sensor: Sensor
    aircraft: tuple[Aircraft, ...] = ()

    @property
    def transform(self) -> Affine:
        """Affine from pixel corners to metres of the scene's CRS."""
        east, north = self.place.origin
        return Affine(self.gsd_m, 0, east + self.view.west, 0, -self.gsd_m, north + self.view.north)


class SceneSize(NamedTuple):
    """Size of a scene, px, and its GSD."""

    gsd_m: float
    width_px: int
    height_px: int


def plan_scenes(params: SimulateParams) -> list[SceneSpec]:
    """Return the scenes of the world, those of a place one after the other.

    Raises:
        ParameterError: more empty search tiles, or more test places, than search tiles.
    """
    _check_counts(params)
    train = places_of("train", params.seed, params.train_places)
    val = places_of("val", params.seed, params.val_places)
    # fine scenes are dealt out in this order: both splits have one
    places = [train[0], val[0], *train[1:], *val[1:]]
    fine_counts = _split_evenly(params.fine_scenes, len(places))
    scenes: list[SceneSpec] = []
    for place, n_fine in zip(places, fine_counts, strict=True):
        scenes += _plan_training_scenes(params, place, n_fine)
    n_places = params.test_places
    tile_counts = _split_evenly(params.search_tiles, n_places)
    empty_counts = _split_evenly(params.search_empty, n_places)
    aircraft_counts = _split_evenly(params.search_aircraft, n_places)
    for number, place in enumerate(places_of("test", params.seed, n_places)):
        scenes += _plan_search_tiles(
            params,
            place,
            tile_counts[number],
            n_empty=empty_counts[number],
            n_aircraft=aircraft_counts[number],
        )
    return scenes


def _check_counts(params: SimulateParams) -> None:
    for key in ("search_empty", "test_places"):
        value = getattr(params, key)
        if value > params.search_tiles:
            raise ParameterError(
                f"`simulate.{key}` must be at most `simulate.search_tiles` "
                f"({params.search_tiles} tiles), got {value}. "
                f"Set `simulate.{key}` in params.yaml."
            )


def _split_evenly(total: int, n_parts: int) -> list[int]:
    """Return `n_parts` whole numbers of the given sum, the larger ones first."""
    smallest, rest = divmod(total, n_parts)
    return [smallest + (number < rest) for number in range(n_parts)]


def _scene_size(params: SimulateParams, kind: SceneKind) -> SceneSize:
    if kind == "plain":
        return SceneSize(params.gsd_m, params.scene_width_px, params.scene_height_px)
    if kind == "fine":
        return SceneSize(params.fine_gsd_m, params.fine_width_px, params.fine_height_px)
    return SceneSize(params.gsd_m, params.search_tile_px, params.search_tile_px)


def _empty_scene(
    params: SimulateParams, place: Place, kind: SceneKind, *, number: int, center: ArrayLike
) -> SceneSpec:
    """Return a scene without aircraft.

    Args:
        params: of the world.
        place: its airport.
        kind: plain or fine, for training, or tile, to search.
        number: 0, 1, ... among the scenes of the place.
        center: its middle (2,), m, which is rounded to whole 10 m.
    """
    day_rng = place.rng(7, number)
    gsd_m, width_px, height_px = _scene_size(params, kind)
    half_size_m = np.array([width_px, height_px]) * gsd_m / 2
    middle = np.round(np.asarray(center) / 10) * 10
    view = View(*(middle - half_size_m).tolist(), *(middle + half_size_m).tolist())
    light = _light_of_day(place, day_rng)
    sensor = _sensor_of_day(params, place, day_rng)
    name = f"{place.name}-fine-{number}" if kind == "fine" else place.name
    return SceneSpec(
        params=params,
        name=name,
        place=place,
        view=view,
        gsd_m=gsd_m,
        width_px=width_px,
        height_px=height_px,
        number=number,
        light=light,
        sensor=sensor,
    )


def _light_of_day(place: Place, rng: np.random.Generator) -> Light:
    if place.latitude >= 0:
        sun_azimuth_deg = 180 - rng.uniform(20, 65)
    else:
        sun_azimuth_deg = rng.uniform(15, 70)
    return Light.from_angles(
        sun_azimuth_deg,
        rng.uniform(32, 66),
        view_azimuth_deg=rng.uniform(0, 360),
        off_nadir_deg=rng.uniform(2, 16),
    )


def _sensor_of_day(params: SimulateParams, place: Place, rng: np.random.Generator) -> Sensor:
    """Return the air of a day, and the radiometry of a place."""
    place_rng = place.rng(6)
    haze = params.haze * rng.uniform(0, 1) ** 1.5
    cloud = params.cloud * rng.uniform(0.3, 1.0) * (rng.random() < 0.25)
    blur_px = params.blur_px * rng.uniform(0.8, 1.2)
    noise_dn = params.noise_dn * rng.uniform(0.4, 1.0)
    gain = place_rng.uniform(0.9, 1.1) * place_rng.uniform((0.97, 0.97, 0.93), (1.04, 1.03, 1.02))
    # the light of the air is blue
    offset = place_rng.uniform(0, 12) + place_rng.uniform(0.2, 1.0) * np.array([0.0, 1.5, 5.0])
    gamma = place_rng.uniform(0.9, 1.15)
    return Sensor(
        haze=haze,
        cloud=cloud,
        blur_px=blur_px,
        noise_dn=noise_dn,
        gain=gain,
        offset=offset,
        gamma=gamma,
    )


def _plan_training_scenes(params: SimulateParams, place: Place, n_fine: int) -> list[SceneSpec]:
    """Return the scenes of a place of train or val: one at the plain GSD, further ones at the fine.

    Args:
        params: of the world.
        place: their airport.
        n_fine: number of scenes at the fine GSD.
    """
    rng = place.rng(11)
    scenes: list[SceneSpec] = []
    n_placed = 0
    for number in range(n_fine + 1):
        kind: SceneKind
        if number == 0:
            kind, max_shift_m, fraction = "plain", 150, 1.0
        else:
            kind, max_shift_m, fraction = "fine", 420, FINE_SCENE_FRACTION
        center = rng.uniform(-max_shift_m, max_shift_m, 2)
        spec = _empty_scene(params, place, kind, number=number, center=center)
        count = round(params.aircraft_per_scene * fraction * rng.uniform(2 / 3, 4 / 3))
        scenes.append(_add_aircraft(spec, count, n_before=n_placed))
        n_placed += count
    return scenes


def _plan_search_tiles(
    params: SimulateParams, place: Place, n_tiles: int, *, n_empty: int, n_aircraft: int
) -> list[SceneSpec]:
    """Return a place's search tiles: those with most stands hold the aircraft, some hold none.

    Args:
        params: of the world.
        place: their airport.
        n_tiles: number of tiles.
        n_empty: of them without aircraft.
        n_aircraft: in all of them.
    """
    candidates = _candidate_tiles(params, place, n_tiles)
    n_used = n_tiles - n_empty
    used = candidates[:n_used]
    unused = candidates[n_used:]
    last = min(len(unused), 3 * n_empty) - 1
    scenes = [unused[int(index)] for index in np.linspace(0, last, n_empty)]
    n_before = 0
    for spec, count in zip(used, _aircraft_per_tile(n_aircraft, n_used), strict=True):
        scenes.append(_add_aircraft(spec, count, n_before=n_before))
        n_before += count
    scenes.sort(key=lambda spec: spec.number)
    return [replace(spec, name=f"{place.name}-{n:02d}") for n, spec in enumerate(scenes, 1)]


def _candidate_tiles(params: SimulateParams, place: Place, n_tiles: int) -> list[SceneSpec]:
    """Return more than enough tiles around an airport, those with most stands first."""
    n_steps = math.ceil(math.sqrt(n_tiles) / 2) + 1
    steps = np.arange(-n_steps, n_steps) + 0.5
    grid = np.array(list(product(steps, steps))) + place.rng(8).uniform(-0.4, 0.4, 2)
    tiles = []
    for number, center in enumerate(grid * params.search_tile_px * params.gsd_m):
        tiles.append(_empty_scene(params, place, "tile", number=number, center=center))
    stands = airport_at(place).stands
    n_stands = {
        tile.number: sum(_contains_stand(tile.view, stand, 12) for stand in stands)
        for tile in tiles
    }
    return sorted(tiles, key=lambda tile: -n_stands[tile.number])


def _aircraft_per_tile(n_aircraft: int, n_tiles: int) -> list[int]:
    """Return the number of aircraft in each tile: one in each, then four more in a few."""
    counts = [0] * n_tiles
    if n_tiles == 0:
        return counts
    n_crowded = max(1, n_tiles // 3)
    for number in range(n_aircraft):
        if number < n_tiles:
            counts[number] += 1
        else:
            counts[(number - n_tiles) // 4 % n_crowded] += 1
    return counts


def _contains_stand(view: View, stand: AircraftStand, margin_m: float) -> bool:
    """Return whether the middle of a stand is inside a view, `margin_m` from its border."""
    east, north = rotate((-0.5 * stand.max_span_m, 0), stand.heading, stand.nose_en)
    distances = (east - view.west, view.east - east, north - view.south, view.north - north)
    return bool(min(distances) > margin_m)


def _add_aircraft(spec: SceneSpec, count: int, *, n_before: int) -> SceneSpec:
    """Return the scene with `count` aircraft, or as many as there is room for.

    Some are at single stands, the rest in rows. Their types follow one another in the golden
    ratio's even steps, so that every place shows the same mix.

    Args:
        spec: the scene.
        count: number of aircraft.
        n_before: aircraft in the place's other scenes.
    """
    rng = spec.place.rng(9, spec.number)
    candidates = _stands_of_scene(spec, count, rng)
    frequencies = np.cumsum([aircraft_type.frequency for aircraft_type in TYPES.values()])
    type_names = list(TYPES)
    numbers = np.arange(n_before, n_before + 12 * count)
    placed: list[Aircraft] = []
    for position in GOLDEN_RATIO * numbers + spec.place.rng(29).random():
        index = int(np.searchsorted(frequencies, position % 1 * frequencies[-1]))
        aircraft = _place_one(spec, type_names[index], candidates, placed=placed, rng=rng)
        if aircraft is not None:
            placed.append(aircraft)
        if len(placed) == count:
            break
    return replace(spec, aircraft=tuple(placed))


class CandidateStands(NamedTuple):
    """Stands of a scene in the order in which they are tried, and the single ones among them."""

    in_order: list[AircraftStand]
    single: list[AircraftStand]


def _stands_of_scene(spec: SceneSpec, count: int, rng: np.random.Generator) -> CandidateStands:
    """Return the stands inside a scene: a few single ones, then rows, then all."""
    stands = airport_at(spec.place).stands
    far_inside = [0.62 * stand.max_span_m for stand in stands]
    margins_m = np.where(rng.random(len(stands)) < 0.1, 8.0, far_inside)  # some at the border
    inside = [
        stands[index]
        for index in rng.permutation(len(stands))
        if _contains_stand(spec.view, stands[index], float(margins_m[index]))
    ]
    single = [stand for stand in inside if stand.row == 0]
    rank = rng.permutation(len(stands))
    in_rows = [stand for stand in inside if stand.row and rng.random() < 0.6]
    in_rows.sort(key=lambda stand: rank[stand.row])
    n_single = round(SINGLE_FRACTION * count)
    return CandidateStands([*single[:n_single], *in_rows, *inside], single)


def _place_one(
    spec: SceneSpec,
    type_name: str,
    candidates: CandidateStands,
    *,
    placed: list[Aircraft],
    rng: np.random.Generator,
) -> Aircraft | None:
    """Return an aircraft of a type on the first stand where it fits, None where there is none."""
    span_m = TYPES[type_name].span_m
    suitable = []
    for stand in candidates.in_order:
        min_span_m = MIN_SPAN_FRACTION * stand.max_span_m if stand.row else MIN_SINGLE_SPAN_M
        if span_m >= min_span_m:
            suitable.append(stand)
    for stand in [*suitable, *candidates.single]:
        if span_m <= stand.max_span_m:
            aircraft = _park(stand, type_name, rng)
            if _fits(spec, aircraft, placed):
                return aircraft
    return None


def _park(stand: AircraftStand, type_name: str, rng: np.random.Generator) -> Aircraft:
    """Return an aircraft on a stand, not quite exactly; the first liveries are the most common."""
    livery = list(LIVERIES)[int(len(LIVERIES) * rng.random() ** 1.7)]
    if stand.row:
        shift = (-abs(rng.normal(0, 1.2)), rng.normal(0, 0.5))
    else:
        shift = (rng.normal(0, 6), rng.normal(0, 1.2))
    east, north = rotate(shift, stand.heading, stand.nose_en).tolist()
    heading = stand.heading + rng.normal(0, 0.02)
    return Aircraft(type_name, livery, (east, north), heading)


def _fits(spec: SceneSpec, aircraft: Aircraft, placed: Iterable[Aircraft]) -> bool:
    """Return whether an aircraft's center is in the scene's data, and its body clear of others."""
    west, south, east, north = aircraft.bounds_en()
    col = ((west + east) / 2 - spec.view.west) / spec.gsd_m
    row = (spec.view.north - (south + north) / 2) / spec.gsd_m
    inset_px = 1.0
    if spec.params.nodata_border != 0:
        inset_px = 0.5 * max(east - west, north - south) / spec.gsd_m
    valid_area = Polygon(data_outline_px(spec)).buffer(-inset_px)
    if not valid_area.contains(shapely.Point(col, row)):
        return False
    for other in placed:
        spans_m = TYPES[aircraft.type_name].span_m + TYPES[other.type_name].span_m
        if not np.hypot(*(aircraft.center_en - other.center_en)) > spans_m / 2:
            return False
    return True


def data_outline_px(spec: SceneSpec) -> Points:
    """Return the corners (4, 2) in px of the part of a scene that holds data, a slanted swath."""
    rng = spec.place.rng(5, spec.number)
    width = spec.width_px
    height = spec.height_px
    cut: Floats = spec.params.nodata_border * width * rng.uniform(0.3, 1.0, 4)
    return points_from_xy([cut[0], width - cut[1], width - cut[2], cut[3]], [0, 0, height, height])
