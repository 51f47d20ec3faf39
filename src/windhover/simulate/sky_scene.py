"""One scene of the sky world: ground, clouds, shadows and sensor, and its class at every px."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from windhover.simulate.cloud_layers import KINDS, CloudLayer, haze, with_halo
from windhover.simulate.ground_cover import N_BANDS, Ground, paint_ground
from windhover.simulate.shapes import FloatImage
from windhover.simulate.sky_light import (
    Light,
    add_air,
    add_layer,
    cloud_reflectance,
    lit_ground,
    shadow_depth,
    sunlit,
)

CLEAR = 0
CLOUD = 1
SHADOW = 2
WATER = 3
# a cloud that reflects less, or a shadow that takes less light, is not drawn by an interpreter
CLOUD_REFLECTANCE = 0.028
SHADOW_LOSS = 0.2
MIN_SPECK_PX = 8
OUTLINE_PX = 1.0  # sigma of the smoothing of outlines
OUTLINE_LEVEL = 0.4  # below 0.5: outlines lie a little outside


@dataclass(frozen=True, slots=True)
class SkyScene:
    """A scene with its truth.

    Attributes:
        reflectance: (6, H, W), 0..1, as the sensor delivers it.
        classes: (H, W), uint8: `CLEAR`, `CLOUD`, `SHADOW` or `WATER`.
        kind: of its clouds.
    """

    reflectance: FloatImage
    classes: NDArray[np.uint8]
    kind: str


def render_sky(
    rng: np.random.Generator,
    shape_hw: tuple[int, int],
    gsd_m: float,
    *,
    climate: str,
    kind: str,
) -> SkyScene:
    """Return a scene.

    Args:
        rng: of everything in it.
        shape_hw: rows and columns.
        gsd_m: metres per px.
        climate: of the ground.
        kind: key of `cloud_layers.KINDS`.
    """
    light = Light(
        zenith=math.radians(rng.uniform(22, 68)),
        azimuth=rng.uniform(0, 2 * math.pi),
        aerosol=rng.lognormal(math.log(0.12), 0.6),
        skylight=rng.uniform(0.05, 0.35),
    )
    ground = paint_ground(rng, shape_hw, gsd_m, climate=climate, sun_rc=light.sun_rc)
    layers = [_with_halo(make(rng, shape_hw, gsd_m), gsd_m, rng) for make in KINDS[kind]]
    if layers:
        passed = sunlit(shadow_depth(layers, light, gsd_m), light)
    else:
        passed = np.ones(shape_hw, np.float32)
    image = add_air(lit_ground(ground, passed, light), haze(rng, shape_hw, gsd_m), light)
    for layer in sorted(layers, key=lambda layer: layer.base_m):
        image = add_layer(image, layer, light)
    return SkyScene(_deliver(image, rng), classify(ground, layers, passed), kind)


def _with_halo(layer: CloudLayer, gsd_m: float, rng: np.random.Generator) -> CloudLayer:
    if layer.ice == 1:
        return layer
    return with_halo(layer, rng.uniform(80, 350) / gsd_m, rng.uniform(0.0, 0.12))


def classify(ground: Ground, layers: list[CloudLayer], passed: FloatImage) -> NDArray[np.uint8]:
    """Return the class of every px (H, W): cloud over shadow over water over clear land."""
    classes: NDArray[np.uint8] = np.where(ground.water, WATER, CLEAR).astype(np.uint8)
    classes[_as_drawn(passed < 1 - SHADOW_LOSS)] = SHADOW
    if layers:
        depth = np.sum([layer.optical_depth for layer in layers], axis=0)
        classes[_as_drawn(cloud_reflectance(depth) > CLOUD_REFLECTANCE)] = CLOUD
    return classes


def _as_drawn(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask as an interpreter draws it: a smooth, generous outline, no specks."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), OUTLINE_PX)
    drawn = soft > OUTLINE_LEVEL
    labels, count = ndimage.label(drawn)
    if count == 0:
        return np.asarray(drawn)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(sizes[labels] >= MIN_SPECK_PX)


def _deliver(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Return the image with the blur, noise, calibration and saturation of a sensor."""
    blur = rng.uniform(0.35, 0.75)
    noise_level = rng.uniform(0.0005, 0.004)
    gain = rng.lognormal(0, 0.03, N_BANDS)
    saturation = _saturation(rng)
    out = np.empty_like(image)
    for band, value in enumerate(image):
        sharp = ndimage.gaussian_filter(value, blur) * gain[band]
        noise = rng.standard_normal(value.shape, dtype=np.float32) * np.float32(noise_level)
        out[band] = np.minimum(sharp + noise, saturation[band])
    step = rng.choice([0.0001, 0.002, 0.004])  # 8-bit sensors have steps that can be seen
    return np.asarray(np.rint(out / step) * step, np.float32)


def _saturation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the largest reflectance of each band: older sensors saturate over bright cloud."""
    if rng.random() < 0.4:
        return np.full(N_BANDS, 1.6)
    low = np.array([0.33, 0.38, 0.38, 0.55, 0.45, 0.38])
    return rng.uniform(low, (0.7, 0.85, 0.9, 1.0, 0.75, 0.7))
