"""Search of training parameters by Optuna: each trial is a training, a child run of one parent,
judged by validation.

A trial that does worse than the median of those before it at the same epoch ends early. The study
is an SQLite file: the same command goes on where a killed one stopped. Chooses on validation alone
and never looks at test.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from windhover.errors import DataError, ParameterError, WindhoverError
from windhover.files import atomic_file
from windhover.params import change_params, value_at
from windhover.params.train import TrainParams
from windhover.patches.patch_store import load_patches
from windhover.tracking.runs import resume_run
from windhover.training.artifacts import Trained
from windhover.training.datamodule import Folders
from windhover.training.distributed import refuse_to_share
from windhover.training.train import fingerprint, train_detector

WORK = Path(".windhover/tune")
FAILED_AP = 0.0  # of a trial that could not be trained: known to be bad, never tried again
MOST_KILLS = 3  # of a trial, which is then left alone
KILLS_ATTR = "kills"
STARTUP_TRIALS, WARMUP_EPOCHS = 4, 1  # before them nothing is ended early
KEY_ATTR = "key"


@dataclass(frozen=True)
class Axis:
    """One parameter and where it is looked for."""

    name: str  # of `train`, such as `jitter.contrast`
    kind: str  # float, log, int or choice
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def suggest(self, trial: Any) -> Any:
        """Return the value that an Optuna trial takes."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.choices)
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high))
        return trial.suggest_float(self.name, self.low, self.high, log=self.kind == "log")

    def ends(self) -> tuple[Any, ...]:
        """Return its least and largest value, or all choices."""
        if self.kind == "choice":
            return self.choices
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Say whether a value lies on it."""
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, (int, float)) and self.low <= value <= self.high


def parse_axis(text: str) -> Axis:
    """Read `train.KEY=LOW:HIGH`, `=log:LOW:HIGH`, `=int:LOW:HIGH` or `=A,B,C`.

    Raises:
        ParameterError: it does not read so.
    """
    name, _, values = text.partition("=")
    stage, _, key = name.strip().partition(".")
    wrong = ParameterError(
        f"{text!r} must read train.KEY=LOW:HIGH, =log:LOW:HIGH, =int:LOW:HIGH or =A,B,C with the low below the high. "
        "Say such as train.learning_rate=log:1e-4:1e-2."
    )
    if stage != "train" or not key or not values:
        raise wrong
    if ":" not in values:
        try:
            choices = tuple(YAML(typ="safe", pure=True).load(f"[{values}]"))
        except YAMLError:
            raise wrong from None
        if len(choices) < 2 or not all(
            isinstance(one, (str, int, float, bool, type(None))) for one in choices
        ):
            raise wrong
        return Axis(key, "choice", choices=choices)
    kind, *bounds = values.split(":") if values.count(":") == 2 else ("float", *values.split(":"))
    try:
        low, high = map(float, bounds)
    except ValueError:
        raise wrong from None
    if kind not in ("float", "log", "int") or not low < high or (kind == "log" and low <= 0):
        raise wrong
    return Axis(key, kind, low, high)


def tune(
    params: TrainParams,
    folders: Folders,
    axes: Sequence[Axis],
    trials: int,
    name: str,
    say: Callable[[str], None],
) -> Path:
    """Hold trials until there are as many as wanted, those of earlier calls included.

    Args:
        params: of the training, where no axis says otherwise; they are the first trial where
            they lie on all axes.
        folders: what is learnt from; a trial's own files are not kept but in MLflow.
        axes: parameters that are searched.
        trials: how many, finished and ended early together.
        name: of the study, whose file is `.windhover/tune/NAME.db`.
        say: takes a line for the terminal as each trial ends.

    Returns:
        A parameter file with the best, to be laid over params.yaml.

    Raises:
        ParameterError: an axis that is no parameter or leaves its range, or a study of that
            name about something else.
        DataError: there are no validation patches to choose by, or no trial could be trained.
    """
    if not len(load_patches(folders.patches, "val").index):
        raise DataError(
            f"{folders.patches}: no validation patches to choose by. Give a split `val` some places."
        )
    refuse_to_share(params, "tune")
    for axis in axes:
        for value in axis.ends():
            change_params("train", params, {axis.name: value})  # says what it cannot be
    now = params.model_dump(mode="json")
    values = {axis.name: value_at(now, axis.name) for axis in axes}
    study = _open_study(name, params, folders, axes)
    if not study.trials and all(axis.holds(values[axis.name]) for axis in axes):
        study.enqueue_trial(values)
    with resume_run(f"tune-{study.user_attrs[KEY_ATTR]}", name=f"tune {name}") as tracker:
        tracker.params({"study": name, "axes": {axis.name: vars(axis) for axis in axes}})
        while len(_done(study)) < trials:
            trial = study.ask()
            try:
                value, pruned = _hold(trial, params, folders, axes)
            except (DataError, ParameterError, torch.OutOfMemoryError) as error:
                study.tell(trial, FAILED_AP)
                told = (
                    error.sentence()
                    if isinstance(error, WindhoverError)
                    else "needs more memory than there is"
                )
                say(f"trial {trial.number}: {told}")
                continue
            study.tell(trial, None if pruned else value, state=_state("PRUNED") if pruned else None)
            best = study.best_value if study.best_trials else value
            tracker.metrics({"val_ap": value, "best_val_ap": best}, step=trial.number)
            words = ", ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
            say(
                f"trial {trial.number}: AP {value:.4f}{', ended early' if pruned else ''}   {words}"
            )
        if not study.best_trials or study.best_value <= FAILED_AP:
            raise DataError(
                f"study {name!r}: no trial could be trained. Mend what they say, or take other values."
            )
        tracker.tags({f"best.{key}": value for key, value in study.best_params.items()})
        path = _write_best(WORK / f"{name}.yaml", params, study.best_params)
        tracker.file(path)
        with atomic_file(WORK / f"{name}.csv") as table:
            study.trials_dataframe(attrs=("number", "state", "value", "params")).to_csv(
                table, index=False
            )
        tracker.file(WORK / f"{name}.csv")
    say(f"best: trial {study.best_trial.number}, AP {study.best_value:.4f}")
    return path


def _open_study(name: str, params: TrainParams, folders: Folders, axes: Sequence[Axis]) -> Any:
    """Open a study or begin it; trials that were killed are put first in line again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    WORK.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{(WORK / f'{name}.db').resolve()}"
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS
    )
    study = optuna.create_study(
        storage=storage, study_name=name, load_if_exists=True, direction="maximize", pruner=pruner
    )
    # a seed that changes with what is known: a study that goes on does not draw its first trials
    # again
    study.sampler = optuna.samplers.TPESampler(seed=params.seed + len(study.trials))
    about = f"{name} {fingerprint(params, folders)} {sorted(map(str, axes))}"
    key = hashlib.sha256(about.encode()).hexdigest()[:16]
    if study.user_attrs.setdefault(KEY_ATTR, key) != key:
        raise ParameterError(
            f"study {name!r} ({WORK / name}.db) was about other parameters, data or code. Give another --study."
        )
    study.set_user_attr(KEY_ATTR, key)
    for trial in study.trials:
        if trial.state == _state("RUNNING"):
            study.tell(trial.number, state=_state("FAIL"))
            kills = trial.user_attrs.get(KILLS_ATTR, 0) + 1
            if kills < MOST_KILLS:
                study.enqueue_trial(trial.params, user_attrs={KILLS_ATTR: kills})
    return study


