"""k-fold by place: the flow from catalog to evaluation once for each fold, and the figures' mean
and spread.

Every place is tested exactly once. A fold that is finished is not run again, a stage of a fold
neither, so a run that was killed goes on. Works in a folder of its own: the project's data, model
and reports stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from windhover.dataset.build import build_catalog
from windhover.dataset.catalog import load_catalog, write_catalog
from windhover.errors import DataError, ParameterError
from windhover.evaluation import evaluate_model
from windhover.files import atomic_folder, write_json
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
from windhover.training import datamodule, train
from windhover.training.distributed import refuse_to_share

WORK = Path(".windhover/kfold")
HEADLINE = ("ap", "f1", "precision", "recall", "false_alarms_per_km2")


@dataclass(frozen=True)
class FlowParams:
    """The parameters of the stages that a fold runs."""

    scenes: ScenesParams
    patches: PatchesParams
    augment: AugmentParams
    train: TrainParams
    evaluate: EvaluateParams

    def plain(self) -> dict[str, Any]:
        """Return them as nested plain values."""
        return {name: params.model_dump(mode="json") for name, params in vars(self).items()}


def load_flow(settings: Sequence[str] = ()) -> FlowParams:
    """Read the parameters of the flow from params.yaml, with settings `section.key=value` laid over
    them.

    Raises:
        ParameterError: a key that is none, or a value out of its range.
    """
    models: dict[str, type[StageParams]] = {
        "scenes": ScenesParams, "patches": PatchesParams, "augment": AugmentParams,
        "train": TrainParams, "evaluate": EvaluateParams,
    }  # fmt: skip
    changes: dict[str, dict[str, Any]] = {stage: {} for stage in models}
    for name, value in map(parse_setting, settings):
        stage, _, key = name.partition(".")
        if stage not in models or not key:
            raise ParameterError(
                f"{name!r} must begin with a stage: {', '.join(models)}. Say such as train.epochs=4."
            )
        changes[stage][key] = value
    loaded = {
        stage: change_params(stage, load_params(stage, model), changes[stage])
        for stage, model in models.items()
    }
    return FlowParams(**loaded)  # type: ignore[arg-type]


def run_folds(params: FlowParams, folds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run every fold, one MLflow run each under a common parent, and return their figures with mean
    and spread.

    Args:
        params: of the stages; `scenes.folds` and `scenes.fold` are set here.
        folds: how many, 3 or more.
        say: takes a line for the terminal as each fold ends.

    Raises:
        ParameterError: too few folds, or a model that may have seen the places of a fold's test.
        DataError: fewer places than folds, or a fold without a labelled scene.
    """
    _refuse_other_models(params)
    refuse_to_share(params.train, "kfold")
    each = [
        change_params("scenes", params.scenes, {"folds": folds, "fold": fold})
        for fold in range(folds)
    ]
    key = _key(params, folds)
    with resume_run(f"kfold-{key}", name="kfold") as tracker:
        tracker.params({"folds": folds, **params.plain()})
        rows = []
        for fold, scenes in enumerate(each):
            rows.append(_run_fold(params, scenes, WORK / key / f"fold-{fold}"))
            tracker.metrics(
                {f"fold/{name}": rows[-1][name] for name in HEADLINE if _known(rows[-1][name])},
                step=fold,
            )
            say(_line(f"fold {fold}", rows[-1]))
        summary = summarize(rows)
        tracker.metrics(
            {
                f"{name}/{what}": value
                for name, part in summary.items()
                for what, value in part.items()
            }
        )
        found = {"folds": rows, "summary": summary}
        write_json(WORK / key / "kfold.json", found)
        tracker.file(WORK / key / "kfold.json")
    say(_line("mean", {name: part["mean"] for name, part in summary.items()}))
    say(_line("spread", {name: part["sd"] for name, part in summary.items()}))
    return found


