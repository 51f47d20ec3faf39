"""What a search finds at the borders of small frames: phantoms, objects there, and AP.

    python benchmarks/bench_borders.py MODEL [MODEL ...] [--split test] [--sizes 320 600]

Frames are cut from the Airbus pictures of one split of `airbus_split.csv` (WINDHOVER_REAL_DATA
names the folder above airbus-aircraft), side by side, at sizes in px of the pictures as delivered
(0.5 m), and searched as `Detector` searches any raster, at the model's own threshold. Objects
centered in a frame are its truth. A phantom is a false alarm within 32 px of the training GSD of a
frame's border; `ap_near` is AP of what is there alone. Thresholds were chosen on few scenes, so
models are compared at others too: at the calibrated score of 0.5, at the recall there of the first
model at its own threshold, and at as many, or half as many, phantoms as that one has. The visible
part of an object whose center lies outside is counted in two ways: `parts_free`, where a detection
in it costs nothing, and `parts_cost`, where it is a phantom.
Intervals: 95 % over pictures; the first model is what the others are compared with.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import rasterio
import shapely
import torch
from airbus_truth import DRAWS, GSD_M, AirbusScene, airbus_scenes
from measuring import save

from windhover.inference.detector import Detector
from windhover.inference.scene_search import search_scene
from windhover.metrics.bootstrap import BootstrapSample, resample
from windhover.metrics.detection_metrics import class_score_curve
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import MatchRule, match_detections
from windhover.metrics.score_curve import average_precision

NEAR_PX = 32  # of the training GSD
FLOOR_LOGIT = -4.0
WAYS = ("parts_free", "parts_cost")
# over all pictures first, then over each draw of them
Figures: TypeAlias = dict[str, np.ndarray]


def frame_corners(side_px: int, size_px: int) -> list[tuple[int, int]]:
    """Return left and top of the frames that lie side by side in a picture."""
    starts = range(0, side_px - size_px + 1, size_px)
    return [(left, top) for top in starts for left in starts]


def truth_of_frames(scenes: list[AirbusScene], size_px: int, way: str) -> GroundTruth:
    """Return the objects of all frames in metres; a place is a picture."""
    frames, objects, ignored = [], [], []
    extent = shapely.box(0, 0, size_px, size_px)
    for scene in scenes:
        for left, top in frame_corners(2560, size_px):
            name = f"{scene.path.stem}_{left}_{top}"
            frames.append((name, scene.path.stem, (size_px * GSD_M) ** 2 / 1e6))
            for label, boxes in scene.boxes.items():
                for box in np.array(boxes).reshape(-1, 4) - (left, top, left, top):
                    shape = shapely.box(*box)
                    center = (box[:2] + box[2:]) / 2
                    is_centered = bool(((center >= 0) & (center < size_px)).all())
                    if label == "Airplane" and is_centered:
                        longer = (box[2:] - box[:2]).max() * GSD_M
                        x, y = center * GSD_M
                        objects.append((name, "aircraft", x, y, longer, _in_meters(shape)))
                    elif not shape.intersects(extent):
                        continue
                    elif label != "Airplane" or way == "parts_free":
                        ignored.append((name, _in_meters(shape)))
    columns = ["scene", "class", "x_m", "y_m", "longer_m", "geometry"]
    return GroundTruth(
        scenes=pd.DataFrame(frames, columns=["scene", "place", "km2"]),
        objects=pd.DataFrame(objects, columns=columns),
        ignored=pd.DataFrame(ignored, columns=["scene", "geometry"], dtype=object),
    )


def _in_meters(shape: Any) -> Any:
    return shapely.transform(shape, lambda xy: xy * GSD_M)


def search_frames(detector: Detector, scenes: list[AirbusScene], size_px: int) -> pd.DataFrame:
    """Return the candidates of all frames in metres, their raw logits as scores."""
    tables = []
    for scene in scenes:
        with rasterio.open(scene.path) as dataset:
            picture = dataset.read()
        for left, top in frame_corners(2560, size_px):
            frame = picture[:, top : top + size_px, left : left + size_px]
            found = _search_frame(detector, frame)
            tables.append(found.assign(scene=f"{scene.path.stem}_{left}_{top}"))
    return pd.concat(tables, ignore_index=True)


def _search_frame(detector: Detector, frame: np.ndarray) -> pd.DataFrame:
    bands, height, width = frame.shape
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=bands, height=height, width=width, dtype="uint8"
        ) as dataset:
            dataset.colorinterp = [rasterio.enums.ColorInterp(band) for band in (3, 4, 5)]
            dataset.write(frame)
        with detector.open(memory.name, GSD_M) as scene:
            candidates = search_scene(
                detector.scorer,
                scene,
                detector.settings,
                min_logit=FLOOR_LOGIT,
                second_stage=detector.second_stage,
            ).candidates
            gsd_x, gsd_y = (ratio * GSD_M for ratio in scene.ratio_xy)
    classes = np.array(detector.bundle.card.classes, object)
    x, y = candidates.objects.centers_xy.T
    return pd.DataFrame(
        {
            "class": classes[candidates.class_index],
            "score": candidates.logits,
            "x_m": x * gsd_x,
            "y_m": y * gsd_y,
        }
    )


def is_near_border(table: pd.DataFrame, size_px: int, gsd_m: float) -> np.ndarray:
    """Return which rows are within `NEAR_PX` px of the training GSD of their frame's border."""
    position = table[["x_m", "y_m"]].to_numpy(np.float64)
    inside = np.minimum(position, size_px * GSD_M - position).min(axis=1)
    return np.asarray(inside <= NEAR_PX * gsd_m)


