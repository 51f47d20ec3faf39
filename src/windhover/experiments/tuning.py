"""Search of training parameters by Optuna: each trial is a training, a child run of one parent.

A trial that does worse than the median of those before it at the same epoch ends early. The study
is an SQLite file: the same command continues where a stopped one ended. Trials are compared on
validation; the test split is never used.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from ruamel.yaml import YAML

from windhover.disk_space import full_disk_sentence
from windhover.errors import DataError, FormatError, ParameterError, WindhoverError
from windhover.files import atomic_file, lock_output
from windhover.params import change_params, parse_yaml, value_at
from windhover.params.train import TrainParams
from windhover.patches.patch_store import load_patches
from windhover.tracking.runs import Tracker, resume_run
from windhover.training.data_fingerprint import training_fingerprint
from windhover.training.distributed import require_one_process
from windhover.training.train import train_detector
from windhover.training.training_data import TrainingFolders

if TYPE_CHECKING:
    from optuna import Study, Trial

logger = logging.getLogger(__name__)

WORK = Path(".windhover/tune")
STUDY_NAME = re.compile(r"\w[\w.-]*")
FAILED_AP = 0.0  # of a trial whose training failed: known to be bad, not tried again
MAX_KILLS = 3  # of a trial, which is not repeated any more
KILLS_ATTR = "kills"
KEY_ATTR = "key"
# before them no trial is ended early
STARTUP_TRIALS = 4
WARMUP_EPOCHS = 1

AxisKind: TypeAlias = Literal["float", "log", "int", "choice"]


@dataclass(frozen=True)
class SearchAxis:
    """One parameter and the values that are searched.

    Attributes:
        name: of `train`, such as `batch_augment.contrast`.
        kind: `log` is a float on a logarithmic scale.
        low: lowest value.
        high: highest value.
        choices: the values of a `choice`.
    """

    name: str
    kind: AxisKind
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Trial) -> Any:
        """Return the value for an Optuna trial."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high))
        return trial.suggest_float(self.name, self.low, self.high, log=self.kind == "log")

    def limits(self) -> tuple[Any, ...]:
        """Return the lowest and the highest value, or all choices."""
        if self.kind == "choice":
            return self.choices
        if self.kind == "int":
            return (int(self.low), int(self.high))
        return (self.low, self.high)

    def contains(self, value: Any) -> bool:
        """Return whether a value is on the axis."""
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high


def parse_axis(text: str) -> SearchAxis:
    """Parse `train.KEY=LOW:HIGH`, `=log:LOW:HIGH`, `=int:LOW:HIGH` or `=A,B,C`.

    Raises:
        ParameterError: another form.
    """
    name, _, values = text.partition("=")
    stage, _, key = name.strip().partition(".")
    try:
        if stage != "train" or not key or not values:
            raise ValueError("not a parameter of train with values")
        if ":" in values:
            return _parse_range(key, values)
        return _parse_choices(key, values)
    except ValueError:
        raise ParameterError(
            f"{text!r} must read train.KEY=LOW:HIGH, =log:LOW:HIGH, =int:LOW:HIGH or =A,B,C "
            "with the low below the high. Write for example train.learning_rate=log:1e-4:1e-2."
        ) from None


def _parse_choices(key: str, values: str) -> SearchAxis:
    choices = tuple(parse_yaml(f"[{values}]"))
    scalars = (str, int, float, bool, type(None))
    if len(choices) < 2 or not all(isinstance(choice, scalars) for choice in choices):
        raise ValueError("not several scalars")
    return SearchAxis(key, "choice", choices=choices)


def _parse_range(key: str, values: str) -> SearchAxis:
    kind = "float"
    bounds = values.split(":")
    if len(bounds) == 3:
        kind, *bounds = bounds
    low, high = map(float, bounds)
    if kind not in ("float", "log", "int") or not low < high or (kind == "log" and low <= 0):
        raise ValueError("not a range")
    return SearchAxis(key, kind, low, high)  # type: ignore[arg-type]


