"""What the references of the real cloud scenes allow: their seams, where the peer errs, and how
well trees map a scene that learned from the same scene, the other one, or that and the sky.

    python benchmarks/bench_cloud_reference.py SCENES [--seeds 0 1]

SCENES as for bench_clouds.py. Trees see px and neighbourhoods (as in bench_cloud_radiometry.py,
logarithms less their mean), then also spectral indices, then also the least and largest values
around. "Same scene": squares of 128 px as on a chessboard, half to learn from, half to test, both
ways. The threshold is the share of cloud among the learned px; the best one of the tested scene,
which nobody knows beforehand, stands beside it. Seams: how often the classes of the reference
change from one row (column) to the next, in units of the median of the rows around it, and how much
the picture does. The peer as in bench_clouds.py.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from bench_cloud_radiometry import KINDS, PX_OF_REAL, SKY_PX, features, log_mean
from bench_clouds import (
    CLOUD,
    OTHER,
    RIVALS_PYTHON,
    SCENES,
    RealScene,
    binary_figures,
    map_by_peer,
    read_scene,
)
from measuring import save
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier

from windhover.simulate.ground_cover import COVERS
from windhover.simulate.sky_scene import render_sky

N_SKY = 22
PX_OF_A_SKY = 800
SQUARE_PX = 128
SIDES_PX = (3, 7, 15)  # of the neighbourhoods whose least and largest values are taken
BORDER_PX = 2
AROUND_PX = 10  # lines around a line, with which it is compared
N_SEAMS = 6  # that are named
PEER = "csmask, 4 bands, l1c"
THRESHOLDS = np.arange(0.05, 0.95, 0.05)
Image = NDArray[np.float32]
Pixels = tuple[NDArray[np.float32], NDArray[np.bool_]]  # features (N, F), whether cloud (N,)


def indices(image: Image) -> list[Image]:
    """Return indices of cloud, snow and leaves, as they are and smoothed."""
    blue, green, red, nir, swir16, _ = image
    visible = (blue + green + red) / 3
    whiteness = np.sum([np.abs(band / visible - 1) for band in (blue, green, red)], axis=0)
    snow = (green - swir16) / (green + swir16 + np.float32(0.01))
    leaves = (nir - red) / (nir + red + np.float32(0.01))
    parts = [blue - red / 2, haze(image), whiteness, snow, leaves]
    return [smoothed for part in parts for smoothed in (part, ndimage.gaussian_filter(part, 3))]


def haze(image: Image) -> Image:
    """Return the logarithm of blue less that of red, each less its mean."""
    logs = log_mean(image)
    return np.asarray(logs[0] - logs[2])


def extremes(image: Image) -> list[Image]:
    """Return the least and largest values around each px."""
    filters = (ndimage.minimum_filter, ndimage.maximum_filter)
    bands = (haze(image), log_mean(image)[0])
    return [make(band, side) for band in bands for side in SIDES_PX for make in filters]


def parts_of(image: Image) -> dict[str, NDArray[np.float32]]:
    """Return sets of features (H * W, F), each with those before it."""
    plain = features(log_mean(image))
    known = {"px and neighbourhoods": plain}
    for name, more in (("and indices", indices(image)), ("and extremes", extremes(image))):
        stack = np.stack(more).reshape(len(more), -1).T.astype(np.float32)
        plain = np.concatenate([plain, stack], axis=1)
        known[name] = plain
    return known


def sample_sky(seed: int) -> dict[str, Pixels]:
    """Return px of the built-in sky for each set of features."""
    drawn: dict[str, list[Pixels]] = {}
    for number in range(N_SKY):
        rng = np.random.default_rng([seed, number])
        climate = list(COVERS)[number % len(COVERS)]
        kind = list(KINDS)[number % len(KINDS)]
        sky = render_sky(rng, (SKY_PX, SKY_PX), 30.0, climate=climate, kind=kind)
        chosen = rng.integers(0, sky.classes.size, PX_OF_A_SKY)
        is_cloud = sky.classes.ravel()[chosen] == CLOUD
        for name, values in parts_of(sky.reflectance).items():
            drawn.setdefault(name, []).append((values[chosen], is_cloud))
    return {name: joined(parts) for name, parts in drawn.items()}


def joined(parts: list[Pixels]) -> Pixels:
    """Return px of several samples as one."""
    xs, ys = zip(*parts, strict=True)
    return np.concatenate(xs), np.concatenate(ys)


def scores_of(learned: Pixels, tested: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return scores of cloud, less the share of cloud among the learned px."""
    trees = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.12, max_leaf_nodes=24, early_stopping=False
    )
    trees.fit(*learned)
    return np.asarray(trees.predict_proba(tested)[:, 1] - learned[1].mean())


