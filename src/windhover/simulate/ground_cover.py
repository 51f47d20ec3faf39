"""Ground as an imaging spectrometer of six bands sees it: its reflectance without air and clouds.

Reflectances are rounded means of published spectra (USGS and ECOSTRESS libraries) over the bands
of the Landsat and Sentinel-2 sensors: blue, green, red, near infrared, 1.6 and 2.2 um.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from windhover.simulate.fractals import fractal_noise, level_above, smooth_step
from windhover.simulate.shapes import FloatImage

N_BANDS = 6
Spectrum = tuple[float, float, float, float, float, float]

SPECTRA: dict[str, Spectrum] = {
    "broadleaf": (0.022, 0.045, 0.025, 0.34, 0.155, 0.065),
    "conifer": (0.018, 0.032, 0.022, 0.20, 0.085, 0.036),
    "rainforest": (0.015, 0.038, 0.018, 0.29, 0.125, 0.045),
    "crop": (0.030, 0.070, 0.040, 0.42, 0.20, 0.095),
    "rice": (0.045, 0.065, 0.055, 0.24, 0.12, 0.060),
    "grass": (0.040, 0.080, 0.065, 0.31, 0.23, 0.12),
    "dry_grass": (0.065, 0.105, 0.145, 0.26, 0.33, 0.23),
    "stubble": (0.090, 0.140, 0.190, 0.29, 0.36, 0.27),
    "shrub": (0.045, 0.070, 0.085, 0.20, 0.23, 0.15),
    "brown_soil": (0.070, 0.100, 0.135, 0.20, 0.29, 0.25),
    "dark_soil": (0.045, 0.060, 0.075, 0.12, 0.17, 0.15),
    "red_soil": (0.050, 0.085, 0.180, 0.27, 0.37, 0.31),
    "dry_hills": (0.080, 0.120, 0.165, 0.25, 0.33, 0.26),
    "sand": (0.150, 0.230, 0.320, 0.41, 0.50, 0.45),
    "pale_sand": (0.240, 0.330, 0.420, 0.50, 0.57, 0.52),
    "rock": (0.110, 0.130, 0.150, 0.18, 0.22, 0.19),
    "dark_rock": (0.055, 0.065, 0.075, 0.09, 0.12, 0.11),
    "burnt": (0.040, 0.045, 0.055, 0.10, 0.17, 0.16),
    "tundra": (0.040, 0.060, 0.070, 0.21, 0.20, 0.12),
    "salt": (0.420, 0.490, 0.530, 0.55, 0.42, 0.33),
    "snow": (0.860, 0.850, 0.830, 0.74, 0.11, 0.07),
    "old_snow": (0.560, 0.560, 0.540, 0.46, 0.07, 0.05),
    "ice": (0.400, 0.410, 0.380, 0.27, 0.03, 0.02),
    "asphalt": (0.080, 0.090, 0.100, 0.12, 0.14, 0.13),
    "roof": (0.140, 0.160, 0.190, 0.23, 0.27, 0.25),
    "bright_roof": (0.420, 0.470, 0.500, 0.52, 0.50, 0.46),
    "deep_water": (0.030, 0.022, 0.010, 0.004, 0.002, 0.001),
    "lake": (0.028, 0.034, 0.020, 0.010, 0.004, 0.002),
    "turbid_water": (0.060, 0.090, 0.105, 0.060, 0.010, 0.005),
    "lagoon": (0.090, 0.110, 0.050, 0.012, 0.004, 0.002),
    "surf": (0.340, 0.350, 0.330, 0.26, 0.09, 0.06),
}
# what the ground of a climate may be made of
COVERS = {
    "green": ("broadleaf", "grass", "crop", "brown_soil", "conifer", "dark_soil"),
    "arid": ("dry_hills", "sand", "brown_soil", "rock", "pale_sand", "shrub", "red_soil"),
    "dry": ("dry_grass", "shrub", "dry_hills", "red_soil", "brown_soil", "broadleaf", "burnt"),
    "tropical": ("rainforest", "broadleaf", "grass", "rice", "red_soil", "crop"),
    "boreal": ("conifer", "tundra", "dark_soil", "broadleaf", "dark_rock", "grass"),
}
FIELDS = {
    "green": ("crop", "grass", "stubble", "brown_soil", "dark_soil"),
    "arid": ("crop", "brown_soil", "stubble", "sand"),
    "dry": ("stubble", "dry_grass", "crop", "red_soil", "brown_soil"),
    "tropical": ("rice", "crop", "red_soil", "grass"),
    "boreal": ("grass", "stubble", "dark_soil"),
}
WATERS = ("deep_water", "lake", "turbid_water", "lagoon")
BRIGHT_GROUND = {
    "green": ("bright_roof", "stubble", "old_snow"),
    "arid": ("salt", "pale_sand", "salt"),
    "dry": ("salt", "pale_sand", "snow"),
    "tropical": ("pale_sand", "bright_roof"),
    "boreal": ("snow", "old_snow", "ice"),
}


@dataclass(frozen=True, slots=True)
class Ground:
    """Ground of a scene.

    Attributes:
        reflectance: (6, H, W), 0..1.
        water: (H, W), bool.
        relief: (H, W), of mean 0 and variance 1.
    """

    reflectance: FloatImage
    water: NDArray[np.bool_]
    relief: FloatImage


class GroundPainter:
    """Paints one covering after another on the ground of a scene."""

    def __init__(
        self, rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float, climate: str
    ) -> None:
        """Begin with a mixture of the climate's coverings."""
        self.rng = rng
        self.shape_hw = shape_hw
        self.gsd_m = gsd_m
        self.climate = climate
        self.relief = self.noise(rng.uniform(2500, 7000), roughness=2.2)
        self.water: NDArray[np.bool_] = np.zeros(shape_hw, bool)
        self.spectrum_gain = rng.lognormal(0, 0.08, (N_BANDS, 1))
        self.image = self._mixture()

    def noise(self, width_m: float, **options: float) -> FloatImage:
        """Return fractal noise (H, W) whose largest structures are `width_m` wide."""
        return fractal_noise(self.rng, self.shape_hw, width_m / self.gsd_m, **options)

    def spectrum(self, name: str) -> FloatImage:
        """Return a covering's reflectance (6, 1, 1), which varies from call to call."""
        brightness = self.rng.lognormal(0, 0.14)
        tilt = 1 + self.rng.normal(0, 0.06) * np.linspace(-1, 1, N_BANDS)
        values = np.array(SPECTRA[name]) * self.spectrum_gain[:, 0] * brightness * tilt
        return np.asarray(np.clip(values, 0, 0.95), np.float32)[:, None, None]

    def paint(self, name: str, opacity: FloatImage) -> None:
        """Cover the ground with one covering, `opacity` (H, W) 0..1."""
        self.image += (self.spectrum(name) - self.image) * opacity

    def _mixture(self) -> FloatImage:
        """Return two to four of the climate's coverings, (6, H, W), with fractal borders."""
        names = COVERS[self.climate]
        count = self.rng.integers(2, min(4, len(names)) + 1)
        # the first of a climate are its commonest
        weights = 1.0 / np.arange(1, len(names) + 1)
        chosen = self.rng.choice(names, count, replace=False, p=weights / weights.sum())
        sharpness = self.rng.uniform(1.0, 7.0)
        width_m = self.rng.uniform(600, 5000)
        image = np.zeros((N_BANDS, *self.shape_hw), np.float32)
        total = np.zeros(self.shape_hw, np.float32)
        for name in chosen:
            weight = np.exp(sharpness * self.noise(width_m, roughness=self.rng.uniform(1.1, 1.8)))
            image += self.spectrum(str(name)) * weight
            total += weight
        return np.asarray(image / total, np.float32)

    def add_fields(self, fraction: float) -> None:
        """Add a patchwork of fields, each of one crop, to a fraction of the ground."""
        where = self.noise(self.rng.uniform(2000, 9000), roughness=1.6)
        opacity = smooth_step(where, *_border(where, fraction, 0.15))
        size_m = self.rng.uniform(150, 900)
        plots = self._plots(size_m)
        kinds = self.rng.choice(FIELDS[self.climate], int(plots.max()) + 1)
        spectra = np.concatenate([self.spectrum(str(name))[:, :, 0] for name in kinds], 1)
        self.image += (spectra[:, plots] - self.image) * opacity

    def _plots(self, size_m: float) -> NDArray[np.intp]:
        """Return the number of the plot (H, W) of a turned, staggered grid."""
        angle = self.rng.uniform(0, math.pi)
        rows, cols = np.indices(self.shape_hw, np.float32) * np.float32(self.gsd_m / size_m)
        u = cols * math.cos(angle) + rows * math.sin(angle)
        v = rows * math.cos(angle) - cols * math.sin(angle)
        strip = np.floor(v - v.min()).astype(np.intp)
        shift = self.rng.random(int(strip.max()) + 1)
        length = self.rng.uniform(0.8, 3.0, int(strip.max()) + 1)
        place = np.floor((u - u.min()) / length[strip] + shift[strip]).astype(np.intp)
        return np.asarray((strip * 7919 + place * 104_729) % 97)

    def add_town(self, fraction: float) -> None:
        """Add a town of roofs, streets and gardens, some roofs as bright as a cloud."""
        where = self.noise(self.rng.uniform(1500, 5000), roughness=1.5)
        inside = smooth_step(where, *_border(where, fraction, 0.3))
        texture = self.noise(3 * self.gsd_m, roughness=0.8)
        self.paint("asphalt", inside * smooth_step(texture, -0.9, 0.1))
        self.paint("roof", inside * smooth_step(texture, 0.2, 1.2))
        halls = self.noise(self.rng.uniform(60, 200), roughness=2.0)
        self.paint("bright_roof", inside * smooth_step(halls, 2.2, 2.5))

    def add_roads(self, count: int) -> None:
        """Add straight pale roads narrower than a pixel."""
        rows, cols = np.indices(self.shape_hw, np.float32)
        for _ in range(count):
            angle = self.rng.uniform(0, math.pi)
            start = self.rng.uniform(0, 1, 2) * self.shape_hw
            across = (rows - start[0]) * math.cos(angle) - (cols - start[1]) * math.sin(angle)
            bend = self.noise(3000, roughness=2.5) * np.float32(150 / self.gsd_m)
            opacity = np.clip(1.2 - np.abs(across + bend), 0, 1) * np.float32(0.5)
            self.paint("stubble", opacity)

    def light_relief(self, sun_rc: tuple[float, float], strength: float) -> None:
        """Brighten the slopes that face the sun; `sun_rc` points towards it in the picture."""
        ridges = self.relief + 0.25 * self.noise(1200, roughness=2.0)
        slope_row, slope_col = np.gradient(ndimage.gaussian_filter(ridges, 1.0))
        facing = -(slope_row * sun_rc[0] + slope_col * sun_rc[1])
        facing = facing / max(float(facing.std()), 1e-6)
        self.image *= np.clip(1 + strength * facing, 0.25, 1.9).astype(np.float32)

    def add_snow(self, fraction: float) -> None:
        """Cover the highest ground."""
        name = str(self.rng.choice(["snow", "snow", "old_snow"]))
        height = self.relief + 0.35 * self.noise(400, roughness=1.2)
        self.paint(name, smooth_step(height, *_border(height, fraction, 0.25)) * np.float32(0.97))

    def add_bright_ground(self, fraction: float) -> None:
        """Cover some ground with salt, pale sand, snow or roofs."""
        name = str(self.rng.choice(BRIGHT_GROUND[self.climate]))
        where = self.noise(self.rng.uniform(300, 3000), roughness=self.rng.uniform(1.2, 2.0))
        self.paint(name, smooth_step(where, *_border(where, fraction, 0.2)))

    def add_water(self, fraction: float, river_width_m: float) -> None:
        """Add lakes or sea over a fraction of the ground and one winding river; 0 for none."""
        low = -self.relief + 0.15 * self.noise(800, roughness=1.3)
        wet = low > level_above(low, fraction) if fraction > 0 else np.zeros(self.shape_hw, bool)
        if river_width_m > 0:
            wet |= self._river(river_width_m)
        if not wet.any():
            return
        soft = ndimage.gaussian_filter(wet.astype(np.float32), 0.6)
        first, second = self.rng.choice(WATERS, 2)
        share = smooth_step(self.noise(3000, roughness=1.8), -1.0, 1.0)
        color = self.spectrum(str(first)) * share + self.spectrum(str(second)) * (1 - share)
        color = color + np.float32(self.rng.choice([0, 0, 0, self.rng.uniform(0.01, 0.07)]))
        self.image += (color - self.image) * soft
        self.water |= wet
        if self.rng.random() < 0.4:
            self._add_surf(wet)

    def _river(self, width_m: float) -> NDArray[np.bool_]:
        """Return the px of one river that crosses the scene and winds."""
        rows, cols = np.indices(self.shape_hw, np.float32)
        angle = self.rng.uniform(0, math.pi)
        start = self.rng.uniform(0.2, 0.8, 2) * self.shape_hw
        across = (rows - start[0]) * math.cos(angle) - (cols - start[1]) * math.sin(angle)
        bends = self.noise(self.rng.uniform(800, 2500), roughness=3.0)
        course = across + bends * np.float32(self.rng.uniform(100, 500) / self.gsd_m)
        steepness = np.maximum(np.hypot(*np.gradient(course)), 0.3)
        return np.asarray(np.abs(course) / steepness < 0.5 * width_m / self.gsd_m)

    def _add_surf(self, wet: NDArray[np.bool_]) -> None:
        distance = ndimage.distance_transform_edt(wet)
        near = (distance > 0) & (distance < self.rng.uniform(1.5, 4))
        broken = smooth_step(self.noise(400, roughness=1.0), 0.0, 0.8)
        self.paint("surf", np.asarray(near * broken, np.float32) * np.float32(0.8))

    def add_texture(self, strength: float) -> None:
        """Vary the brightness of the land from px to px."""
        fine = 0.6 * self.noise(4 * self.gsd_m, roughness=0.9) + 0.4 * self.noise(900)
        gain = np.exp(strength * fine)
        self.image *= np.where(self.water, 1 + 0.3 * (gain - 1), gain).astype(np.float32)


