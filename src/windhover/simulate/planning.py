"""Which scenes there are and which aircraft stand in each, as rare as in real scenes. Draws
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np
import shapely
from affine import Affine
from numpy.typing import ArrayLike
from shapely.geometry import Polygon

from windhover.errors import ParameterError
from windhover.params.simulate import SimulateParams
from windhover.simulate.aircraft import LIVERIES, TYPES, Aircraft
from windhover.simulate.airport import airport_of
from windhover.simulate.canvas import Light
from windhover.simulate.outlines import Points, View, join, rotate
from windhover.simulate.parcels import Slot
from windhover.simulate.sensor import Sensor
from windhover.simulate.sites import Place, places_of

GOLDEN = (math.sqrt(5) - 1) / 2
FINE_SHARE = 1 / 3  # aircraft in a fine scene, beside those in a scene of train or val


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


def plan_scenes(params: SimulateParams) -> list[SceneSpec]:
    """Return the scenes of the world, those of a place one after the other.

    Raises:
        ParameterError: more empty search tiles, or more test places, than search tiles.
    """
    for key in ("search_empty", "test_places"):
        if getattr(params, key) > params.search_tiles:
            raise ParameterError(
                f"`simulate.{key}` must be at most `simulate.search_tiles` ({params.search_tiles} tiles), "
                f"got {getattr(params, key)}. Set `simulate.{key}` in params.yaml."
            )
    train = places_of("train", params.seed, params.train_places)
    val = places_of("val", params.seed, params.val_places)
    learned = [train[0], val[0], *train[1:], *val[1:]]  # fine scenes go round: both splits have one
    scenes: list[SceneSpec] = []
    for place, fine in zip(learned, _share(params.fine_scenes, len(learned)), strict=True):
        scenes += _learning_scenes(params, place, fine)
    totals = params.search_tiles, params.search_empty, params.search_aircraft
    shares = (_share(total, params.test_places) for total in totals)
    for place, *counts in zip(
        places_of("test", params.seed, params.test_places), *shares, strict=True
    ):
        scenes += _search_scenes(params, place, *counts)
    return scenes


def _share(total: int, parts: int) -> list[int]:
    return [total // parts + (k < total % parts) for k in range(parts)]


def _spec(
    params: SimulateParams, place: Place, kind: str, number: int, center: ArrayLike
) -> SceneSpec:
    """Return a scene without aircraft around a centre, on whole 10 m, under the place's light and
    the day's air.

    `kind`: plain or fine, to learn from, or tile, to search. `number`: 0, 1, ... among the scenes
    of the place.
    """
    site, day = place.rng(6), place.rng(7, number)
    gsd_m, wide, high = {
        "plain": (params.gsd_m, params.scene_width_px, params.scene_height_px),
        "fine": (params.fine_gsd_m, params.fine_width_px, params.fine_height_px),
        "tile": (params.gsd_m, params.search_tile_px, params.search_tile_px),
    }[kind]
    half = np.array([wide, high]) * gsd_m / 2
    middle = np.round(np.asarray(center) / 10) * 10
    azimuth = 180 - day.uniform(20, 65) if place.latitude >= 0 else day.uniform(15, 70)
    light = Light.of(azimuth, day.uniform(32, 66), day.uniform(0, 360), day.uniform(2, 16))
    sensor = Sensor(
        haze=params.haze * day.uniform(0, 1) ** 1.5,
        cloud=params.cloud * day.uniform(0.3, 1.0) * (day.random() < 0.25),
        blur_px=params.blur_px * day.uniform(0.8, 1.2),
        noise_dn=params.noise_dn * day.uniform(0.4, 1.0),
        gain=site.uniform(0.9, 1.1) * site.uniform((0.97, 0.97, 0.93), (1.04, 1.03, 1.02)),
        offset=site.uniform(0, 12)
        + site.uniform(0.2, 1.0) * np.array([0.0, 1.5, 5.0]),  # the air's light is blue
        gamma=site.uniform(0.9, 1.15),
    )
    name = f"{place.name}-fine-{number}" if kind == "fine" else place.name
    view = View(*(middle - half).tolist(), *(middle + half).tolist())
    return SceneSpec(params, name, place, view, gsd_m, wide, high, number, light, sensor)


def _learning_scenes(params: SimulateParams, place: Place, fine: int) -> list[SceneSpec]:
    """Return the scenes of a place to learn from: one at the training GSD, further ones at the fine
    GSD.
    """
    rng, first, scenes = place.rng(11), 0, []
    for number in range(fine + 1):
        kind, reach, share = ("fine", 420, FINE_SHARE) if number else ("plain", 150, 1.0)
        spec = _spec(params, place, kind, number, rng.uniform(-reach, reach, 2))
        count = round(params.aircraft_per_scene * share * rng.uniform(2 / 3, 4 / 3))
        scenes.append(_populate(spec, count, first))
        first += count
    return scenes


def _search_scenes(
    params: SimulateParams, place: Place, tiles: int, empty: int, aircraft: int
) -> list[SceneSpec]:
    """Return a place's tiles: those with most stands hold the aircraft, some of them rows; some
    others hold none.
    """
    reach = math.ceil(math.sqrt(tiles) / 2) + 1
    steps = np.arange(-reach, reach) + 0.5
    grid = np.array(list(product(steps, steps))) + place.rng(8).uniform(-0.4, 0.4, 2)
    cells = [
        _spec(params, place, "tile", n, at)
        for n, at in enumerate(grid * params.search_tile_px * params.gsd_m)
    ]
    slots = airport_of(place).slots
    cells.sort(key=lambda cell: -sum(_holds(cell.view, slot, 12) for slot in slots))
    used, rest = cells[: tiles - empty], cells[tiles - empty :]
    none = [rest[int(k)] for k in np.linspace(0, min(len(rest), 3 * empty) - 1, empty)]
    counts = [0] * len(used)
    for k in range(
        aircraft if used else 0
    ):  # one each, so that no used tile stays empty; then four more in a few
        counts[k if k < len(used) else (k - len(used)) // 4 % max(1, len(used) // 3)] += 1
    full = [_populate(spec, counts[k], sum(counts[:k])) for k, spec in enumerate(used)]
    scenes = sorted(none + full, key=lambda spec: spec.number)
    return [replace(spec, name=f"{place.name}-{n:02d}") for n, spec in enumerate(scenes, 1)]


def _holds(view: View, slot: Slot, margin_m: float) -> bool:
    """Return whether the middle of a stand lies inside a view, `margin_m` from its border."""
    east, north = rotate((-0.5 * slot.span_m, 0), slot.heading, slot.nose_en)
    return bool(
        min(east - view.west, view.east - east, north - view.south, view.north - north) > margin_m
    )


def _populate(spec: SceneSpec, count: int, first: int) -> SceneSpec:
    """Return the scene with `count` aircraft, or as many as there is room for: some single, the
    rest in rows.

    Their types follow one another in the golden ratio's even steps, so that every place shows the
    same mix; `first` of them stand in the place's other scenes.
    """
    rng, slots = spec.place.rng(9, spec.number), airport_of(spec.place).slots
    margins = np.where(rng.random(len(slots)) < 0.1, 8.0, [0.62 * slot.span_m for slot in slots])
    inside = [
        slots[k]
        for k in rng.permutation(len(slots))
        if _holds(spec.view, slots[k], float(margins[k]))
    ]
    single, rank = [slot for slot in inside if slot.row == 0], rng.permutation(len(slots))
    rows = sorted(
        (slot for slot in inside if slot.row and rng.random() < 0.6),
        key=lambda slot: rank[slot.row],
    )
    order = [*single[: round(0.3 * count)], *rows, *inside]
    weights = np.cumsum([plan.weight for plan in TYPES.values()])
    placed: list[Aircraft] = []
    for turn in GOLDEN * np.arange(first, first + 12 * count) + spec.place.rng(29).random():
        kind = list(TYPES)[int(np.searchsorted(weights, turn % 1 * weights[-1]))]
        span = TYPES[kind].span_m
        made = [slot for slot in order if span >= (0.6 * slot.span_m if slot.row else 24)]
        tries = (_park(slot, kind, rng) for slot in [*made, *single] if span <= slot.span_m)
        placed += list(islice((aircraft for aircraft in tries if _fits(spec, aircraft, placed)), 1))
        if len(placed) == count:
            break
    return replace(spec, aircraft=tuple(placed))


def _park(slot: Slot, kind: str, rng: np.random.Generator) -> Aircraft:
    """Return an aircraft on a stand, parked about as well as people do; the first liveries are the
    commonest.
    """
    livery = list(LIVERIES)[int(len(LIVERIES) * rng.random() ** 1.7)]
    shift = (
        (-abs(rng.normal(0, 1.2)), rng.normal(0, 0.5))
        if slot.row
        else (rng.normal(0, 6), rng.normal(0, 1.2))
    )
    east, north = rotate(shift, slot.heading, slot.nose_en).tolist()
    return Aircraft(kind, livery, (east, north), slot.heading + rng.normal(0, 0.02))


def _fits(spec: SceneSpec, aircraft: Aircraft, placed: Iterable[Aircraft]) -> bool:
    """Return whether an aircraft's centre is in the scene's data, and its body clear of the others."""
    west, south, east, north = aircraft.bounds_en()
    middle = (
        ((west + east) / 2 - spec.view.west) / spec.gsd_m,
        (spec.view.north - (south + north) / 2) / spec.gsd_m,
    )
    inset = (
        1.0
        if spec.params.nodata_border == 0
        else 0.5 * max(east - west, north - south) / spec.gsd_m
    )
    return Polygon(valid_outline(spec)).buffer(-inset).contains(shapely.Point(middle)) and all(
        np.hypot(*(aircraft.middle_en - other.middle_en))
        > (TYPES[aircraft.kind].span_m + TYPES[other.kind].span_m) / 2
        for other in placed
    )


def valid_outline(spec: SceneSpec) -> Points:
    """Return the corners (4, 2) in px of the part of a scene that holds data: a swath that runs
    aslant through it.
    """
    rng, wide, high = spec.place.rng(5, spec.number), spec.width_px, spec.height_px
    cut = spec.params.nodata_border * wide * rng.uniform(0.3, 1.0, 4)
    return join([cut[0], wide - cut[1], wide - cut[2], cut[3]], [0, 0, high, high])
