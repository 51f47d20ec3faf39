"""Fixed radiometry against radiometry of each scene, for clouds: gradient-boosted trees on each px
and its neighbourhood, which learn in seconds, so that choices can be compared over seeds.

    python benchmarks/bench_cloud_radiometry.py SCENES [--seeds 0 1] [--only NAME ...]

SCENES as for bench_clouds.py. Trees learn from the built-in sky and one real scene, and are tested
on the other. The balanced accuracy of cloud against all else is given where the likeliest class is
taken, and at the best threshold of the tested scene: the second is what the scores are worth, the
difference what a wrong threshold costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_clouds import CLOUD, SCENES, SHADOW, RealScene, binary_figures, read_scene
from measuring import save
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from windhover.simulate.cloud_layers import KINDS
from windhover.simulate.ground_cover import COVERS
from windhover.simulate.sky_scene import render_sky

N_SKY = 44
SKY_PX = 200
PX_OF_A_SKY = 500
PX_OF_REAL = 12_000
WIDTHS_PX = (3, 12)  # sigma of the neighbourhoods
DETAIL_BANDS = (0, 3, 4)
THRESHOLDS = np.arange(0.05, 0.95, 0.05)
Image = NDArray[np.float32]


def moments(image: Image) -> Image:
    """Return bands (C, H, W) of mean 0 and standard deviation 1."""
    spread = image.std((1, 2), keepdims=True) + np.float32(0.02)
    return (image - image.mean((1, 2), keepdims=True)) / spread


def quartile(image: Image) -> Image:
    """Return bands less their lower quartile, about the level of clear ground."""
    return image - np.percentile(image, 25, axis=(1, 2), keepdims=True).astype(np.float32)


def log_mean(image: Image) -> Image:
    """Return the logarithm of bands less its mean."""
    logs = np.log(np.clip(image, 0, 2) + np.float32(0.02))
    return logs - logs.mean((1, 2), keepdims=True)


RADIOMETRY: dict[str, Callable[[Image], Image]] = {
    "fixed": lambda image: image,
    "each scene: mean and deviation": moments,
    "each scene: less the lower quartile": quartile,
    "each scene: logarithm less its mean": log_mean,
}


def features(image: Image) -> NDArray[np.float32]:
    """Return (H * W, F): the px, its neighbourhoods and the roughness around it."""
    parts = [image, *(ndimage.gaussian_filter(image, (0, width, width)) for width in WIDTHS_PX)]
    detail = [image[band] - ndimage.gaussian_filter(image[band], 2) for band in DETAIL_BANDS]
    parts.append(np.stack([ndimage.gaussian_filter(np.abs(band), 3) for band in detail]))
    stack = np.concatenate(parts)
    return stack.reshape(len(stack), -1).T.astype(np.float32)


def sample_sky(
    normalize: Callable[[Image], Image], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return features and classes of px of the built-in sky."""
    xs, ys = [], []
    climates = list(COVERS)
    kinds = list(KINDS)
    for number in range(N_SKY):
        rng = np.random.default_rng([seed, number])
        climate = climates[number % len(climates)]
        kind = kinds[number % len(kinds)]
        sky = render_sky(rng, (SKY_PX, SKY_PX), 30.0, climate=climate, kind=kind)
        chosen = rng.integers(0, sky.classes.size, PX_OF_A_SKY)
        xs.append(features(normalize(sky.reflectance))[chosen])
        ys.append(sky.classes.ravel()[chosen])
    classes = np.concatenate(ys)
    classes[classes > SHADOW] = 0  # water is clear
    return np.concatenate(xs), classes


def compare(name: str, seed: int, scenes: dict[str, RealScene]) -> list[dict[str, Any]]:
    """Return the figures of one radiometry, each scene tested once."""
    normalize = RADIOMETRY[name]
    sky_x, sky_y = sample_sky(normalize, seed)
    of_scene = {}
    for key, scene in scenes.items():
        of_scene[key] = features(normalize(scene.image.astype(np.float32) / 10_000))
    rows = []
    for tested in SCENES:
        learned = next(key for key in SCENES if key != tested)
        rng = np.random.default_rng(seed)
        chosen = rng.integers(0, len(of_scene[learned]), PX_OF_REAL)
        x = np.concatenate([sky_x, of_scene[learned][chosen]])
        y = np.concatenate([sky_y, scenes[learned].classes.ravel()[chosen]])
        trees = HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.12, max_leaf_nodes=24, l2_regularization=1.0
        )
        scores = trees.fit(x, y).predict_proba(of_scene[tested])
        truth = scenes[tested].classes.ravel() == CLOUD
        cloud = scores[:, CLOUD]
        best = max(binary_figures(cloud > t, truth)["balanced_accuracy"] for t in THRESHOLDS)
        likeliest = binary_figures(scores.argmax(axis=1) == CLOUD, truth)
        figures = {key: round(value, 3) for key, value in likeliest.items()}
        rows.append({"scene": tested, "radiometry": name, "seed": seed, **figures})
        rows[-1]["best_balanced_accuracy"] = round(best, 3)
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Compare and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--only", nargs="*", choices=list(RADIOMETRY), default=list(RADIOMETRY))
    args = parser.parse_args()
    scenes = {name: read_scene(args.scenes, name) for name in SCENES}
    rows = []
    for name in args.only:
        for seed in args.seeds:
            rows += compare(name, seed, scenes)
    target = "a radiometry that is best on both scenes with every seed"
    save("cloud_radiometry", {"rows": rows}, target)


if __name__ == "__main__":
    main()