def _refuse_other_models(params: FlowParams) -> None:
    """Refuse models trained before: nearly every fold tests places that they were trained on.

    Raises:
        ParameterError: one is named.
    """
    named = {
        "train.start_from": params.train.start_from,
        "train.teacher": params.train.teacher,
        "evaluate.second_stage": params.evaluate.second_stage,
    }
    for key, model in named.items():
        if model is not None:
            raise ParameterError(
                f"`{key}` is {model}, which may have been trained on places that a fold tests. "
                f"Set it to null for kfold: {key}=null."
            )


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean, standard deviation (n - 1), least and largest of each figure over the folds
    where it is defined.
    """
    summary = {}
    for name in HEADLINE:
        values = np.array([row[name] for row in rows if _known(row[name])], float)
        if len(values):
            spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
            summary[name] = {
                "mean": float(values.mean()), "sd": spread, "min": float(values.min()), "max": float(values.max()),
                "folds": float(len(values)),
            }  # fmt: skip
    return summary


def _run_fold(params: FlowParams, scenes: ScenesParams, folder: Path) -> dict[str, Any]:
    """Run what is not yet done of one fold; return its figures on test, and the places it was
    tested on.
    """
    done = folder / "figures.json"
    if done.is_file():
        kept: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return kept
    where = {
        name: folder / name
        for name in ("scenes", "patches", "augmented", "train", "model", "reports")
    }
    if not where["scenes"].is_dir():
        with atomic_folder(where["scenes"]) as aside:
            write_catalog(build_catalog(scenes, aside, where["scenes"]), aside)
    catalog = load_catalog(where["scenes"])
    if not catalog.split("test").scenes["labeled"].any():
        raise DataError(
            f"Fold {scenes.fold} has no labelled scene to be tested on: k-fold divides places, which "
            "ready-made patches do not name. Bring labelled scenes (`scenes.raw`)."
        )
    if not where["patches"].is_dir():
        with atomic_folder(where["patches"]) as aside:
            cut_patches(catalog, params.patches, aside)
    if not where["augmented"].is_dir():
        augment_training_patches(where["patches"], where["augmented"], params.augment)
    if not where["train"].is_dir():
        names = ("scenes", "patches", "augmented", "train")
        train.train_detector(
            params.train,
            datamodule.Folders(*(str(where[name]) for name in names)),
            name=f"fold-{scenes.fold}",
        )
    folders = evaluate_model.Folders(
        *(where[name] for name in ("scenes", "patches", "train", "model", "reports"))
    )
    findings = evaluate_model.evaluate(params.evaluate, folders)
    evaluate_model.record(findings, folders)
    figures = json.loads((where["reports"] / "metrics.json").read_text(encoding="utf-8"))["scenes"][
        "test"
    ]
    places = sorted({str(row.place) for row in catalog.split("test")})
    row = {"fold": scenes.fold, "model": findings.model, "places": places}
    row |= {name: figures[name]["value"] for name in HEADLINE}
    write_json(done, row)
    for name in ("patches", "augmented", "train"):  # large, and made again from what is kept
        shutil.rmtree(where[name], ignore_errors=True)
    return row


def _key(params: FlowParams, folds: int) -> str:
    """Return 16 digits of a hash over parameters, code, and the names, sizes and times of the files
    it starts from.
    """
    digest = hashlib.sha256(json.dumps([params.plain(), folds], sort_keys=True).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    for path in _inputs(params):
        state = path.stat()
        digest.update(f"{path}|{state.st_size}|{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _inputs(params: FlowParams) -> list[Path]:
    """Return every file that a parameter names, sorted: rasters, labels, groups and areas, also
    those outside the raw folder; ready-made patches; weights and the model to start from.
    """
    raw = Path(params.scenes.raw)
    named = [
        value for value in flatten(params.plain()).values() if isinstance(value, str) and value
    ]
    found = {path for value in named for path in (Path(value), raw / value)}
    found |= {path for value in named if not Path(value).is_absolute() for path in raw.glob(value)}
    files = {
        file
        for path in found
        if path.exists()
        for file in ([path] if path.is_file() else path.rglob("*"))
    }
    return sorted(file for file in files if file.is_file())


def _known(value: Any) -> bool:
    return value is not None and bool(np.isfinite(value))


def _line(label: str, row: Mapping[str, Any]) -> str:
    figures = [
        f"{name} {row[name]:.3f}" if _known(row.get(name)) else f"{name} undefined"
        for name in HEADLINE
    ]
    return f"{label:8s}" + "   ".join(figures)
