"""The `evaluate` flow of a model of coverage: calibrated, given thresholds, measured on maps.

Calibration and thresholds are fitted on val: on the px of its scenes, or on its patches where no
scene is labeled. Writes the finished model and the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import DataError
from windhover.evaluation.coverage_calibration import calibrate_coverage
from windhover.evaluation.describe_coverage import describe_coverage_model
from windhover.evaluation.evaluate_model import EvaluationFolders
from windhover.evaluation.map_splits import (
    CoverageCounts,
    MappedScene,
    ScoredScene,
    calibration_samples,
    count_patches,
    count_scenes,
    histograms_of_scenes,
    map_labeled_scenes,
    scored,
)
from windhover.evaluation.report_warnings import (
    nearness_warnings,
    read_history,
    scene_warnings,
    training_warnings,
)
from windhover.evaluation.score_windows import score_windows
from windhover.evaluation.search_splits import split_for_fitting
from windhover.evaluation.unlabeled_layer import write_unlabeled_layer
from windhover.export.score_map import quantize_scores
from windhover.inference.coverage_map import coverage_settings
from windhover.inference.runtimes import make_scorers
from windhover.metrics.bootstrap import MIN_PLACES
from windhover.metrics.coverage_curves import coverage_curve
from windhover.metrics.coverage_record import (
    CoverageMetricsRecord,
    CoverageSplitRecord,
    CoverageThresholdRecord,
    coverage_split_record,
)
from windhover.metrics.coverage_threshold import CoverageChoice, choose_coverage_threshold
from windhover.metrics.evaluation_result import EVALUATED_SPLITS
from windhover.models.apply_calibration import Calibration, window_scores
from windhover.models.bundle import Bundle, save_bundle
from windhover.models.card import Card
from windhover.models.operating_point import (
    ChosenOn,
    ChosenRule,
    ClassOperatingPoint,
    CoveragePoint,
    OperatingPoint,
)
from windhover.params.evaluate import EvaluateParams
from windhover.patches.patch_store import load_patches
from windhover.patches.patch_summary import SUMMARY_FILE, PatchSummary
from windhover.progress import counted
from windhover.report.coverage_report import CoverageResult, write_coverage_report

FITTED_ON_TRAIN = (
    "all labeled scenes were trained on: calibration and thresholds were fitted on these same "
    "scenes, so expect more errors on others. Label scenes of another place to measure them."
)
PATCHES_ALONE = (
    "no labeled scene of val or test: everything is measured on patches, and nothing is known of "
    "the covered share of a scene."
)

SHARE_DIGITS = 6  # of the errors of shares that the model keeps


def evaluate_coverage(
    params: EvaluateParams, bundle: Bundle, folders: EvaluationFolders
) -> CoverageResult:
    """Measure a trained model of coverage, calibrate it, choose its thresholds; write all.

    Args:
        params: of the stage.
        bundle: the trained model.
        folders: what is read and written.

    Raises:
        MissingFileError: an input is not there.
        DataError: neither a scene nor a patch of val is labeled.
    """
    catalog = load_catalog(folders.scenes)
    card = bundle.card
    fitting = split_for_fitting(catalog) if len(catalog.scenes) else "val"
    maps = _map_splits(params, bundle, catalog, fitting=fitting)
    calibration, notes = _calibrate(bundle, maps.scenes[fitting], folders, fitting=fitting)
    scenes = _scored_splits(maps, calibration)
    patches = _score_patches(bundle, folders, calibration)
    choices = _choose(params, card, scenes[fitting], patches=patches[fitting])
    thresholds = [choices[name].threshold for name in card.classes]
    of_scenes = {split: count_scenes(part, card, thresholds) for split, part in scenes.items()}
    of_patches = {split: _count_patches(patches[split], card, thresholds) for split in scenes}
    point = _operating_point(params, choices, of_scenes[fitting], split=fitting, maps=maps)
    finished = save_bundle(
        folders.model,
        card,
        bundle.weights,
        calibration=calibration,
        operating_point=point,
        graphs=bundle.graphs,
    )
    notes = [*_warnings(card, catalog, folders, fitting=fitting), *notes]
    notes += [f"{name}: {choice.note}" for name, choice in choices.items() if choice.note]
    notes += _few_places_notes(of_scenes)
    record = _record(params, finished, choices, scenes=of_scenes, patches=of_patches)
    result = CoverageResult(
        record=record.model_copy(update={"notes": notes}),
        classes=finished.classes,
        bands=finished.bands,
        scenes=of_scenes,
        patches=of_patches,
        shown=scenes["test"] or scenes["val"] or scenes[fitting],
        thresholds=thresholds,
        training=folders.train,
        patches_folder=folders.patches,
    )
    write_coverage_report(result, folders.reports)
    describe_coverage_model(
        folders.model,
        result.record,
        catalog,
        texts=params.model_card,
        patches=folders.patches,
        gsd_m=card.gsd_m,
    )
    write_unlabeled_layer(None, catalog, folders.reports)  # of objects; here without rows
    return result


@dataclass(frozen=True)
class _Maps:
    """The maps of labeled scenes by split, and how they were made."""

    scenes: dict[str, list[MappedScene]]
    inference_precision: str
    stride_px: int


def _map_splits(params: EvaluateParams, bundle: Bundle, catalog: Catalog, *, fitting: str) -> _Maps:
    """Return the maps of the labeled scenes of val, test and the split that is fitted on."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scorer, _ = make_scorers(
        bundle, device=device, inference_precision="auto", stride_px=params.stride_px
    )
    splits = list(dict.fromkeys([*EVALUATED_SPLITS, fitting]))
    scenes = map_labeled_scenes(scorer, catalog, bundle.card, splits=splits)
    return _Maps(scenes, scorer.inference_precision, scorer.stride_px)


