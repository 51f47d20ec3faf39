"""The `evaluate` flow: a trained model measured, calibrated and given its operating point.

Scores are calibrated and thresholds chosen on val; test is reported, in the report and in the
model's card, and nothing that is read off it comes back into a search. Writes the finished model
and the report.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import geopandas
import torch

from windhover import __version__
from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import FormatError
from windhover.evaluation.cross_validation_note import cross_validation_note
from windhover.evaluation.describe_model import describe_model
from windhover.evaluation.evaluated_detections import evaluated_detections
from windhover.evaluation.explain_errors import explain_errors
from windhover.evaluation.fit_calibration import calibrate, calibrated_matches, prior_notes
from windhover.evaluation.fit_operating_point import (
    choose_on_windows,
    choose_scene_thresholds,
    choose_window_thresholds,
    threshold_rule_of,
)
from windhover.evaluation.held_out import FOLDS, load_held_out
from windhover.evaluation.record_evaluation import operating_point_of
from windhover.evaluation.report_warnings import (
    nearness_warnings,
    object_warnings,
    read_history,
    scene_warnings,
    training_warnings,
)
from windhover.evaluation.score_windows import WindowLogits, measure_splits, score_windows
from windhover.evaluation.search_splits import (
    SearchedSplit,
    search_settings_of,
    search_splits,
    second_stage_notes,
    split_for_fitting,
)
from windhover.evaluation.unlabeled_layer import write_unlabeled_layer
from windhover.evaluation.unlabeled_objects import with_unlabeled_objects
from windhover.inference.detection_columns import run_name
from windhover.metrics.bootstrap import MIN_PLACES, TOO_FEW_PLACES, resample
from windhover.metrics.choose_threshold import ChosenThreshold
from windhover.metrics.detection_metrics import DetectionMetrics, measure_detections
from windhover.metrics.evaluation_result import (
    EVALUATED_SPLITS,
    EvaluationResult,
    describe_sizes,
    match_rule_of,
    thresholds_of,
)
from windhover.metrics.ground_truth import GroundTruth, ground_truth_of
from windhover.models.apply_calibration import Calibration
from windhover.models.bundle import Bundle, load_bundle, load_compatible_bundle, save_bundle
from windhover.params.evaluate import EvaluateParams
from windhover.patches.patch_sheets import patch_sheet
from windhover.patches.patch_store import load_patches
from windhover.patches.patch_summary import SUMMARY_FILE, PatchSummary
from windhover.progress import counted
from windhover.report.error_examples import example_groups
from windhover.report.write_report import write_report

logger = logging.getLogger(__name__)

FITTED_ON_TRAIN = (
    "all labelled scenes were trained on: calibration and threshold were fitted on these same "
    "scenes, so expect fewer true detections and more false alarms on others."
)
FITTED_WITHOUT_VAL = (
    "no labelled scene is in val: calibration and threshold were fitted on training scenes, so "
    "expect fewer true detections and more false alarms on others."
)
FITTED_ON_FOLDS = (
    "the threshold, and the calibration of detections, were fitted on what the models of the "
    "cross-validation found on ground that each had not seen, pooled: {objects} in {scenes}. This "
    "model learned from more than they did, so its scores may be higher or lower than theirs: look "
    "through its first detections on new scenes before you rely on the threshold. Score maps are "
    "calibrated on training patches."
)
ACCURACY_UNKNOWN = (
    f"no accuracy is known: {FITTED_ON_TRAIN} Label another place to measure it, or cut these into "
    "blocks for windhover kfold."
)


@dataclass(frozen=True)
class EvaluationFolders:
    """Where the stage reads (scenes, patches, train) and writes (model, reports)."""

    scenes: Path
    patches: Path
    train: Path
    model: Path
    reports: Path


@dataclass(frozen=True)
class _SceneEvaluation:
    """Thresholds, and metrics on whole scenes at them."""

    chosen: dict[str, ChosenThreshold]
    metrics: dict[str, DetectionMetrics]
    notes: list[str]


def evaluate(params: EvaluateParams, folders: EvaluationFolders) -> EvaluationResult:
    """Measure the trained model, calibrate it, choose its thresholds; write model and report.

    Raises:
        MissingFileError: an input is not there.
        DataError: val and test hold no labelled scene at all.
    """
    bundle = _load_model(params, folders.train)
    match_rule_of(params, bundle.card.gsd_m)  # an error before the search, not after it
    logger.info(describe_sizes(params, bundle.card.gsd_m))
    catalog = load_catalog(folders.scenes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fitting = split_for_fitting(catalog)
    windows = {}
    for split in dict.fromkeys([*EVALUATED_SPLITS, fitting]):
        windows[split] = score_windows(bundle, folders.patches, split, device=device)
    searched = search_splits(bundle, catalog, params, device=device)
    if fitting == "train":
        fitting = _add_held_out(params, bundle.card.classes, windows, searched=searched)
    calibration, notes = calibrate(bundle, windows[fitting], searched[fitting].matches)
    summary = PatchSummary.load(folders.patches / SUMMARY_FILE)
    notes += prior_notes(bundle.card, is_ready_made=summary.source is not None)
    scenes = _evaluate_scenes(
        params, bundle, searched, windows=windows[fitting], calibration=calibration, fitting=fitting
    )
    notes += scenes.notes
    point = operating_point_of(
        params,
        scenes.chosen,
        scenes.metrics[fitting],
        gsd_m=bundle.card.gsd_m,
        split=fitting,
        inference_precision=searched[fitting].inference_precision,
    )
    finished = save_bundle(
        folders.model,
        bundle.card,
        bundle.weights,
        calibration=calibration,
        operating_point=point,
        second_stage=bundle.second_stage,
        graphs=bundle.graphs,
    )
    result = EvaluationResult(
        model=finished.name,
        card=bundle.card.model_dump(mode="json"),
        classes=bundle.card.classes,
        params=params,
        windows=measure_splits(bundle, windows, calibration),
        scenes={split: scenes.metrics[split] for split in EVALUATED_SPLITS},
        chosen_thresholds=scenes.chosen,
        calibration=calibration.to_json(),
        notes=tuple(notes),
        fitted_on=fitting,
        held_out=scenes.metrics.get(FOLDS),
    )
    result = replace(result, detections=_detections(result, searched))
    result = _with_images(result, bundle, catalog, folders=folders)
    result = with_unlabeled_objects(result, bundle, catalog, searched.get("train"), device=device)
    warnings = _warnings(result, catalog, folders)
    result = replace(result, notes=(*warnings, *result.notes))
    write_report(result, folders.reports)
    describe_model(folders.model, result, catalog, patches=folders.patches)
    write_unlabeled_layer(result.unlabeled_objects, catalog, folders.reports)
    return result


def _add_held_out(
    params: EvaluateParams,
    classes: tuple[str, ...],
    windows: dict[str, WindowLogits],
    *,
    searched: dict[str, SearchedSplit],
) -> str:
    """Add what a cross-validation held out as if it were a split; return what is to be fitted on.

    It is that, or train where no cross-validation left any. Windows stay those of train.

    Raises:
        FormatError: the models of the folds know other classes.
    """
    if params.cross_validation is None:
        return "train"
    held_out = load_held_out(Path(params.cross_validation))
    if held_out is None:
        return "train"
    others = set(held_out.matches["class"]) - set(classes)
    if others:
        raise FormatError(
            f"{params.cross_validation}: its models know classes that this one does not "
            f"({', '.join(sorted(others))}). Run `dvc repro crossvalidate` again, or set "
            "`evaluate.cross_validation` to null."
        )
    windows[FOLDS] = windows["train"]
    precision = searched["train"].inference_precision
    searched[FOLDS] = SearchedSplit(held_out.ground_truth, held_out.matches, precision)
    return FOLDS


def _detections(
    result: EvaluationResult, searched: Mapping[str, SearchedSplit]
) -> geopandas.GeoDataFrame:
    """Return the detections of val and test as a search with the finished model gives them."""
    run = run_name(
        program=__version__,
        model=result.model,
        calibration=result.calibration,
        search=search_settings_of(result.params).to_json(),
        thresholds=result.thresholds,
    )
    return evaluated_detections(
        {split: searched[split].found for split in EVALUATED_SPLITS},
        {split: result.scenes[split].matches for split in EVALUATED_SPLITS},
        model=result.model,
        run=run,
        thresholds=result.thresholds,
    )


def _load_model(params: EvaluateParams, folder: Path) -> Bundle:
    """Return the trained model, with the second stage that the parameters name."""
    bundle = load_bundle(folder)
    if params.second_stage is None:
        return bundle
    card = bundle.card.model_dump(mode="json")
    second_stage = load_compatible_bundle(params.second_stage, card, "evaluate.second_stage")
    return replace(bundle, second_stage=second_stage)


def _evaluate_scenes(
    params: EvaluateParams,
    bundle: Bundle,
    searched: dict[str, SearchedSplit],
    *,
    windows: WindowLogits,
    calibration: Calibration,
    fitting: str,
) -> _SceneEvaluation:
    """Choose the thresholds on one split, and compute the metrics of all at them.

    Args:
        params: of the stage.
        bundle: the model.
        searched: by split.
        windows: of the split that is fitted on.
        calibration: of the model.
        fitting: that split.
    """
    samples = {}
    matches = {}
    for split in searched:
        scenes = searched[split].ground_truth.scenes
        samples[split] = resample(scenes, params.n_bootstrap, params.seed)
        matches[split] = calibrated_matches(
            searched[split].matches, calibration, bundle.card.classes
        )
    ground_truth = searched[fitting].ground_truth
    classes = bundle.card.classes
    rule = threshold_rule_of(params)
    notes: list[str] = []
    if choose_on_windows(bundle, ground_truth, windows):
        chosen, notes = choose_window_thresholds(windows, calibration, classes=classes, rule=rule)
    else:
        chosen = choose_scene_thresholds(
            matches[fitting], ground_truth, samples[fitting], classes=classes, rule=rule
        )
    if fitting == "train":
        is_measured = not searched["test"].ground_truth.scenes.empty
        notes = [*_notes_on_accuracy(params, is_measured=is_measured), *notes]
        chosen = {name: choice.without_figures() for name, choice in chosen.items()}
    elif fitting == FOLDS:
        notes = [*_notes_on_folds(params, ground_truth), *notes]
    metrics = {}
    for split in searched:
        metrics[split] = measure_detections(
            matches[split],
            searched[split].ground_truth,
            thresholds_of(chosen),
            sample=samples[split],
        )
    notes += second_stage_notes(bundle, params)
    notes += [f"{name}: {choice.note}" for name, choice in chosen.items() if choice.note]
    for split in EVALUATED_SPLITS:
        notes += _few_places_note(split, metrics[split])
    return _SceneEvaluation(chosen, metrics, notes)


def _notes_on_accuracy(params: EvaluateParams, *, is_measured: bool = False) -> list[str]:
    """Return what is known of a model whose threshold was chosen on its training scenes."""
    if is_measured:
        return [FITTED_WITHOUT_VAL]
    if params.cross_validation is None:
        return [ACCURACY_UNKNOWN]
    return [cross_validation_note(Path(params.cross_validation)), FITTED_ON_TRAIN]


def _notes_on_folds(params: EvaluateParams, held_out: GroundTruth) -> list[str]:
    """Return what is known of a model whose threshold was chosen on what folds held out."""
    fitted = FITTED_ON_FOLDS.format(
        objects=counted(len(held_out.objects), "object"),
        scenes=counted(len(held_out.scenes), "scene"),
    )
    notes = [cross_validation_note(Path(str(params.cross_validation))), fitted]
    n_places = held_out.scenes["place"].nunique()
    if n_places < MIN_PLACES:
        notes.append(
            f"the folds have {counted(n_places, 'place')}: the interval of the threshold is over "
            "their scenes, which is too narrow for new places."
        )
    return notes


def _few_places_note(split: str, metrics: DetectionMetrics) -> list[str]:
    """Return a sentence where a split has scenes, but too few places for an interval."""
    if metrics.sample.has_enough_places or metrics.ground_truth.scenes.empty:
        return []
    n_places = int(metrics.ground_truth.scenes["place"].nunique())
    note = (
        f"{split} has {n_places} {'place' if n_places == 1 else 'places'}: {TOO_FEW_PLACES} of its "
        f"metrics ({MIN_PLACES} at least): label scenes of more places"
    )
    if split == "val" and len(metrics.sample.names) > 1:
        note += (
            "; the interval of the threshold is over its scenes, which is too narrow for new places"
        )
    return [f"{note}."]


def _warnings(result: EvaluationResult, catalog: Catalog, folders: EvaluationFolders) -> list[str]:
    """Return what a reader has to know before the figures."""
    card = result.card
    truths = {split: result.scenes[split].ground_truth for split in EVALUATED_SPLITS}
    if result.train_ground_truth is not None:
        truths["train"] = result.train_ground_truth
    summary = PatchSummary.load(folders.patches / SUMMARY_FILE)
    return [
        *training_warnings(card.get("training", {}), read_history(folders.train)),
        *object_warnings(truths, result.classes),
        *scene_warnings(catalog.scenes, gsd_m=card["gsd_m"], window_px=card["window_px"]),
        *nearness_warnings(summary.leakage),
    ]


def _with_images(
    result: EvaluationResult, bundle: Bundle, catalog: Catalog, *, folders: EvaluationFolders
) -> EvaluationResult:
    """Return the result with what the report shows of scenes, patches and training."""
    test = result.scenes["test"]
    card = bundle.card
    patches = []
    for split in ("train", *EVALUATED_SPLITS):
        patch_set = load_patches(folders.patches, split)
        patches.append((split, patch_set.images, patch_set.index))
    return replace(
        result,
        error_thumbnails=example_groups(
            test, result.thresholds, catalog, gsd_m=card.gsd_m, bands=card.bands
        ),
        explanations=explain_errors(bundle, test, result.thresholds, catalog=catalog),
        train_ground_truth=ground_truth_of(catalog.split("train")),
        patch_sheet=patch_sheet(patches, band_names=card.bands),
        training_images=training_images(folders.train),
    )


def training_images(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Return the pictures that a training leaves, with captions."""
    curves = (
        folder / "curves.png",
        "Losses, average precision on windows of val, and the learning rate.",
    )
    mined = "False alarms on the training scenes that a round of mining found, added as background."
    return (curves, *((path, mined) for path in sorted(folder.glob("mined-*.png"))))