def _hold(
    trial: Any, params: TrainParams, folders: Folders, axes: Sequence[Axis]
) -> tuple[float, bool]:
    """Train once; return the AP on validation of the weights that are kept, and whether training
    was ended early.
    """
    chosen = change_params("train", params, {axis.name: axis.suggest(trial) for axis in axes})
    pruned = False

    def is_hopeless(row: Mapping[str, float]) -> bool:
        nonlocal pruned
        trial.report(row["val_ap"], int(row["epoch"]))
        pruned = bool(trial.should_prune())
        return pruned

    with tempfile.TemporaryDirectory() as folder:
        where = Folders(
            folders.scenes, folders.patches, folders.augmented, str(Path(folder) / "train")
        )
        trained: Trained = train_detector(
            chosen, where, name=f"trial-{trial.number}", is_enough=is_hopeless
        )
    return trained.kept_ap, pruned


def _done(study: Any) -> list[Any]:
    return [
        trial for trial in study.trials if trial.state in (_state("COMPLETE"), _state("PRUNED"))
    ]


def _state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]


def _write_best(path: Path, params: TrainParams, best: Mapping[str, Any]) -> Path:
    """Write what the best trial chose as a set of parameters; a mapping whole where it has a key
    that is new to it.
    """
    chosen = change_params("train", params, best).model_dump(mode="json")
    whole = {name.partition(".")[0] for name in best if not _is_spelled(params, name)}
    keys = {name: value for name, value in best.items() if name.partition(".")[0] not in whole}
    keys |= {name: chosen[name] for name in whole}
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        YAML().dump({"train": dict(sorted(keys.items()))}, stream)
    return path


def _is_spelled(params: TrainParams, name: str) -> bool:
    """Tell whether a key stands in the parameters, as keys of a network's options need not."""
    outer, _, leaf = name.rpartition(".")
    return not outer or leaf in value_at(params.model_dump(mode="json"), outer)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