def figures_of(
    detector: Detector,
    found: pd.DataFrame,
    truth: GroundTruth,
    size_px: int,
    *,
    first: Figures | None = None,
) -> Figures:
    """Return phantoms, recall near borders and AP under all pictures (first) and every draw.

    With the figures of a `first` model, those at its recall and its phantoms too.
    """
    gsd_m = detector.bundle.card.gsd_m
    matches = match_detections(found, truth, MatchRule("size", 0.5, 20.0))
    sample = resample(truth.scenes, DRAWS, 0)
    false_alarms = matches[~matches["ignored"] & ~matches["is_tp"]]
    is_near = is_near_border(false_alarms, size_px, gsd_m)
    near = truth.objects[is_near_border(truth.objects, size_px, gsd_m)]
    score_of = matches[matches["is_tp"]].set_index("object_index")["score"]
    near = near.assign(score=score_of.reindex(near.index).fillna(-np.inf))

    def count(table: pd.DataFrame, lowest: float) -> np.ndarray:
        return _sums(table.loc[table["score"] >= lowest, "scene"], truth, sample)

    phantoms = false_alarms[is_near]
    n_near = count(near, -np.inf)
    own, half = (
        detector.bundle.min_logits(thresholds)[0]
        for thresholds in (detector.bundle.thresholds(), detector.thresholds(0.5))
    )
    is_of_border = matches["object_index"].isin(near.index) | matches.index.isin(phantoms.index)
    figures = {
        "phantoms": count(phantoms, own),
        "false_alarms_inside": count(false_alarms[~is_near], own),
        "objects_near": n_near,
        "recall_near": count(near, own) / n_near,
        "phantoms_at_score_0.5": count(phantoms, half),
        "recall_near_at_score_0.5": count(near, half) / n_near,
        "ap": _average_precision(matches, truth, sample),
        "ap_near": _average_precision(
            matches[is_of_border], replace(truth, objects=near.drop(columns="score")), sample
        ),
    }
    if first is None:
        return figures
    n_wanted = int(np.ceil(first["recall_near"][0] * len(near) - 1e-9))
    lowest = near["score"].nlargest(n_wanted).iloc[-1]
    figures["phantoms_at_equal_recall"] = count(phantoms, lowest)
    for name, share in (("equal", 1.0), ("half", 0.5)):
        n_allowed = int(first["phantoms"][0] * share)
        highest = phantoms["score"].nlargest(n_allowed + 1)
        above = np.nextafter(highest.iloc[-1], np.inf) if len(highest) > n_allowed else FLOOR_LOGIT
        figures[f"recall_near_at_{name}_phantoms"] = count(near, above) / n_near
    return figures


def _average_precision(
    matches: pd.DataFrame, truth: GroundTruth, sample: BootstrapSample
) -> np.ndarray:
    """Return AP over all pictures, then that of every draw."""
    curve = class_score_curve(matches, truth, sample)
    once, draws = (average_precision(curve.counts(*w)) for w in ((), (sample.weights,)))
    return np.concatenate([np.ravel(once), np.ravel(draws)])


def _sums(scenes: pd.Series, truth: GroundTruth, sample: BootstrapSample) -> np.ndarray:
    """Return how many rows there are in all frames, then in the frames of every draw."""
    counts = truth.scenes["scene"].map(scenes.value_counts()).fillna(0).to_numpy(np.float64)
    by_picture = np.bincount(sample.group, counts, minlength=len(sample.names))
    return np.concatenate([[counts.sum()], by_picture @ sample.weights])


def summarize(values: Figures, first: Figures) -> dict[str, Any]:
    """Return each figure, with its difference to the first model's and an interval of that."""
    row: dict[str, Any] = {}
    for name, draws in values.items():
        row[name] = round(float(draws[0]), 4)
        if values is not first and name != "objects_near":
            other = first.get(name, first[name.split("_at_")[0]])
            difference = draws[1:] - other[1:]
            low, high = np.nanpercentile(difference, [2.5, 97.5])
            row[f"{name}_difference_95"] = [round(float(low), 4), round(float(high), 4)]
    return row


def main() -> None:
    """Search the frames of all sizes with every model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--sizes", nargs="+", type=int, default=[320, 600, 800, 1500])
    options = parser.parse_args()
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    torch.set_num_threads(1)
    scenes = [scene for scene in airbus_scenes() if scene.split == options.split]
    table: dict[str, Any] = {}
    for size_px in options.sizes:
        first: dict[str, Figures] = {}
        for model in options.models:
            detector = Detector.from_bundle(model, device="cpu")
            found = search_frames(detector, scenes, size_px)
            for way in WAYS:
                truth = truth_of_frames(scenes, size_px, way)
                values = figures_of(detector, found, truth, size_px, first=first.get(way))
                row = summarize(values, first.setdefault(way, values))
                table.setdefault(f"{size_px} px, {way}", {})[model] = row
                print(size_px, way, model, row, flush=True)
    save("borders", {"split": options.split, "frames": table}, "half of the phantoms")


if __name__ == "__main__":
    main()
