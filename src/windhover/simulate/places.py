"""Positions and splits of the invented airports; in truth, fields and steppe are there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pyproj import Transformer

# split, name, latitude, longitude, climate
PLACES = (
    ("train", "alder", 52.31, -1.62, "green"),
    ("train", "dune", 23.42, 54.21, "arid"),
    ("train", "baobab", -19.83, 23.51, "dry"),
    ("train", "cedar", 41.24, -4.37, "dry"),
    ("train", "mango", -3.41, -60.72, "tropical"),
    ("train", "birch", 61.83, 24.62, "boreal"),
    ("val", "fern", -38.42, 175.81, "green"),
    ("val", "gorse", 37.12, -5.83, "arid"),
    ("val", "heath", 57.21, 14.43, "boreal"),
    ("test", "iris", 45.12, 10.93, "green"),
    ("test", "jarrah", -31.92, 117.24, "dry"),
    ("test", "lupin", 40.43, -98.92, "green"),
    ("test", "willow", 54.72, 33.18, "boreal"),
    ("test", "yucca", -24.61, 17.42, "arid"),
    ("test", "zelkova", 6.83, 115.27, "tropical"),
    ("test", "kapok", 2.14, 102.83, "tropical"),
    ("test", "sorrel", 30.61, 31.82, "arid"),
)


class Place(NamedTuple):
    """Position of an invented airport, and the seed of the world."""

    split: str
    name: str
    latitude: float
    longitude: float
    climate: str
    seed: int

    @property
    def epsg(self) -> int:
        """EPSG code of the UTM zone."""
        hemisphere = 32600 if self.latitude >= 0 else 32700
        return hemisphere + int((self.longitude + 180) // 6) + 1

    @property
    def origin(self) -> tuple[float, float]:
        """Its origin in the UTM zone, on whole 10 m (a multiple of the pixel for usual sizes)."""
        to_utm = Transformer.from_crs(4326, self.epsg, always_xy=True)
        east, north = to_utm.transform(self.longitude, self.latitude)
        return round(east / 10) * 10.0, round(north / 10) * 10.0

    def rng(self, *salt: int) -> np.random.Generator:
        """Return a generator for one purpose at this place."""
        return np.random.default_rng([self.seed, *self.name.encode(), *salt])


def places_of(split: str, seed: int, count: int) -> list[Place]:
    """Return the first places of a split."""
    return [Place(*row, seed) for row in PLACES if row[0] == split][:count]
