"""The `evaluate` flow: windows and scenes judged, scores calibrated and the threshold chosen on
val, test reported.

Writes the finished model and hands its findings to `windhover.report.write_report`. Nothing that is
read off the test split comes back into the model. Refuses to draw: figures are
`windhover.report.write_report`'s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely
import torch
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, load_catalog, open_catalog_scene
from windhover.errors import DataError
from windhover.evaluation.explain import explained, read_window
from windhover.inference.detector import SearchSettings, scorers_of, search_scene
from windhover.metrics.calibration import Scaling, fit_scaling, prior_shift
from windhover.metrics.detection_metrics import (
    Assessment,
    Drawn,
    Point,
    assess,
    choose_point,
    draw,
    tally_class,
    thinned,
)
from windhover.metrics.ground_truth import Ground, ground_of
from windhover.metrics.match_detections import judge
from windhover.metrics.operating_point import Rule
from windhover.metrics.score_curve import tally
from windhover.metrics.window_metrics import best_threshold, window_figures
from windhover.models.bundle import Bundle, load_alike, load_bundle, save_bundle
from windhover.models.calibrated_scores import Calibration, detection_scores, window_scores
from windhover.params import flatten
from windhover.params.evaluate import EvaluateParams
from windhover.patches.contact_sheet import sample_sheet
from windhover.patches.patch_store import load_patches
from windhover.progress import progress_bar
from windhover.report.error_gallery import picture_errors, worst_false_alarms, worst_misses
from windhover.report.evaluation_result import SPLITS, Findings, Windows, match_of
from windhover.report.plots import Explained
from windhover.report.write_report import write_reports
from windhover.tracking.runs import resume_run

BATCH = 512
EXPLAINED = 3  # of each kind of error
ONE_GROUP = pd.DataFrame(
    {"place": ["val"], "scene": ["val"]}
)  # patches of unknown places: nothing to draw over
NO_PRIOR = (
    "the patches were ready-made, so nobody knows how rare objects are: scores are probabilities among patches like "
    "those of val, and nothing is said at the true prior. Places are unknown too: a leak between splits cannot be "
    "excluded."
)
ON_WINDOWS = (
    "no scene of val is labelled: the threshold was chosen on its patches, of which {share:.0%} show an object. In a "
    "scene objects are far rarer, so expect more false alarms; label a few scenes to choose it on them."
)


@dataclass(frozen=True)
class Folders:
    """Where the stage reads and writes."""

    scenes: Path
    patches: Path
    train: Path
    model: Path
    reports: Path


@dataclass(frozen=True)
class WindowLogits:
    """What the network says of one split's patches."""

    logits: NDArray[np.float64]  # (N, K)
    is_true: NDArray[np.bool_]  # (N, K)


@dataclass(frozen=True)
class Searched:
    """What one split's scenes hold and what was found in them, scores still raw logits."""

    ground: Ground
    judged: pd.DataFrame
    precision: str  # of the arithmetic of the search


def evaluate(params: EvaluateParams, folders: Folders) -> Findings:
    """Judge the trained model, calibrate it, choose its operating point, write the finished bundle
    and the reports.

    Raises:
        MissingFileError: an input is not there.
        DataError: val and test hold no labelled scene at all.
    """
    bundle, catalog = load_bundle(folders.train), load_catalog(folders.scenes)
    if params.second_stage is not None:
        second = load_alike(
            params.second_stage, bundle.card.model_dump(mode="json"), "evaluate.second_stage"
        )
        bundle = replace(bundle, second_stage=second)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    windows = {split: score_windows(bundle, folders.patches, split, device) for split in SPLITS}
    searched = search_splits(bundle, catalog, params, device)
    calibration, notes = calibrate(bundle, windows["val"], searched["val"])
    drawn = {
        split: draw(searched[split].ground.scenes, params.n_bootstrap, params.seed) for split in SPLITS
    }
    scored = {split: _calibrated(searched[split].judged, calibration) for split in SPLITS}
    points, said = choose_points(
        params, bundle, searched["val"], scored["val"], drawn["val"], windows["val"]
    )
    thresholds = {name: point.threshold for name, point in points.items()}
    assessments = {
        split: assess(scored[split], searched[split].ground, thresholds, drawn[split])
        for split in SPLITS
    }
    notes += (
        said
        + looks_noted(params, bundle)
        + [f"{name}: {point.note}" for name, point in points.items() if point.note]
    )
    notes += [
        f"{split} is one scene, so nothing told by it has an interval."
        for split, made in assessments.items()
        if len(made.ground.scenes) == 1
    ]
    point_file = operating_point(params, points, assessments["val"], searched["val"].precision)
    finished = save_bundle(
        folders.model, bundle.card, bundle.weights, calibration, point_file, bundle.second_stage
    )
    findings = Findings(
        model=finished.name,
        card=bundle.card.model_dump(mode="json"),
        classes=bundle.card.classes,
        params=params,
        windows=judge_windows(bundle, windows, calibration),
        scenes=assessments,
        points=points,
        calibration=calibration.to_json(),
        notes=tuple(notes),
        errors=picture_errors(
            assessments["test"], thresholds, catalog, bundle.card.gsd_m, bundle.card.bands
        ),
        explained=explain_errors(bundle, assessments["test"], thresholds, catalog),
        learnt=ground_of(catalog.split("train")),
        patches=sample_sheet([_patches_of(folders.patches, split) for split in ("train", *SPLITS)]),
        training=training_pictures(folders.train),
    )
    write_reports(findings, folders.reports)
    return findings


