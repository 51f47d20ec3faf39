"""A small evaluation result from made-up detections, for tests of the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import shapely
from PIL import Image
from scipy.special import expit

from windhover.metrics.ap_by_threshold import report_ap_table
from windhover.metrics.bootstrap import resample
from windhover.metrics.choose_threshold import choose_threshold
from windhover.metrics.detection_metrics import (
    DetectionMetrics,
    class_score_curve,
    measure_detections,
)
from windhover.metrics.evaluation_result import (
    ErrorThumbnail,
    EvaluationResult,
    WindowExplanation,
    match_rule_of,
)
from windhover.metrics.ground_truth import GroundTruth
from windhover.metrics.match_detections import match_detections
from windhover.metrics.metrics_record import MetricsRecord
from windhover.metrics.threshold_rule import ThresholdRule
from windhover.metrics.window_metrics import WindowMetrics, measure_windows
from windhover.params.evaluate import EvaluateParams

CLASSES = ("aircraft", "helicopter")
PARAMS = EvaluateParams(n_bootstrap=100)
SCENE_SIDE_M = 1_000.0
DETECTION_COLUMNS = ["scene", "class", "score", "split", "is_tp", "ignored"]


def evaluation_result(n_scenes: int = 4, classes: tuple[str, ...] = CLASSES) -> EvaluationResult:
    """Return the result of made-up detections; without scenes, of patches alone."""
    truths = {
        split: ground_truth(n_scenes, classes, seed) for seed, split in enumerate(("val", "test"))
    }
    matches = {split: matches_with(truth, seed=5) for split, truth in truths.items()}
    samples = {
        split: resample(truth.scenes, PARAMS.n_bootstrap, 0) for split, truth in truths.items()
    }
    rule = ThresholdRule(PARAMS.threshold_rule, PARAMS.threshold_rule_value)
    chosen = {}
    for name in classes:
        curve = class_score_curve(matches["val"], truths["val"], samples["val"], class_name=name)
        chosen[name] = choose_threshold(curve, samples["val"], rule)
    thresholds = {name: choice.threshold for name, choice in chosen.items()}
    scenes: dict[str, DetectionMetrics] = {}
    for split in truths:
        scenes[split] = measure_detections(
            matches[split], truths[split], thresholds, sample=samples[split]
        )
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    return EvaluationResult(
        model="0123456789abcdef",
        card={
            "bands": ["red", "green", "blue"],
            "gsd_m": 1.25,
            "training": {"epochs": 3},
            "format": 1,
        },
        classes=classes,
        params=PARAMS,
        windows={split: {name: window_metrics() for name in classes} for split in truths},
        scenes=scenes,
        chosen_thresholds=chosen,
        calibration={"window_temperature": 1.25, "window_bias": (0.5, -0.123456)},
        notes=("a note of <the user>.",),
        error_thumbnails=(
            ("False positives", (thumbnail(image), thumbnail(image))),
            ("Missed objects", ()),
        ),
        explanations=(explanation(image),),
        train_ground_truth=truths["val"],
        detections=pd.concat(
            [found.assign(split=split)[DETECTION_COLUMNS] for split, found in matches.items()],
            ignore_index=True,
        ),
        patch_sheet=Image.fromarray(image),
    )


def record_of(result: EvaluationResult) -> MetricsRecord:
    """Return what `metrics.json` holds of a result."""
    test = result.scenes["test"]
    table = report_ap_table(
        test.matches,
        test.ground_truth,
        result.classes,
        gsd_m=result.gsd_m,
        point_match_radius_m=20.0,
    )
    return MetricsRecord.from_result(result, table)


def ground_truth(n_scenes: int, classes: tuple[str, ...], seed: int) -> GroundTruth:
    """Return scenes of 1 km2 with six objects of each class."""
    rng = np.random.default_rng(seed)
    names = [f"scene-{number:02d}" for number in range(n_scenes)]
    scenes = pd.DataFrame({"scene": names, "place": [f"place-{n}" for n in names], "km2": 1.0})
    scenes = scenes.astype({"scene": object, "place": object})
    rows = []
    for name in names:
        for class_name in classes:
            for x, y in rng.uniform(50, SCENE_SIDE_M - 50, (6, 2)):
                side = float(rng.uniform(10, 60))
                box = shapely.box(x - side / 2, y - side / 2, x + side / 2, y + side / 2)
                rows.append((name, class_name, x, y, side, box))
    columns = ["scene", "class", "x_m", "y_m", "longer_m", "geometry"]
    objects = pd.DataFrame(rows, columns=columns)
    objects = objects.astype(dict.fromkeys(["x_m", "y_m", "longer_m"], float))
    ignored = pd.DataFrame({"scene": [], "geometry": []}, dtype=object)
    return GroundTruth(scenes, objects, ignored)


def matches_with(truth: GroundTruth, seed: int) -> pd.DataFrame:
    """Return detections of most objects, and as many elsewhere, matched with the objects."""
    rng = np.random.default_rng(seed)
    hits = truth.objects.sample(frac=0.8, random_state=seed)[
        ["scene", "class", "x_m", "y_m", "geometry"]
    ]
    elsewhere = truth.objects[["scene", "class"]].copy()
    elsewhere[["x_m", "y_m"]] = rng.uniform(0, SCENE_SIDE_M, (len(elsewhere), 2))
    x = elsewhere["x_m"].to_numpy()
    y = elsewhere["y_m"].to_numpy()
    elsewhere["geometry"] = list(shapely.box(x - 10, y - 10, x + 10, y + 10))
    hits["logit"] = rng.normal(1.5, 1.0, len(hits))
    elsewhere["logit"] = rng.normal(-1.5, 1.0, len(elsewhere))
    detections = pd.concat([hits, elsewhere], ignore_index=True)
    detections["score"] = expit(detections["logit"].astype(float))
    return match_detections(detections, truth, match_rule_of(PARAMS, 1.25))


def window_metrics() -> WindowMetrics:
    """Return the metrics of made-up window scores."""
    rng = np.random.default_rng(1)
    is_true = np.arange(200) % 4 == 0
    scores = expit(rng.normal(np.where(is_true, 1.0, -1.0), 1.0))
    return measure_windows(is_true, scores, 0.01, threshold=0.5)


def thumbnail(image: np.ndarray) -> ErrorThumbnail:
    """Return a thumbnail with a box of each kind."""
    boxes = (
        ("object", (5.0, 6.0, 20.0, 25.0)),
        ("detection", (30.0, 30.0, 40.0, 45.0)),
        ("error", (8.0, 40.0, 20.0, 60.0)),
    )
    return ErrorThumbnail(image, "scene-00\nplace, score 0.9", boxes)


def explanation(image: np.ndarray) -> WindowExplanation:
    """Return maps of noise."""
    maps = np.random.default_rng(2).uniform(0, 1, (3, 64, 64))
    return WindowExplanation(
        image=image,
        caption="false positive, scene-00",
        logit=1.5,
        saliency=maps[0],
        occlusion=maps[1] - 0.5,
        activation=maps[2],
    )
