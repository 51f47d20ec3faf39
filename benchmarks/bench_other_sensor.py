"""How a model takes pictures of another sensor: the same test scenes, changed in one way at a time,
nothing retrained.

    python benchmarks/bench_other_sensor.py MODEL [MODEL ...] [--every N]

Run it where `bench_learning.py` has prepared the data (it reads `data/scenes`). The changes stand
in for sensors nobody
has here: panchromatic, another order of bands, blur of a coarser or a hazier picture, faint and
hard contrast, noise, compression; a GSD that nobody knows, where the picture is half or twice as
large and all scales are searched; and many of these at once. Changes of light are searched with
`match_radiometry` too.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import rasterio
import torch
from bench_learning import figures
from measuring import save

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.detection.detect_request import SCALES_OF_UNKNOWN_GSD
from windhover.evaluation.search_splits import SearchedSplit, detections_in_meters
from windhover.inference.detector import Detector
from windhover.inference.scene_search import search_scene
from windhover.inference.search_settings import SearchSettings
from windhover.metrics.ground_truth import ground_truth_of
from windhover.metrics.match_detections import match_detections
from windhover.metrics.match_rule import MatchRule

Picture = np.ndarray  # (H, W, 3) float32, 0..255
FLOOR_LOGIT = -5.0
NATIVE_GSD_M = 0.5


def _compressed(picture: Picture, quality: int = 15) -> Picture:
    coded = cv2.imencode(".jpg", picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR).astype(np.float32)


def _blurred(sigma_m: float) -> Callable[[Picture], Picture]:
    return lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma_m / NATIVE_GSD_M)


def _resized(times: float) -> Callable[[Picture], Picture]:
    way = cv2.INTER_AREA if times < 1 else cv2.INTER_CUBIC
    return lambda picture: cv2.resize(picture, None, fx=times, fy=times, interpolation=way)


def _worse_sensor(picture: Picture) -> Picture:
    """One band at 0.8 m, unsharp, hazy and noisy, compressed."""
    grey = np.repeat(_resized(0.625)(_blurred(0.8)(picture)).mean(2, keepdims=True), 3, 2)
    noisy = 0.6 * grey + 70 + np.random.default_rng(0).normal(0, 5, (*grey.shape[:2], 1))
    return _compressed(np.clip(noisy, 0, 255), quality=50)


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda picture: picture,
    "one band": lambda picture: np.repeat(picture.mean(2, keepdims=True), 3, 2),
    "bands the other way round": lambda picture: picture[..., ::-1],
    "blur, sigma 1.2 m": _blurred(1.2),
    "blur, sigma 2 m": _blurred(2.0),
    "haze: 0.35 of the contrast": lambda picture: 0.35 * picture + 130,
    "dark: 0.35 of the light": lambda picture: 0.35 * picture,
    "contrast times 2.2, clipped": lambda picture: 2.2 * (picture - 110) + 110,
    "gamma 2": lambda picture: 255 * (picture / 255) ** 2,
    "noise of 20 counts": lambda picture: (
        picture + np.random.default_rng(0).normal(0, 20, picture.shape)
    ),
    "JPEG at quality 15": _compressed,
    "half as many px, GSD unknown": _resized(0.5),
    "twice as many px, GSD unknown": _resized(
        2.0
    ),  # slow: half of the raster's own px, too, is searched
    "one band at 0.8 m, blur, haze, noise, JPEG, GSD unknown": _worse_sensor,
}
MATCHED = (
    "as it is",
    "haze: 0.35 of the contrast",
    "dark: 0.35 of the light",
    "contrast times 2.2, clipped",
    "gamma 2",
    "one band at 0.8 m, blur, haze, noise, JPEG, GSD unknown",
)
RESIZED = {  # px beside one before
    "half as many px, GSD unknown": 0.5,
    "twice as many px, GSD unknown": 2.0,
    "one band at 0.8 m, blur, haze, noise, JPEG, GSD unknown": 0.625,
}


def search(detector: Detector, catalog: Catalog, name: str, folder: Path) -> SearchedSplit:
    """Change every scene, search it, and match what is found."""
    found = []
    times = RESIZED.get(name, 1.0)
    scales = SCALES_OF_UNKNOWN_GSD if name in RESIZED else (1.0,)
    settings = SearchSettings(scales=scales, peak_tta="recenter")
    card = detector.bundle.card
    for row in catalog:
        changed = np.clip(np.rint(CHANGES[name](_read(row.path))), 0, 255).astype(np.uint8)
        path = folder / f"{row.scene}.tif"
        _write(path, changed)
        # of an unknown GSD a px is taken for the model's
        with detector.open(path, card.gsd_m if name in RESIZED else row.gsd_x_m) as scene:
            result = search_scene(detector.scorer, scene, settings, min_logit=FLOOR_LOGIT)
            true_gsd = tuple(row.gsd_x_m / times * ratio for ratio in scene.ratio_xy)
        found.append(
            detections_in_meters(
                result.candidates, row.scene, (true_gsd[0], true_gsd[1]), classes=card.classes
            )
        )
        path.unlink()
    ground_truth = ground_truth_of(catalog)
    rule = MatchRule("size", 0.5, 20.0)
    matches = match_detections(pd.concat(found, ignore_index=True), ground_truth, rule)
    return SearchedSplit(ground_truth, matches, detector.scorer.inference_precision)


def _read(path: str) -> Picture:
    with rasterio.open(path) as dataset:
        return np.moveaxis(dataset.read([1, 2, 3]), 0, 2).astype(np.float32)


def _write(path: Path, picture: np.ndarray) -> None:
    height, width, _ = picture.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=3, dtype="uint8"
    ) as dataset:
        dataset.colorinterp = [rasterio.enums.ColorInterp(band) for band in (3, 4, 5)]
        dataset.write(np.moveaxis(picture, 2, 0))


def main() -> None:
    """Search all changes of all test scenes with each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--every", type=int, default=2, help="only every so many test scenes")
    parser.add_argument(
        "--precision", nargs="+", default=["fp32"], help="of the search, such as fp32 int8; each"
    )
    parser.add_argument("--only", nargs="*", choices=CHANGES, help="these changes")
    options = parser.parse_args()
    torch.set_num_threads(2)
    whole = load_catalog("data/scenes").split("test")
    labeled = whole.scenes[whole.scenes["labeled"]]
    catalog = replace(whole, scenes=labeled[:: options.every]).split("test")
    table: dict[str, Any] = {}
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with tempfile.TemporaryDirectory() as folder:
        for model, precision in product(options.models, options.precision):
            for names, match_radiometry in ((CHANGES, False), (MATCHED, True)):
                detector = Detector.from_bundle(
                    model, inference_precision=precision, match_radiometry=match_radiometry
                )
                way = f"{precision}, {'matched' if match_radiometry else 'as seen'}"
                for name in [name for name in names if not options.only or name in options.only]:
                    row, _ = figures(search(detector, catalog, name, Path(folder)))
                    table.setdefault(name, {})[f"{Path(model).name}, {way}"] = row
                    print(
                        f"{Path(model).name:32s} {way:14s} {name:56s} {json.dumps(row)}", flush=True
                    )
    save("other_sensor", {"scenes": len(catalog.scenes), "changes": table}, "AP 0.80")


if __name__ == "__main__":
    main()
