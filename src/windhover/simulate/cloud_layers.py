"""Cloud layers of several kinds: their optical depth, height and droplets.

Shapes are thresholded fractal fields: real cloud fields are close to fractal over the scales of a
scene, and a threshold of a smooth-edged excess gives edges that thin out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from windhover.simulate.fractals import fractal_noise, level_above, smooth_step
from windhover.simulate.shapes import FloatImage


@dataclass(frozen=True, slots=True)
class CloudLayer:
    """One layer of cloud.

    Attributes:
        optical_depth: (H, W), 0 where there is none.
        base_m: height of its base above ground.
        depth_m: from base to the highest top.
        ice: fraction of ice, which absorbs in the short-wave infrared.
        relief: contrast of its lit and dark sides, 0 for a flat top.
    """

    optical_depth: FloatImage
    base_m: float
    depth_m: float
    ice: float
    relief: float


def cumulus(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return scattered heaps of 0.3 to 2 km, gathered in groups or streets."""
    width_px = rng.uniform(700, 3000) / gsd_m
    stretch = {"stretch": rng.uniform(1, 1.8), "angle": rng.uniform(0, math.pi)}
    heaps = fractal_noise(rng, shape_hw, width_px, roughness=rng.uniform(1.5, 1.9), **stretch)
    groups = fractal_noise(rng, shape_hw, 6 * width_px, roughness=2.0)
    field = heaps + np.float32(rng.uniform(0.1, 0.7)) * groups
    depth = _excess(field, rng.uniform(0.03, 0.35), rng.uniform(0.35, 0.9))
    return CloudLayer(
        _thickened(depth, rng.uniform(3, 16), rng.uniform(0.9, 1.6)),
        base_m=rng.uniform(500, 2500),
        depth_m=rng.uniform(300, 2500),
        ice=0.0,
        relief=rng.uniform(0.05, 0.25),
    )


def towers(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return a few large heaps with frayed edges, tall enough for long shadows."""
    width_px = rng.uniform(3000, 9000) / gsd_m
    field = fractal_noise(rng, shape_hw, width_px, roughness=rng.uniform(1.55, 1.85))
    depth = _excess(field, rng.uniform(0.04, 0.4), rng.uniform(0.5, 1.2))
    return CloudLayer(
        _thickened(depth, rng.uniform(6, 35), rng.uniform(1.1, 2.0)),
        base_m=rng.uniform(800, 3000),
        depth_m=rng.uniform(1500, 5000),
        ice=rng.uniform(0, 0.6),
        relief=rng.uniform(0.1, 0.3),
    )


def stratocumulus(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return a broken deck of cells, with gaps."""
    width_px = rng.uniform(800, 2500) / gsd_m
    cells = np.abs(fractal_noise(rng, shape_hw, width_px, roughness=2.0))
    deck = fractal_noise(rng, shape_hw, 6 * width_px, roughness=1.8)
    field = cells + np.float32(0.6) * deck
    depth = _excess(field, rng.uniform(0.4, 0.95), rng.uniform(0.5, 1.2))
    return CloudLayer(
        _thickened(depth, rng.uniform(3, 16), rng.uniform(0.8, 1.4)),
        base_m=rng.uniform(400, 1800),
        depth_m=rng.uniform(150, 600),
        ice=0.0,
        relief=rng.uniform(0.02, 0.12),
    )


def stratus(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return an even deck over a side of the scene or the whole of it."""
    width_px = rng.uniform(8000, 20000) / gsd_m
    field = fractal_noise(rng, shape_hw, width_px, roughness=rng.uniform(1.9, 2.4))
    depth = _excess(field, rng.uniform(0.3, 1.0), rng.uniform(0.2, 1.0))
    return CloudLayer(
        _thickened(depth, rng.uniform(2, 20), 1.0),
        base_m=rng.uniform(150, 1500),
        depth_m=rng.uniform(100, 500),
        ice=rng.uniform(0, 0.2),
        relief=rng.uniform(0.0, 0.05),
    )


def thin_cloud(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return ragged, semitransparent cloud of the middle heights."""
    width_px = rng.uniform(1500, 8000) / gsd_m
    field = fractal_noise(rng, shape_hw, width_px, roughness=rng.uniform(1.2, 1.7))
    depth = _excess(field, rng.uniform(0.1, 0.6), rng.uniform(0.6, 1.5))
    return CloudLayer(
        _thickened(depth, rng.uniform(0.6, 5), rng.uniform(0.8, 1.3)),
        base_m=rng.uniform(1500, 5000),
        depth_m=rng.uniform(200, 800),
        ice=rng.uniform(0, 0.7),
        relief=rng.uniform(0.0, 0.08),
    )


def cirrus(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> CloudLayer:
    """Return streaks of thin ice cloud."""
    width_px = rng.uniform(1000, 4000) / gsd_m
    field = fractal_noise(
        rng,
        shape_hw,
        width_px,
        roughness=rng.uniform(1.5, 2.1),
        stretch=rng.uniform(2, 8),
        angle=rng.uniform(0, math.pi),
    )
    depth = _excess(field, rng.uniform(0.1, 0.8), rng.uniform(0.8, 2.0))
    return CloudLayer(
        _thickened(depth, rng.uniform(0.3, 2.5), 1.0),
        base_m=rng.uniform(6000, 11000),
        depth_m=rng.uniform(200, 1000),
        ice=1.0,
        relief=0.0,
    )


def haze(rng: np.random.Generator, shape_hw: tuple[int, int], gsd_m: float) -> FloatImage:
    """Return the optical depth (H, W) of uneven haze, which counts as clear."""
    field = fractal_noise(rng, shape_hw, 15000 / gsd_m, roughness=2.2)
    strength = rng.choice([rng.uniform(0, 0.1), rng.uniform(0.1, 0.5)], p=[0.7, 0.3])
    return np.asarray(strength * smooth_step(field, -2.5, 2.5), np.float32)


KINDS = {
    "clear": (),
    "cumulus": (cumulus,),
    "towers": (towers,),
    "stratocumulus": (stratocumulus,),
    "stratus": (stratus,),
    "thin": (thin_cloud,),
    "cirrus": (cirrus,),
    "cumulus_thin": (cumulus, thin_cloud),
    "towers_thin": (towers, thin_cloud),
    "cumulus_cirrus": (cumulus, cirrus),
    "towers_cumulus": (towers, cumulus),
}


def _excess(field: FloatImage, fraction: float, full_at: float) -> FloatImage:
    """Return by how much the field exceeds the level of a fraction, 1 at `full_at` above it."""
    return np.asarray(np.maximum(field - level_above(field, fraction), 0) / full_at, np.float32)


def _thickened(excess: FloatImage, optical_depth: float, power: float) -> FloatImage:
    """Return an optical depth (H, W) that rises from the edges; thick hearts saturate."""
    thick = optical_depth * excess**power
    blurred = ndimage.gaussian_filter(thick, 0.6, mode="wrap")
    return np.asarray(blurred, np.float32)


def with_halo(layer: CloudLayer, width_px: float, strength: float) -> CloudLayer:
    """Return the layer with the thin veil of moist air and scattered light that rings clouds."""
    near = ndimage.gaussian_filter(np.minimum(layer.optical_depth, 3), width_px, mode="wrap")
    return replace(layer, optical_depth=layer.optical_depth + np.float32(strength) * near)
