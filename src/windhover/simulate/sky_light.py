"""Light through air and clouds: the reflectance above the atmosphere of ground under cloud layers.

Two-stream optics: a cloud of optical depth t and asymmetry g reflects (1-g)t / (2 + (1-g)t) of
the light, and light goes to and fro between it and the ground. Molecules and aerosol add
light of their own, which is strongest in blue; a shadow keeps the light of the sky.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from windhover.simulate.cloud_layers import CloudLayer
from windhover.simulate.ground_cover import Ground
from windhover.simulate.shapes import FloatImage

WAVELENGTH_UM = np.array([0.48, 0.56, 0.66, 0.84, 1.61, 2.2], np.float32)
RAYLEIGH_DEPTH = 0.0088 * WAVELENGTH_UM**-4.05
ASYMMETRY = 0.85
# reflectance of a thick cloud of water or ice, against that of one which absorbs nothing
WATER_ALBEDO = np.array([0.97, 0.98, 0.99, 1.0, 0.85, 0.66], np.float32)
ICE_ALBEDO = np.array([0.97, 0.98, 0.99, 0.97, 0.52, 0.40], np.float32)
SHADOW_STEPS = (0.0, 0.5, 1.0)  # heights within a layer that cast shadow


@dataclass(frozen=True, slots=True)
class Light:
    """The sun and the air of a scene.

    Attributes:
        zenith: of the sun, radians.
        azimuth: direction towards the sun in the picture, radians from up, clockwise.
        aerosol: optical depth at 0.55 um.
        skylight: fraction of the light that reaches a shadow from clouds near it, in every band.
    """

    zenith: float
    azimuth: float
    aerosol: float
    skylight: float

    @property
    def sun_rc(self) -> tuple[float, float]:
        """Unit vector towards the sun, rows and columns."""
        return -math.cos(self.azimuth), math.sin(self.azimuth)


def cloud_reflectance(optical_depth: FloatImage) -> FloatImage:
    """Return the reflectance (H, W) of a cloud that absorbs nothing."""
    scaled = (1 - ASYMMETRY) * optical_depth
    return np.asarray(scaled / (2 + scaled), np.float32)


def shadow_depth(layers: list[CloudLayer], light: Light, gsd_m: float) -> FloatImage:
    """Return the optical depth (H, W) between each px of ground and the sun, as if periodic."""
    total = np.zeros_like(layers[0].optical_depth)
    slant = math.tan(light.zenith) / gsd_m
    for layer in layers:
        cast = np.zeros_like(total)
        for step in SHADOW_STEPS:
            length_px = slant * (layer.base_m + step * layer.depth_m)
            # away from the sun
            shift = [round(-length_px * part) for part in light.sun_rc]
            # only thick hearts reach high
            part = np.maximum(layer.optical_depth - step * 8, 0)
            cast = np.maximum(cast, np.roll(part, shift, (0, 1)))
        blur = max(0.5, 0.009 * layer.base_m / gsd_m)
        total += ndimage.gaussian_filter(cast, blur, mode="wrap")
    return total


def sunlit(depth: FloatImage, light: Light) -> FloatImage:
    """Return the fraction (H, W) of the direct light that passes the clouds towards the ground."""
    # forward scatter reaches the ground as well
    slant = depth * (1 - ASYMMETRY) * np.float32(1.6 / math.cos(light.zenith))
    return np.asarray(np.exp(-np.minimum(slant, 20)), np.float32)


def lit_ground(ground: Ground, passed: FloatImage, light: Light) -> FloatImage:
    """Return ground reflectance (6, H, W) times the light that reaches it."""
    blue_sky = 1.2 * RAYLEIGH_DEPTH + 0.15 * light.aerosol * (WAVELENGTH_UM / 0.55) ** -1.2
    share = np.clip(light.skylight + blue_sky, 0, 0.8).astype(np.float32)[:, None, None]
    return np.asarray(ground.reflectance * (share + (1 - share) * passed), np.float32)


def add_layer(image: FloatImage, layer: CloudLayer, light: Light) -> FloatImage:
    """Return the image (6, H, W) seen through a cloud layer."""
    depth = layer.optical_depth
    reflected = cloud_reflectance(depth)
    albedo = WATER_ALBEDO + (ICE_ALBEDO - WATER_ALBEDO) * np.float32(layer.ice)
    shade = _shade(layer, light)
    out = np.empty_like(image)
    for band, value in enumerate(image):
        # absorption needs many scatterings: thin cloud is white in every band
        own = reflected * (1 - (1 - albedo[band]) * np.sqrt(reflected)) * shade
        through = (1 - reflected) ** 2 * value / (1 - reflected * value)
        out[band] = own + through
    return out


def _shade(layer: CloudLayer, light: Light) -> FloatImage:
    """Return the brightness (H, W), about 1, of the lit and dark sides of a cloud's top."""
    if layer.relief == 0:
        return np.ones_like(layer.optical_depth)
    height = ndimage.gaussian_filter(np.log1p(layer.optical_depth), 1.0, mode="wrap")
    slope_row, slope_col = np.gradient(height)
    facing = -(slope_row * light.sun_rc[0] + slope_col * light.sun_rc[1])
    lit = 1 + layer.relief * 2.5 * math.tan(light.zenith) * facing
    return np.asarray(np.clip(lit, 0.45, 1.35), np.float32)


def add_air(image: FloatImage, haze: FloatImage, light: Light) -> FloatImage:
    """Return the image (6, H, W) with the light that molecules, aerosol and haze scatter."""
    cosine = math.cos(light.zenith)
    out = np.empty_like(image)
    for band, wavelength in enumerate(WAVELENGTH_UM):
        aerosol = (light.aerosol + haze) * (wavelength / 0.55) ** -1.2
        depth = RAYLEIGH_DEPTH[band] * 0.75 + aerosol * 0.15
        path = depth / (2 * cosine * (1 + depth))
        out[band] = path + image[band] * (1 - depth * (1 + 1 / cosine) * 0.35)
    return out
