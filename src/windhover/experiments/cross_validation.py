"""k-fold cross-validation by place: the flow from catalog to evaluation once for each fold.

Every place is tested exactly once, and the metrics get a mean and a standard deviation. A finished
fold is not run again, nor a finished stage of a fold, so a stopped run continues. Works in a folder
of its own: the project's data, model and reports stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from windhover.dataset.build_catalog import build_catalog
from windhover.dataset.catalog import Catalog, load_catalog, write_catalog
from windhover.errors import DataError, FormatError, ParameterError
from windhover.evaluation.evaluate_model import EvaluationFolders, evaluate
from windhover.evaluation.held_out import pool_held_out, save_fold
from windhover.evaluation.record_evaluation import record_run
from windhover.files import atomic_folder, is_json_with_keys, lock_output, read_json, write_json
from windhover.json_record import describe_fault
from windhover.metrics.kfold_record import (
    HEADLINE_METRICS,
    KFOLD_FILE,
    CrossValidationResult,
    FoldMetrics,
    MetricSummary,
)
from windhover.metrics.metrics_record import MetricsRecord
from windhover.params import StageParams, change_params, flatten, load_params
from windhover.params.augment import AugmentParams
from windhover.params.evaluate import EvaluateParams
from windhover.params.parameter_sets import parse_setting
from windhover.params.patches import PatchesParams
from windhover.params.scenes import ScenesParams
from windhover.params.train import TrainParams
from windhover.patches.augment_patches import augment_training_patches
from windhover.patches.cut_patches import cut_patches
from windhover.tracking.runs import resume_run
from windhover.training import train
from windhover.training.distributed import require_one_process
from windhover.training.training_data import TrainingFolders

logger = logging.getLogger(__name__)

WORK = Path(".windhover/kfold")
LEAST_FOLDS = 2  # one to test, the others to learn from
# large folders of a fold, which are removed when it is finished
INTERMEDIATE = ("patches", "augmented", "train")
HELD_OUT = "held_out"  # beside it, what a fold's model found on the scenes of its test


def is_own_result(path: Path) -> bool:
    """Return whether a file that is there is a `CrossValidationResult`."""
    return is_json_with_keys(path, ("folds", "summary"))


@dataclass(frozen=True)
class FlowParams:
    """The parameters of the stages that a fold runs."""

    scenes: ScenesParams
    patches: PatchesParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams

    def to_json(self) -> dict[str, Any]:
        """Return them as nested JSON values."""
        return {name: params.model_dump(mode="json") for name, params in vars(self).items()}


@dataclass(frozen=True)
class FoldFolders:
    """The folders of one fold."""

    root: Path

    def of_stage(self, name: str) -> Path:
        """Return the folder that a stage writes, such as `patches` or `model`."""
        return self.root / name

    @property
    def metrics_file(self) -> Path:
        """The file that is written when the fold is finished."""
        return self.root / "fold_metrics.json"


def load_flow(settings: Sequence[str] = ()) -> FlowParams:
    """Read the parameters of the flow from params.yaml, changed by settings `section.key=value`.

    Raises:
        ParameterError: an unknown key, or a value out of its range.
    """
    models: dict[str, type[StageParams]] = {
        "scenes": ScenesParams,
        "patches": PatchesParams,
        "augment": AugmentParams,
        "train": TrainParams,
        "evaluate": EvaluateParams,
    }
    changes: dict[str, dict[str, Any]] = {stage: {} for stage in models}
    for name, value in map(parse_setting, settings):
        stage, _, key = name.partition(".")
        if stage not in models or not key:
            raise ParameterError(
                f"{name!r} must begin with a stage: {', '.join(models)}. "
                "Write for example train.epochs=4."
            )
        changes[stage][key] = value
    loaded = {
        stage: change_params(stage, load_params(stage, model), changes[stage])
        for stage, model in models.items()
    }
    flow = FlowParams(**loaded)  # type: ignore[arg-type]
    flow.scenes.require_objects("windhover kfold, tune or label-curve")
    return flow


def run_folds(
    params: FlowParams, n_folds: int, output: Path | None = None
) -> CrossValidationResult:
    """Run every fold, each an MLflow run under a common parent, and return their metrics.

    A line with the metrics of each fold, and lines with their mean and spread, are logged.

    Args:
        params: of the stages; `scenes.folds` and `scenes.fold` are set here.
        n_folds: number of folds, 2 or more; 3 where one is val.
        output: next to which the pooled detections of the scenes of each fold's test are written;
            None writes none.

    Raises:
        ParameterError: too few folds, or a model that may have seen the places of a fold's test.
        DataError: fewer places than folds, or a fold without a labelled scene.
    """
    if n_folds < LEAST_FOLDS:
        raise ParameterError(f"--folds must be {LEAST_FOLDS} or more, got {n_folds}.")
    check_no_pretrained_model(params)
    require_one_process(params.train, "kfold")
    fold_params = [
        change_params("scenes", params.scenes, {"folds": n_folds, "fold": fold})
        for fold in range(n_folds)
    ]
    key = flow_key(params, n_folds)
    locks = lock_output(WORK / key)
    with locks, resume_run(f"kfold-{key}", name="kfold") as tracker:
        tracker.log_params({"folds": n_folds, **params.to_json()})
        folds = []
        for number, scenes in enumerate(fold_params):
            fold = _run_fold(params, scenes, FoldFolders(WORK / key / f"fold-{number}"))
            folds.append(fold)
            metrics = fold.defined_metrics()
            tracker.log_metrics({f"kfold/{name}": metrics[name] for name in metrics}, step=number)
            logger.info(_format_metrics(f"fold {number}", metrics))
        summary = summarize(folds)
        tracker.log_metrics(_flat_summary(summary))
        result = CrossValidationResult(folds=tuple(folds), summary=summary)
        result.save(WORK / key / KFOLD_FILE)
        tracker.log_file(WORK / key / KFOLD_FILE)
    if output is not None:
        held_out = [WORK / key / f"fold-{number}" / HELD_OUT for number in range(n_folds)]
        pool_held_out(held_out, output)
    means = {name: metric.mean for name, metric in summary.items()}
    spreads = {name: metric.sd for name, metric in summary.items()}
    logger.info(_format_metrics("mean", means))
    logger.info(_format_metrics("spread", spreads))
    logger.info(f"to compare: windhover compare {WORK / key} OTHER")
    return result


def check_no_pretrained_model(params: FlowParams) -> None:
    """Raise a ParameterError for a model of an earlier training.

    Nearly every fold tests places that such a model was trained on.
    """
    models = {
        "train.start_from": params.train.start_from,
        "train.teacher": params.train.teacher,
        "evaluate.second_stage": params.evaluate.second_stage,
    }
    for key, model in models.items():
        if model is not None:
            raise ParameterError(
                f"`{key}` is {model}, which may have been trained on places that a fold tests. "
                f"Set it to null for kfold: {key}=null."
            )


def summarize(folds: Sequence[FoldMetrics]) -> dict[str, MetricSummary]:
    """Return the summary of each metric that some fold defines, by name."""
    summary = {}
    for name in HEADLINE_METRICS:
        defined = [fold.defined_metrics() for fold in folds]
        values = np.array([metrics[name] for metrics in defined if name in metrics], float)
        if not len(values):
            continue
        spread = 0.0
        if len(values) > 1:
            spread = float(values.std(ddof=1))
        summary[name] = MetricSummary(
            mean=float(values.mean()),
            sd=spread,
            min=float(values.min()),
            max=float(values.max()),
            folds=float(len(values)),
        )
    return summary


def _flat_summary(summary: Mapping[str, MetricSummary]) -> dict[str, float]:
    """Return the summary with names such as `kfold/ap_mean`: next to the figure of each fold."""
    flat = {}
    for name, metric in summary.items():
        for statistic, value in metric.model_dump().items():
            flat[f"kfold/{name}_{statistic}"] = value
    return flat


def _run_fold(params: FlowParams, scenes: ScenesParams, folders: FoldFolders) -> FoldMetrics:
    """Run the unfinished stages of one fold and return its metrics on test."""
    if folders.metrics_file.is_file():
        return _read_fold(folders.metrics_file)
    catalog = make_catalog(scenes, folders.of_stage("scenes"))
    make_patches(params, catalog, folders)
    train_fold(params, f"fold-{scenes.fold}", folders)
    names = ("scenes", "patches", "train", "model", "reports")
    stage_folders = EvaluationFolders(**{name: folders.of_stage(name) for name in names})
    result = evaluate(params.evaluate, stage_folders)
    record_run(result, model=stage_folders.model, reports=stage_folders.reports)
    metrics = MetricsRecord.load(stage_folders.reports / "metrics.json").scenes["test"]
    values = {name: getattr(metrics, name).value for name in HEADLINE_METRICS}
    save_fold(result.scenes["test"], folders.of_stage(HELD_OUT))
    fold = FoldMetrics(
        fold=scenes.fold,
        model=result.model,
        places=tuple(sorted({str(row.place) for row in catalog.split("test")})),
        **values,
    )
    write_json(folders.metrics_file, fold.model_dump(mode="json"))
    for name in INTERMEDIATE:
        shutil.rmtree(folders.of_stage(name), ignore_errors=True)
    return fold


def _read_fold(path: Path) -> FoldMetrics:
    """Return the metrics of a finished fold.

    Raises:
        FormatError: the file is damaged.
    """
    again = f"Remove {path.parent}, and run the same again: the other folds are kept."
    content = read_json(path, missing=again, broken=again)
    try:
        return FoldMetrics.model_validate(content)
    except ValidationError as error:
        raise FormatError(f"{path}: {describe_fault(error)} {again}") from None


def make_catalog(scenes: ScenesParams, folder: Path) -> Catalog:
    """Build the catalog of one fold, or read the finished one.

    Raises:
        DataError: its split `test` has no labelled scene.
    """
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            write_catalog(build_catalog(scenes, temporary, folder), temporary)
    catalog = load_catalog(folder)
    if not catalog.split("test").scenes["labeled"].any():
        raise DataError(
            f"Fold {scenes.fold} has no labelled scene to be tested on: k-fold divides places, "
            "which ready-made patches do not name. Bring labelled scenes (`scenes.raw`)."
        )
    return catalog


def make_patches(params: FlowParams, catalog: Catalog, folders: FoldFolders) -> None:
    """Cut and augment the patches of one fold, where they are missing."""
    patches = folders.of_stage("patches")
    augmented = folders.of_stage("augmented")
    if not patches.is_dir():
        with atomic_folder(patches) as temporary:
            cut_patches(catalog, params.patches, temporary)
    if not augmented.is_dir():
        augment_training_patches(patches, augmented, params.augment)


def train_fold(params: FlowParams, run_name: str, folders: FoldFolders) -> None:
    """Train the detector of one fold, where it is missing."""
    if folders.of_stage("train").is_dir():
        return
    names = ("scenes", "patches", "augmented", "train")
    paths = [str(folders.of_stage(name)) for name in names]
    train.train_detector(params.train, TrainingFolders(*paths), name=run_name)


def flow_key(params: FlowParams, n_folds: int) -> str:
    """Return 16 hexadecimal digits that name a cross-validation.

    A hash of parameters, code, and the names, sizes and times of the files it starts from.
    """
    digest = hashlib.sha256(json.dumps([params.to_json(), n_folds], sort_keys=True).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    for path in _input_files(params):
        state = path.stat()
        digest.update(f"{path}|{state.st_size}|{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _input_files(params: FlowParams) -> list[Path]:
    """Return every file that a parameter names, sorted.

    Rasters, labels, groups and areas, also those outside the raw folder; ready-made patches;
    weights and the model to start from.
    """
    raw = Path(params.scenes.raw)
    paths: set[Path] = set()
    for value in flatten(params.to_json()).values():
        if not isinstance(value, str) or not value:
            continue
        paths |= {Path(value), raw / value}
        if not Path(value).is_absolute():
            paths |= set(raw.glob(value))
    files: set[Path] = set()
    for path in paths:
        if path.is_file():
            files.add(path)
        elif path.exists():
            files |= set(path.rglob("*"))
    return sorted(file for file in files if file.is_file())


def _format_metrics(label: str, metrics: Mapping[str, float]) -> str:
    """Return one line for the terminal."""
    words = []
    for name in HEADLINE_METRICS:
        if name in metrics:
            words.append(f"{name} {metrics[name]:.3f}")
        else:
            words.append(f"{name} undefined")
    return f"{label:8s}" + "   ".join(words)