def score_windows(bundle: Bundle, patches: Path, split: str, device: str) -> WindowLogits:
    """Run the network over one split's patches."""
    patch_set = load_patches(patches, split)
    network, normalizer = bundle.network().to(device).eval(), bundle.normalizer().to(device)
    parts = [np.zeros((0, len(bundle.card.classes)))]
    with torch.inference_mode():
        for first in range(0, len(patch_set), BATCH):
            images = torch.from_numpy(np.array(patch_set.images[first : first + BATCH])).to(
                device
            )  # (B, H, W, C)
            outputs = network(normalizer(images.permute(0, 3, 1, 2)))  # logits (B, K, 1, 1)
            parts.append(outputs[0].flatten(1).double().cpu().numpy())
    names = patch_set.index["class"].to_numpy(object)
    return WindowLogits(
        np.concatenate(parts), np.stack([names == name for name in bundle.card.classes], axis=1)
    )


def choose_points(
    params: EvaluateParams,
    bundle: Bundle,
    val: Searched,
    scored: pd.DataFrame,
    drawn: Drawn,
    windows: WindowLogits,
) -> tuple[dict[str, Point], list[str]]:
    """Choose each class's threshold on the scenes of val; with ready-made patches alone, on those
    of val, and say so.

    Args:
        params: of the stage.
        bundle: the model.
        val: its scenes.
        scored: what was found in them, calibrated.
        drawn: its scenes, drawn.
        windows: its windows, raw logits.
    """
    rule, classes = Rule(params.threshold_rule, params.threshold_rule_value), bundle.card.classes
    if len(val.ground.scenes) or bundle.card.true_prior is not None or not len(windows.logits):
        return {
            name: choose_point(tally_class(scored, val.ground, drawn, name), drawn, rule)
            for name in classes
        }, []
    notes = [ON_WINDOWS.format(share=windows.is_true.any(axis=1).mean())]
    if rule.name == "false_alarms_per_km2_at_most":
        notes.append(
            f"rule `{rule}` needs scenes, because patches have no area: F1 was made largest instead."
        )
        rule = Rule("max_fbeta", 1.0)
    calibration, _ = calibrate(bundle, windows, val)
    scores, one = detection_scores(windows.logits, calibration), draw(ONE_GROUP, 0, params.seed)
    tallies = {
        name: tally(scores[:, k], true, np.zeros(len(true)), [true.sum()], [np.nan])
        for k, (name, true) in enumerate(zip(classes, windows.is_true.T, strict=True))
    }
    return {name: choose_point(tallied, one, rule) for name, tallied in tallies.items()}, notes


def search_splits(
    bundle: Bundle, catalog: Catalog, params: EvaluateParams, device: str
) -> dict[str, Searched]:
    """Search every labelled scene of val and test down to the floor, and match what is found.

    Raises:
        DataError: neither split holds a labelled scene, though the patches were cut from scenes.
    """
    settings = settings_of(params)
    scorer, second_stage = scorers_of(
        bundle, device, "auto", settings.stride_px
    )  # as `detect` searches
    match = match_of(params)
    grounds = {split: ground_of(catalog.split(split)) for split in SPLITS}
    rows = {split: [row for row in catalog.split(split) if row.labeled] for split in SPLITS}
    if not any(rows.values()) and bundle.card.true_prior is not None:
        raise DataError(
            "no scene of val or test is labelled, so nothing can be measured. Label one, or change the splits."
        )
    total = sum(_mpx(row, bundle, settings) for part in rows.values() for row in part)
    searched = {}
    with progress_bar("searching val and test", total, "Mpx") as advance:
        for split, part in rows.items():
            found = [_no_candidates()]
            for row in part:
                with open_catalog_scene(row, bundle.card.gsd_m, list(bundle.card.bands)) as scene:
                    candidates = search_scene(
                        scorer, scene, settings, params.min_logit,
                        progress=advance, classes=bundle.card.classes, second_stage=second_stage,
                    )  # fmt: skip
                    found.append(on_the_ground(candidates, row.scene, scene.gsd_m))
            judged = judge(pd.concat(found, ignore_index=True), grounds[split], match)
            searched[split] = Searched(grounds[split], judged, scorer.precision)
    return searched