def tune(
    params: TrainParams,
    folders: TrainingFolders,
    axes: Sequence[SearchAxis],
    *,
    n_trials: int,
    name: str,
) -> Path:
    """Run trials until there are `n_trials`, those of earlier calls included.

    A line is logged as each trial ends.

    Args:
        params: of the training; they are the first trial where they are on all axes.
        folders: the data; a trial's own files are kept in MLflow alone.
        axes: parameters that are searched.
        n_trials: number of trials, finished and ended early together.
        name: of the study, whose file is `.windhover/tune/NAME.db`.

    Returns:
        A parameter file with the best values, to be applied to params.yaml.

    Raises:
        ParameterError: an axis that is no parameter or leaves its range, a name that no file
            has, or a study of that name about something else.
        FormatError: the file of the study is damaged.
        DataError: there are no validation patches to compare on, or no trial could be trained.
    """
    if not len(load_patches(folders.patches, "val").index):
        raise DataError(
            f"{folders.patches}: no validation patches to compare trials on. "
            "Give a split `val` some places."
        )
    if not STUDY_NAME.fullmatch(name):
        raise ParameterError(
            f"--study names a file in {WORK}, so it is letters, digits, `_`, `-` and `.`, got "
            f"{name!r}. Give another name."
        )
    require_one_process(params, "tune")
    _check_axes(params, axes)
    with lock_output(WORK / name):
        study = _open_study(name, params, folders, axes=axes)
        return _run_study(study, params, folders, axes=axes, n_trials=n_trials)


def _run_study(
    study: Study,
    params: TrainParams,
    folders: TrainingFolders,
    *,
    axes: Sequence[SearchAxis],
    n_trials: int,
) -> Path:
    """Run trials until there are `n_trials`; return the file with the best values.

    Raises:
        DataError: no trial could be trained.
    """
    name = study.study_name
    with resume_run(f"tune-{study.user_attrs[KEY_ATTR]}", name=f"tune {name}") as tracker:
        tracker.log_params({"study": name, "axes": {axis.name: vars(axis) for axis in axes}})
        while _count_finished(study) < n_trials:
            _run_trial(study, params, folders, axes=axes, tracker=tracker)
        if not study.best_trials or study.best_value <= FAILED_AP:
            raise DataError(
                f"study {name!r}: no trial could be trained. "
                "Correct what their messages name, or take other values."
            )
        path = _write_results(study, params, tracker)
    logger.info("best: trial %d, AP %.4f", study.best_trial.number, study.best_value)
    return path


def _check_axes(params: TrainParams, axes: Sequence[SearchAxis]) -> None:
    """Raise a ParameterError for an axis that is no parameter, or leaves its range."""
    for axis in axes:
        for value in axis.limits():
            change_params("train", params, {axis.name: value})


def _open_study(
    name: str, params: TrainParams, folders: TrainingFolders, *, axes: Sequence[SearchAxis]
) -> Study:
    """Open or create a study; its first trial is that of the parameters as they are."""
    import optuna

    study = _load_study(name)
    # the seed depends on the number of trials, so that a continued study draws new ones
    study.sampler = optuna.samplers.TPESampler(seed=params.seed + len(study.trials))
    content = f"{name} {training_fingerprint(params, folders)} {sorted(map(str, axes))}"
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    if study.user_attrs.setdefault(KEY_ATTR, key) != key:
        raise ParameterError(
            f"study {name!r} ({WORK / name}.db) was about other parameters, data or code. "
            "Give another --study."
        )
    study.set_user_attr(KEY_ATTR, key)
    _repeat_killed_trials(study)
    values = params.model_dump(mode="json")
    current = {axis.name: value_at(values, axis.name) for axis in axes}
    if not study.trials and all(axis.contains(current[axis.name]) for axis in axes):
        study.enqueue_trial(current)
    return study