def _border(field: FloatImage, fraction: float, softness: float) -> tuple[float, float]:
    """Return the two levels between which a covering of this fraction begins and is complete."""
    level = level_above(field, fraction)
    return level - softness / 2, level + softness / 2


def paint_ground(
    rng: np.random.Generator,
    shape_hw: tuple[int, int],
    gsd_m: float,
    *,
    climate: str,
    sun_rc: tuple[float, float],
) -> Ground:
    """Return the ground of a scene.

    Args:
        rng: of everything on it.
        shape_hw: rows and columns.
        gsd_m: metres per px.
        climate: key of `COVERS`.
        sun_rc: unit vector towards the sun in rows and columns.
    """
    painter = GroundPainter(rng, shape_hw, gsd_m, climate)
    if rng.random() < 0.5:
        painter.add_fields(rng.uniform(0.1, 0.9))
    if rng.random() < 0.35:
        painter.add_town(rng.uniform(0.01, 0.25))
    if rng.random() < 0.4:
        painter.add_roads(int(rng.integers(1, 4)))
    painter.add_texture(rng.uniform(0.03, 0.14))
    painter.light_relief(sun_rc, float(rng.choice([0.02, 0.05, 0.12, 0.25])))
    if rng.random() < 0.3:
        painter.add_bright_ground(rng.uniform(0.005, 0.12))
    if climate in ("boreal", "green", "dry") and rng.random() < 0.3:
        painter.add_snow(rng.uniform(0.02, 0.5))
    water = rng.choice([0, rng.uniform(0.01, 0.1), rng.uniform(0.1, 0.7)], p=[0.3, 0.45, 0.25])
    painter.add_water(float(water), float(rng.choice([0, rng.uniform(20, 150)])))
    return Ground(np.clip(painter.image, 0.0005, 0.98), painter.water, painter.relief)