def looks_noted(params: EvaluateParams, bundle: Bundle) -> list[str]:
    """Return a sentence about the second look, where there is one."""
    if bundle.second_stage is None:
        return []
    other = bundle.second_stage.card
    said = (
        f"peaks from a logit of {params.rescore_min_logit:g} carry the mean of two logits, this network's and that of "
        f"{other.network.name} ({other.name}); figures on windows, and explanations, are of this network alone."
    )
    return [said]


def settings_of(params: EvaluateParams) -> SearchSettings:
    """Return the search settings among the stage's parameters."""
    return SearchSettings(
        stride_px=params.stride_px,
        scales=tuple(params.scales),
        merge_distance=params.merge_distance,
        merge_iou=params.merge_iou,
        peak_tta=params.peak_tta,
        rescore_min_logit=params.rescore_min_logit,
    )


def on_the_ground(candidates: pd.DataFrame, scene: str, gsd_m: tuple[float, float]) -> pd.DataFrame:
    """Return candidates (scene px) in the scene's plane in metres, the raw logit as their score."""
    x, y = candidates["col"] * gsd_m[0], candidates["row"] * gsd_m[1]
    half_w, half_h = candidates["w"] * gsd_m[0] / 2, candidates["h"] * gsd_m[1] / 2
    boxes = shapely.box(x - half_w, y - half_h, x + half_w, y + half_h)
    frame = candidates[["class", "edge"]].assign(
        scene=scene, score=candidates["logit"], x_m=x, y_m=y
    )
    return frame.assign(geometry=pd.Series(boxes, index=frame.index, dtype=object))


def calibrate(
    bundle: Bundle, windows: WindowLogits, val: Searched
) -> tuple[Calibration, list[str]]:
    """Fit what turns logits into probabilities, on val; say what could not be fitted and what
    stands in its place.
    """
    notes = []
    card = bundle.card
    window = fit_scaling(windows.logits.ravel(), windows.is_true.ravel())
    if window is None:
        notes.append(
            "val has no windows of both kinds: window scores are the network's own, shifted to the true prior."
        )
        window, sampled = (
            Scaling(1.0, 0.0),
            [card.sampled_prior / len(card.classes)] * len(card.classes),
        )
    else:
        sampled = windows.is_true.mean(axis=0).tolist()
    common = float(np.mean(sampled))  # for a class that no window of val shows
    biases = [
        window.bias + prior_shift(share or common, known(card.prior_of(index), share or common))
        for index, share in enumerate(sampled)
    ]
    if card.true_prior is None:
        notes.append(NO_PRIOR)
    counted = val.judged[~val.judged["free"]]
    detection = fit_scaling(counted["score"], counted["hit"])
    if detection is None:
        notes.append(
            "val scenes hold no hits beside false alarms: detections are scored as windows are."
        )
        detection = Scaling(window.temperature, float(np.mean(biases)))
    bias = biases[0] if len(biases) == 1 else tuple(biases)
    return Calibration(window.temperature, bias, detection.temperature, detection.bias), notes


def known(prior: float | None, otherwise: float) -> float:
    """Return a prior that is known, else another one."""
    return otherwise if prior is None else prior


def judge_windows(
    bundle: Bundle, windows: dict[str, WindowLogits], calibration: Calibration
) -> Windows:
    """Compute the figures on windows, class by class, each at the threshold that is best on val at
    the true prior.
    """
    scores = {split: window_scores(windows[split].logits, calibration) for split in SPLITS}
    made: Windows = {split: {} for split in SPLITS}
    for column, name in enumerate(bundle.card.classes):
        prior = bundle.card.prior_of(column)
        threshold = best_threshold(
            windows["val"].is_true[:, column], scores["val"][:, column], prior
        )
        for split in SPLITS:
            true = windows[split].is_true[:, column]
            made[split][name] = window_figures(true, scores[split][:, column], prior, threshold)
    return made