def some(pixels: Pixels, among: NDArray[np.bool_], seed: int) -> Pixels:
    """Return px drawn from a part of a scene."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.flatnonzero(among), PX_OF_REAL, replace=False)
    return pixels[0][chosen], pixels[1][chosen]


def chessboard(shape_hw: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the white squares (H * W,)."""
    return np.asarray(((np.indices(shape_hw) // SQUARE_PX).sum(axis=0) % 2 == 0).ravel())


def compare(seed: int, scenes: dict[str, RealScene]) -> list[dict[str, Any]]:
    """Return the figures of trees for each scene, set of features and ground to learn from."""
    sky = sample_sky(seed)
    values = {
        key: parts_of(scene.image.astype(np.float32) / 10_000) for key, scene in scenes.items()
    }
    rows = []
    for tested, name in itertools.product(SCENES, sky):
        pixels = {key: (values[key][name], scenes[key].classes.ravel() == CLOUD) for key in SCENES}
        x, truth = pixels[tested]
        white = chessboard(scenes[tested].classes.shape)
        same = np.empty(len(truth))
        for part in (white, ~white):
            same[part] = scores_of(some(pixels[tested], ~part, seed), x[part])
        other = some(pixels[OTHER[tested]], np.ones_like(white), seed)
        for learned, scores in (
            ("same scene", same),
            ("other scene", scores_of(other, x)),
            ("other scene and sky", scores_of(joined([other, sky[name]]), x)),
        ):
            row: dict[str, Any] = {"scene": tested, "features": name, "learned": learned}
            rows.append(row | {"seed": seed} | figures(scores, truth))
            print(rows[-1], flush=True)
    return rows


def figures(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return the figures at the threshold that was set, 0, and at the best one."""
    found = binary_figures(scores > 0, truth)
    every = [binary_figures(scores > shift, truth) for shift in THRESHOLDS - 0.4]
    for key in ("balanced_accuracy", "iou"):
        found[f"best_{key}"] = max(each[key] for each in every)
    return {key: round(value, 3) for key, value in found.items()}


def seams(changed: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Return the mean change across each line, in units of the median of the lines around."""
    changes = changed.mean(axis=1 - axis)
    around = np.pad(changes, AROUND_PX, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * AROUND_PX + 1)
    return np.asarray(changes / np.median(windows, axis=1))


def strongest_seams(scene: RealScene) -> dict[str, dict[int, list[float]]]:
    """Return the lines where the reference changes most, with its change and the picture's."""
    classes = scene.classes
    brightness = scene.image.mean(axis=0)
    named = {}
    for axis, name in enumerate(("rows", "columns")):
        of_reference = seams(np.diff(classes.astype(np.int16), axis=axis) != 0, axis)
        of_picture = seams(np.abs(np.diff(brightness, axis=axis)), axis)
        lines = np.argsort(of_reference)[::-1][:N_SEAMS]
        both = np.round(np.stack([of_reference, of_picture], axis=1), 1)
        named[name] = {int(line) + 1: both[line].tolist() for line in lines}
    return named


def errors(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Return which part of the errors is within 2 px of the reference's borders, and the rest."""
    inside, outside = (ndimage.distance_transform_cdt(part, "taxicab") for part in (truth, ~truth))
    near = np.where(truth, inside, outside) <= BORDER_PX
    wrong = found != truth
    far = binary_figures(found[~near], truth[~near])
    return {
        "error_near_borders": round(float((wrong & near).sum() / wrong.sum()), 3),
        "px_near_borders": round(float(near.mean()), 3),
        "balanced_accuracy_elsewhere": round(far["balanced_accuracy"], 3),
        "iou_elsewhere": round(far["iou"], 3),
    }


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    args = parser.parse_args()
    scenes = {name: read_scene(args.scenes, name) for name in SCENES}
    found: dict[str, Any] = {"seams": {}, "peer": {}}
    for name, scene in scenes.items():
        truth = scene.classes == CLOUD
        found["seams"][name] = strongest_seams(scene)
        if RIVALS_PYTHON.is_file():
            mask, _ = map_by_peer(args.scenes / f"{name}.npz", 1)[PEER]
            found["peer"][name] = errors(mask == CLOUD, truth)
    print(found, flush=True)
    found["rows"] = [row for seed in args.seeds for row in compare(seed, scenes)]
    save("cloud_reference", found, "what learns from the same scene, as the most to hope for")


if __name__ == "__main__":
    main()
