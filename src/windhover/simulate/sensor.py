"""What the air and the camera do to a drawn picture: haze, thin cloud, blur, radiometry, noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from windhover.simulate.canvas import noise
from windhover.simulate.outlines import Array, Points


@dataclass(frozen=True, slots=True)
class Sensor:
    """What the air and the camera do to a picture: shares 0..1, blur in pixels (sigma), noise in
    8-bit counts.
    """

    haze: float
    cloud: float
    blur_px: float
    noise_dn: float
    gain: Points
    offset: Points
    gamma: float


def expose(
    picture: Array, sensor: Sensor, gsd_m: float, rng: np.random.Generator, bands: int
) -> Array:
    """Return the picture (H, W, 3), 0..255, as the sensor delivers it: haze, thin cloud, blur,
    radiometry, noise.

    Returns:
        Its bands (bands, H, W): red, green, blue, and the fourth a plausible near infrared, plants
        bright, water dark.
    """
    shape_hw = picture.shape[0], picture.shape[1]
    veil = sensor.haze * np.clip(0.8 + 0.25 * noise(rng, shape_hw, 500 / gsd_m), 0.2, 1.6)
    if sensor.cloud > 0:
        layers = ((420, 0.6), (160, 0.3), (60, 0.15))
        cloud = sum(
            noise(rng, shape_hw, grain / gsd_m) * np.float32(share) for grain, share in layers
        )
        veil = veil + sensor.cloud * np.clip(cloud - 0.35, 0, 1)
    veil = np.clip(veil, 0, 0.75).astype(np.float32)
    out = np.empty((bands, *shape_hw), np.float32)
    for band, bright in enumerate((214, 220, 230)):
        value = cv2.GaussianBlur(
            picture[..., band] + (bright - picture[..., band]) * veil, (0, 0), sensor.blur_px
        )
        value = np.clip(value * np.float32(1 / 255), 0, 1.2) ** np.float32(sensor.gamma)
        value = value * (255 * sensor.gain[band]) + sensor.offset[band]
        grains = rng.standard_normal(shape_hw, dtype=np.float32)
        out[band] = value + grains * sensor.noise_dn * np.sqrt(0.4 + np.clip(value, 0, 255) / 160)
    if bands == 4:
        red, green, blue = out[:3]
        plants, water = np.clip(green - np.maximum(red, blue), 0, 40), np.clip(blue - red, 0, 60)
        out[3] = np.clip(0.95 * red + 3.2 * plants - 1.4 * water, 4, 255)
    return out