def _scored_splits(maps: _Maps, calibration: Calibration) -> dict[str, list[ScoredScene]]:
    """Return the probability maps of the labeled scenes by split."""
    scenes = {}
    for split, part in maps.scenes.items():
        scenes[split] = [scored(scene, calibration) for scene in part]
    return scenes


def _calibrate(
    bundle: Bundle, scenes: Sequence[MappedScene], folders: EvaluationFolders, *, fitting: str
) -> tuple[Calibration, list[str]]:
    """Return the calibration fitted on cells of scenes, on patches where there are none.

    Raises:
        DataError: there are neither.
    """
    classes = bundle.card.classes
    if scenes:
        logits, is_class = calibration_samples(scenes, bundle.card)
        return calibrate_coverage(logits, is_class, classes)
    windows = score_windows(
        bundle, folders.patches, fitting, device="cpu", label_px=_label_px(folders)
    )
    if not len(windows.logits):
        raise DataError(
            f"neither a scene nor a patch of {fitting} is labeled, so no threshold can be chosen. "
            "Label a scene of another place, or change the splits."
        )
    calibration, notes = calibrate_coverage(windows.logits, windows.is_true, classes)
    return calibration, [PATCHES_ALONE, *notes]


@dataclass(frozen=True)
class _ScoredPatches:
    """The patches of one split with their quantized scores (N, K)."""

    values: NDArray[np.uint8]
    index: pd.DataFrame


def _score_patches(
    bundle: Bundle, folders: EvaluationFolders, calibration: Calibration
) -> dict[str, _ScoredPatches]:
    """Return the scores of the patches of each split."""
    patches = {}
    for split in ("train", *EVALUATED_SPLITS):
        windows = score_windows(
            bundle, folders.patches, split, device="cpu", label_px=_label_px(folders)
        )
        values = quantize_scores(window_scores(windows.logits, calibration))
        patches[split] = _ScoredPatches(values, load_patches(folders.patches, split).index)
    return patches


def _label_px(folders: EvaluationFolders) -> int | None:
    """Return the side of the square that labels the patches."""
    rule = PatchSummary.load(folders.patches / SUMMARY_FILE).coverage
    return None if rule is None else rule.label_px


