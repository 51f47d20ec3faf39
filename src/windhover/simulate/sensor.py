"""Effects of air and camera on a drawn image: haze, thin cloud, blur, radiometry, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from windhover.geometry.arrays import Floats
from windhover.simulate.patterns import smooth_noise
from windhover.simulate.shapes import FloatImage

VEIL_COLOR = (214, 220, 230)  # of haze and cloud
CLOUD_LAYERS = ((420, 0.6), (160, 0.3), (60, 0.15))  # width of the blobs (m), weight


@dataclass(frozen=True, slots=True)
class Sensor:
    """Effects of air and camera on an image.

    Attributes:
        haze: largest fraction of light that haze replaces.
        cloud: largest fraction of light that thin cloud replaces; 0 for a clear sky.
        blur_px: sigma of the point spread.
        noise_dn: sigma of the noise in 8-bit counts.
        gain: (3,) factor of each band.
        offset: (3,) added to each band, 8-bit counts.
        gamma: exponent of the brightness.
    """

    haze: float
    cloud: float
    blur_px: float
    noise_dn: float
    gain: Floats
    offset: Floats
    gamma: float


def apply_sensor(
    image: FloatImage, sensor: Sensor, gsd_m: float, *, rng: np.random.Generator, bands: int
) -> FloatImage:
    """Return the image as the sensor delivers it.

    Args:
        image: (H, W, 3), 0..255.
        sensor: effects to apply.
        gsd_m: metres per px.
        rng: of haze, cloud and noise.
        bands: 3, or 4 with a plausible near infrared: plants bright, water dark.

    Returns:
        (bands, H, W): red, green, blue and near infrared.
    """
    shape_hw = (image.shape[0], image.shape[1])
    veil = _veil(sensor, shape_hw, gsd_m, rng=rng)
    out = np.empty((bands, *shape_hw), np.float32)
    for band, veil_color in enumerate(VEIL_COLOR):
        veiled = image[..., band] + (veil_color - image[..., band]) * veil
        value = cv2.GaussianBlur(veiled, (0, 0), sensor.blur_px)
        value = np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma)
        value = value * (255 * sensor.gain[band]) + sensor.offset[band]
        noise = rng.standard_normal(shape_hw, dtype=np.float32)
        out[band] = value + noise * sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160)
    if bands == 4:
        out[3] = _near_infrared(*out[:3])
    return out


def _veil(
    sensor: Sensor, shape_hw: tuple[int, int], gsd_m: float, *, rng: np.random.Generator
) -> FloatImage:
    """Return the fraction (H, W) of light that haze and cloud replace."""
    veil = sensor.haze * np.clip(0.8 + 0.25 * smooth_noise(rng, shape_hw, 500 / gsd_m), 0.2, 1.6)
    if sensor.cloud > 0:
        cloud = sum(
            smooth_noise(rng, shape_hw, width_m / gsd_m) * np.float32(weight)
            for width_m, weight in CLOUD_LAYERS
        )
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    return np.asarray(np.clip(veil, 0, 0.75), np.float32)


def _near_infrared(red: FloatImage, green: FloatImage, blue: FloatImage) -> FloatImage:
    plants = np.clip(green - np.maximum(red, blue), 0, 40)
    water = np.clip(blue - red, 0, 60)
    return np.asarray(np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255))