def _load_study(name: str) -> Study:
    """Open the file of a study, or create it.

    Raises:
        FormatError: the file is there and is damaged, or no study.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{name}.db"
    was_there = path.is_file()
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS
    )
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{path.resolve()}",
            study_name=name,
            load_if_exists=True,
            direction="maximize",
            pruner=pruner,
        )
        study.get_trials(deepcopy=False)  # read, so that a damaged trial is found here
    except Exception as error:  # SQLAlchemy and optuna have many for a damaged file
        if not was_there or full_disk_sentence(error) is not None:
            raise
        reason = " ".join(str(error).split())[:120]
        raise FormatError(
            f"{path}: cannot be read as a study ({reason}). Remove it, or give another --study."
        ) from None
    return study


def _repeat_killed_trials(study: Study) -> None:
    """Enqueue trials that were stopped while they ran, up to `MAX_KILLS` times each."""
    for trial in study.trials:
        if trial.state != _trial_state("RUNNING"):
            continue
        study.tell(trial.number, state=_trial_state("FAIL"))
        kills = trial.user_attrs.get(KILLS_ATTR, 0) + 1
        if kills < MAX_KILLS:
            study.enqueue_trial(trial.params, user_attrs={KILLS_ATTR: kills})


def _run_trial(
    study: Study,
    params: TrainParams,
    folders: TrainingFolders,
    *,
    axes: Sequence[SearchAxis],
    tracker: Tracker,
) -> None:
    """Run the next trial of a study and record it."""
    trial = study.ask()
    try:
        ap, pruned = _train_trial(trial, params, folders, axes=axes)
    except (DataError, ParameterError, torch.OutOfMemoryError) as error:
        study.tell(trial, FAILED_AP)
        reason = "needs more memory than there is"
        if isinstance(error, WindhoverError):
            reason = error.sentence()
        logger.info("trial %d: %s", trial.number, reason)
        return
    if pruned:
        study.tell(trial, state=_trial_state("PRUNED"))
    else:
        study.tell(trial, ap)
    best = study.best_value if study.best_trials else ap
    tracker.log_metrics({"validation/kept_ap": ap, "validation/best_ap": best}, step=trial.number)
    outcome = f"AP {ap:.4f}"
    if pruned:
        outcome += ", ended early"
    values = ", ".join(f"{key}={_format_value(value)}" for key, value in trial.params.items())
    logger.info("trial %d: %s   %s", trial.number, outcome, values)


def _train_trial(
    trial: Trial, params: TrainParams, folders: TrainingFolders, *, axes: Sequence[SearchAxis]
) -> tuple[float, bool]:
    """Train once and return the validation AP of the kept weights, and whether it ended early."""
    values = {axis.name: axis.suggest(trial) for axis in axes}
    trial_params = change_params("train", params, values)
    pruned = False

    def should_stop(row: Mapping[str, float]) -> bool:
        nonlocal pruned
        trial.report(row["val_ap"], int(row["epoch"]))
        pruned = bool(trial.should_prune())
        return pruned

    with tempfile.TemporaryDirectory() as temporary:
        trial_folders = TrainingFolders(
            folders.scenes, folders.patches, folders.augmented, str(Path(temporary) / "train")
        )
        result = train_detector(
            trial_params, trial_folders, name=f"trial-{trial.number}", should_stop=should_stop
        )
    return result.kept_ap, pruned


def _write_results(study: Study, params: TrainParams, tracker: Tracker) -> Path:
    """Write the best parameters and the table of trials, also into MLflow."""
    name = study.study_name
    tracker.set_tags({f"best.{key}": value for key, value in study.best_params.items()})
    path = _write_best(WORK / f"{name}.yaml", params, study.best_params)
    tracker.log_file(path)
    trials = study.trials_dataframe(attrs=("number", "state", "value", "params"))
    with atomic_file(WORK / f"{name}.csv") as temporary:
        trials.to_csv(temporary, index=False)
    tracker.log_file(WORK / f"{name}.csv")
    return path


def _count_finished(study: Study) -> int:
    finished = (_trial_state("COMPLETE"), _trial_state("PRUNED"))
    return sum(trial.state in finished for trial in study.trials)


def _trial_state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


def _write_best(path: Path, params: TrainParams, best: Mapping[str, Any]) -> Path:
    """Write the values of the best trial as a parameter set.

    A mapping is written whole where it gets a key that it does not have.
    """
    changed = change_params("train", params, best).model_dump(mode="json")
    whole = {name.partition(".")[0] for name in best if not _has_parameter(params, name)}
    values = {name: value for name, value in best.items() if name.partition(".")[0] not in whole}
    values |= {name: changed[name] for name in whole}
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        YAML().dump({"train": dict(sorted(values.items()))}, stream)
    return path


def _has_parameter(params: TrainParams, name: str) -> bool:
    """Return whether the parameters hold a key; an option of a network may be missing."""
    outer, _, leaf = name.rpartition(".")
    return not outer or leaf in value_at(params.model_dump(mode="json"), outer)


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