def _choose(
    params: EvaluateParams, card: Card, scenes: Sequence[ScoredScene], *, patches: _ScoredPatches
) -> dict[str, CoverageChoice]:
    """Return the threshold of each class, chosen on the px of scenes, else on patches."""
    if scenes:
        histograms = histograms_of_scenes(scenes, card)
    else:
        none = [0.5] * len(card.classes)
        histograms = _count_patches(patches, card, none).histograms
    choices = {}
    for name, histogram in histograms.items():
        choices[name] = choose_coverage_threshold(
            coverage_curve(histogram),
            params.coverage.threshold_rule,
            params.coverage.threshold_rule_value,
        )
    return choices


def _count_patches(
    patches: _ScoredPatches, card: Card, thresholds: Sequence[float]
) -> CoverageCounts:
    return count_patches(patches.values, patches.index, card, thresholds=thresholds)


def _operating_point(
    params: EvaluateParams,
    choices: Mapping[str, CoverageChoice],
    fitted: CoverageCounts,
    *,
    split: str,
    maps: _Maps,
) -> OperatingPoint:
    """Return thresholds, the rule that chose them, and how far shares were off on val."""
    per_class = {}
    for name, choice in choices.items():
        per_class[name] = ClassOperatingPoint(
            threshold=choice.threshold,
            met=choice.met,
            note=choice.note,
            precision=choice.row["precision"],
            recall=choice.row["recall"],
            f1=choice.row["f1"],
        )
    errors: dict[str, list[float]] = {name: [] for name in choices}
    if fitted.shares is not None:
        table = fitted.shares.dropna()
        for name in errors:
            rows = table[table["class"] == name]
            off = (rows["predicted_share"] - rows["true_share"]).round(SHARE_DIGITS)
            errors[name] = off.tolist()
    rule = params.coverage
    return OperatingPoint(
        rule=ChosenRule(name=rule.threshold_rule, value=rule.threshold_rule_value),
        per_class=per_class,
        chosen_on=ChosenOn(
            split=split,
            scenes=len(fitted.matrices),
            match="pixel by pixel",
            inference_precision=maps.inference_precision,
        ),
        search=coverage_settings(maps.stride_px).to_json() | {"scales": [1.0]},
        coverage=CoveragePoint(share_errors=errors, min_speck_px=rule.min_speck_px),
    )


def _record(
    params: EvaluateParams,
    card: Card,
    choices: Mapping[str, CoverageChoice],
    *,
    scenes: Mapping[str, CoverageCounts],
    patches: Mapping[str, CoverageCounts],
) -> CoverageMetricsRecord:
    """Return the record of all metrics."""
    rule = params.coverage
    text: str = rule.threshold_rule
    if text.endswith(("_at_most", "_at_least", "fbeta")):
        text += f" {rule.threshold_rule_value:g}"
    return CoverageMetricsRecord(
        model=card.name,
        rule=text,
        thresholds={name: CoverageThresholdRecord.of(choice) for name, choice in choices.items()},
        scenes=_split_records(scenes),
        patches=_split_records(patches),
    )


def _split_records(counts: Mapping[str, CoverageCounts]) -> dict[str, CoverageSplitRecord]:
    """Return the record of each split that holds anything."""
    records = {}
    for split, part in counts.items():
        if part.matrices:
            records[split] = coverage_split_record(
                np.array(part.matrices), part.places, part.histograms, shares=part.shares
            )
    return records


def _few_places_notes(scenes: Mapping[str, CoverageCounts]) -> list[str]:
    """Return a sentence where test has scenes, but too few places for an interval."""
    n_places = len(set(scenes["test"].places))
    if not n_places or n_places >= MIN_PLACES:
        return []
    note = (
        f"test has {counted(n_places, 'place')}, and intervals need {MIN_PLACES}: label scenes of "
        "more places."
    )
    return [note]


def _warnings(
    card: Card, catalog: Catalog, folders: EvaluationFolders, *, fitting: str
) -> list[str]:
    """Return what a reader has to know before the figures."""
    summary = PatchSummary.load(folders.patches / SUMMARY_FILE)
    training = card.model_dump(mode="json").get("training", {})
    warnings = [
        *training_warnings(training, read_history(folders.train)),
        *scene_warnings(catalog.scenes, gsd_m=card.gsd_m, window_px=card.window_px),
        *nearness_warnings(summary.leakage),
    ]
    if fitting == "train":
        warnings.insert(0, FITTED_ON_TRAIN)
    return warnings