def explain_errors(
    bundle: Bundle, test: Assessment, thresholds: dict[str, float], catalog: Catalog
) -> tuple[Explained, ...]:
    """Explain the worst false alarms and misses of test, in the window around each."""
    worst = (
        ("false alarm", worst_false_alarms(test, thresholds, EXPLAINED)),
        ("missed", worst_misses(test, thresholds, EXPLAINED)),
    )
    made = []
    for kind, errors in worst:
        for error in errors.to_dict("records"):
            row = next(row for row in catalog if row.scene == error["scene"])
            with open_catalog_scene(row, bundle.card.gsd_m, list(bundle.card.bands)) as scene:
                height, width = (
                    scene.shape_hw
                )  # the centre of a cut object may lie a little outside
                col, line = np.clip(
                    (error["x_m"] / scene.gsd_m[0], error["y_m"] / scene.gsd_m[1]),
                    0,
                    (width, height),
                )
                window, valid = read_window(scene, float(col), float(line), bundle.card.window_px)
            class_index = bundle.card.classes.index(error["class"])
            made.append(
                explained(bundle, window, valid, class_index, f"{kind}, {error['scene'][:24]}")
            )
    return tuple(made)


def _patches_of(folder: Path, split: str) -> tuple[str, NDArray[Any], pd.DataFrame]:
    patches = load_patches(folder, split)
    return split, patches.images, patches.index


def training_pictures(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Return the pictures that a training leaves, with what they show."""
    curves = (
        folder / "curves.png",
        "Losses, average precision on windows of val, and the learning rate.",
    )
    mined = "False alarms on the training scenes that a round of mining found, added as background."
    return (curves, *((path, mined) for path in sorted(folder.glob("mined-*.png"))))


def operating_point(
    params: EvaluateParams, points: dict[str, Point], val: Assessment, precision: str
) -> dict[str, Any]:
    """Return what `operating_point.json` holds: rule, thresholds, the curve they were read off, the
    search settings.
    """
    curve = [
        {"class": name, **{key: _json(value) for key, value in row.items()}}
        for name, counts in val.curves.items()
        for row in thinned(counts, 200).to_dict("records")
    ]
    return {
        "rule": {"name": params.threshold_rule, "value": params.threshold_rule_value},
        "per_class": {
            name: {
                "threshold": point.threshold,
                "interval": None if point.low is None else [point.low, point.high],
                "met": point.met,
                "note": point.note,
                "precision": point.precision,
                "recall": point.recall,
                "f1": point.f1,
                "false_alarms_per_km2": point.false_alarms_per_km2,
            }
            for name, point in points.items()
        },
        "chosen_on": {
            "split": "val",
            "scenes": len(val.ground.scenes),
            "objects": len(val.ground.objects),
            "km2": float(val.ground.scenes["km2"].sum()),
            "intervals_drawn_over": val.drawn.over,
            "match": str(match_of(params)),
            "precision": precision,
        },
        "search": settings_of(params).to_json() | {"scales": list(params.scales)},
        "curve": curve,
    }


def record(findings: Findings, folders: Folders) -> None:
    """Write figures, settings, the report's files and the finished model into the MLflow run of
    these weights.
    """
    with resume_run(
        str(findings.card["name"])
    ) as tracker:  # the run of the weights that were trained here
        tracker.metrics(
            numbers(json.loads((folders.reports / "metrics.json").read_text(encoding="utf-8")))
        )
        tracker.tags(
            {
                f"evaluate.{key}": value
                for key, value in findings.params.model_dump(mode="json").items()
            }
        )
        for path in sorted(folders.reports.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                tracker.file(path, "evaluation")
        card = load_bundle(folders.model).card
        tracker.bundle(folders.model, card.dtype, (card.window_px, card.window_px, len(card.bands)))


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Return every figure that is a number by a flat name, as MLflow and its comparison pages take
    them; no places.
    """
    flat = flatten({key: value for key, value in metrics.items() if key != "notes"})
    kept = {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, (int, float)) and ".by_place." not in key
    }
    return {key.removesuffix(".value").replace(".", "/"): value for key, value in kept.items()}


def _calibrated(judged: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    return judged.assign(
        logit=judged["score"], score=detection_scores(judged["score"], calibration)
    )


def _no_candidates() -> pd.DataFrame:
    kinds = {
        "class": "object",
        "edge": "bool",
        "scene": "object",
        "score": "float64",
        "x_m": "float64",
        "y_m": "float64",
    }
    return pd.DataFrame(
        {name: pd.Series([], dtype=kind) for name, kind in (kinds | {"geometry": "object"}).items()}
    )


def _mpx(row: Any, bundle: Bundle, settings: SearchSettings) -> float:
    """Return the px of all passes over a scene, in millions."""
    ground = row.width_px * row.gsd_x_m * row.height_px * row.gsd_y_m
    return float(sum(ground / (bundle.card.gsd_m * scale) ** 2 for scale in settings.scales) / 1e6)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
