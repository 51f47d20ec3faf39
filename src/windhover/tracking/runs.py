"""Runs of training and evaluation in MLflow.

Runs of `train` and `evaluate` are joined by the content of the weights, never by a run's random
name.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from windhover.errors import FormatError, ParameterError
from windhover.json_record import describe_fault
from windhover.params import flatten, read_yaml
from windhover.tracking.database_faults import RunRecord, wait_for_lock
from windhover.tracking.mlflow_client import (
    DATABASE,
    EXPERIMENT,
    KEY_TAG,
    database_errors,
    open_mlflow,
    project_root,
    without_warnings,
)
from windhover.tracking.safe_names import safe_names

PARAM_CHARS = 500  # MLflow's limit for a parameter's value
TAG_CHARS = 8000  # and for a tag
DESCRIPTION_TAG = "mlflow.note.content"


class Tracker(Protocol):
    """What a flow may log about its run."""

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, nested ones by dotted names."""

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of one step."""

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set tags of the run."""

    def set_description(self, text: str) -> None:
        """Set the text in Markdown that describes the run."""

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""

    def log_dataset(
        self, name: str, source: str, *, digest: str, profile: Mapping[str, Any]
    ) -> None:
        """Name the data of a training."""

    def log_model(self, bundle: Path, example: Any) -> None:
        """Keep the model of a folder, with the shapes of its input and output."""

    def log_bundle(self, folder: Path, dtype: str, window_shape: tuple[int, int, int]) -> None:
        """Keep a finished model's folder, loadable by MLflow, with its input and output shapes."""


class NoTracker:
    """Logs nothing: for tests and short trainings."""

    def log_params(self, values: Mapping[str, Any]) -> None: ...
    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...
    def set_tags(self, values: Mapping[str, Any]) -> None: ...
    def set_description(self, text: str) -> None: ...
    def log_file(self, path: Path, folder: str | None = None) -> None: ...
    def log_dataset(
        self, name: str, source: str, *, digest: str, profile: Mapping[str, Any]
    ) -> None: ...
    def log_model(self, bundle: Path, example: Any) -> None: ...
    def log_bundle(self, folder: Path, dtype: str, window_shape: tuple[int, int, int]) -> None: ...


class MlflowTracker:
    """Logs into MLflow's active run."""

    def __init__(self, mlflow: Any, record: RunRecord) -> None:
        self._mlflow = mlflow
        self._record = record

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, nested ones by dotted names."""
        flat = flatten(values)
        names = safe_names(flat)
        texts = {names[key]: str(value)[:PARAM_CHARS] for key, value in flat.items()}
        self._record.write(lambda: self._mlflow.log_params(texts))

    def log_metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of one step; those that are not finite are left out."""
        names = safe_names(values)
        finite = {
            names[key]: float(value)
            for key, value in values.items()
            if value == value and abs(value) != float("inf")
        }
        self._record.write(lambda: self._mlflow.log_metrics(finite, step=step))

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set tags of the run."""
        texts = {key: str(value)[:TAG_CHARS] for key, value in values.items()}
        self._record.write(lambda: self._mlflow.set_tags(texts))

    def set_description(self, text: str) -> None:
        """Set the text in Markdown that describes the run."""
        self.set_tags({DESCRIPTION_TAG: text})

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""
        self._record.write(lambda: self._mlflow.log_artifact(str(path), folder))

    def log_dataset(
        self, name: str, source: str, *, digest: str, profile: Mapping[str, Any]
    ) -> None:
        """Name the data of a training."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset

        tags = {key: str(value) for key, value in profile.items()}
        with without_warnings():
            dataset = MetaDataset(  # type: ignore[abstract]
                resolve_dataset_source(source), name=name, digest=digest[:8]
            )
            self._record.write(
                lambda: self._mlflow.log_input(dataset, context="training", tags=tags)
            )

    def log_model(self, bundle: Path, example: Any) -> None:
        """Keep the model of a folder, with the shapes of its input and output.

        Args:
            bundle: folder of the model.
            example: (N, H, W, C) windows as read.
        """
        with without_warnings():
            from windhover.tracking.model_environment import pinned_requirements, source_folder
            from windhover.tracking.model_signature import model_signature, window_metadata
            from windhover.tracking.tracked_model import RunModel

            log_model = partial(
                self._mlflow.pyfunc.log_model,
                name="model",
                python_model=RunModel(),
                artifacts={"bundle": str(bundle)},
                code_paths=[str(source_folder())],
                signature=model_signature(),
                metadata=window_metadata(example.dtype, example.shape[1:]),
                pip_requirements=pinned_requirements(),
            )
            self._record.write(log_model)

    def log_bundle(self, folder: Path, dtype: str, window_shape: tuple[int, int, int]) -> None:
        """Keep a finished model's folder, loadable by MLflow, with its input and output shapes.

        Args:
            folder: of the model; a second stage in it is kept too.
            dtype: number type of the pixels.
            window_shape: (H, W, C) of a window.
        """
        from mlflow.models import Model

        from windhover.tracking.model_environment import (
            CODE_FOLDER,
            ENVIRONMENT_FILE,
            copy_source,
            write_environment,
        )
        from windhover.tracking.model_signature import (
            model_signature,
            save_example,
            window_metadata,
        )

        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                self.log_file(path, str("bundle" / path.relative_to(folder).parent))
        model = Model(signature=model_signature(), metadata=window_metadata(dtype, window_shape))
        self._mlflow.pyfunc.add_to_model(
            model,
            loader_module="windhover.tracking.tracked_model",
            code=CODE_FOLDER,
            python_env=ENVIRONMENT_FILE,
        )
        with tempfile.TemporaryDirectory() as temporary:
            save_example(model, temporary)
            model.save(f"{temporary}/MLmodel")
            write_environment(Path(temporary), mlflow_version=self._mlflow.__version__)
            copy_source(Path(temporary))
            self._record.write(lambda: self._mlflow.log_artifacts(temporary, "bundle"))


@contextmanager
def start_run(name: str, root: Path | None = None) -> Iterator[Tracker]:
    """Open a new run, a child of the active run where there is one.

    It ends as FAILED when the block raises an error.
    """
    root = root or project_root()
    mlflow = open_mlflow(root)
    with _active_run(mlflow, root, run_name=name, log_system_metrics=True) as tracker:
        tracker.set_tags(_code_version(root))
        yield tracker


@contextmanager
def resume_run(key: str, root: Path | None = None, name: str | None = None) -> Iterator[Tracker]:
    """Open the newest run of a key again, or a new one where there is none.

    Args:
        key: of a model's weights, or of a series of runs. A model from DVC's cache, or from
            another machine, has no run here.
        root: the project's root.
        name: of a new run; without one it is tagged `restored`.
    """
    root = root or project_root()
    mlflow = open_mlflow(root)
    search = partial(
        mlflow.search_runs,
        experiment_names=[EXPERIMENT],
        filter_string=f"tags.`{KEY_TAG}` = '{key}'",
        max_results=1,
        output_format="list",
    )
    with database_errors(root):
        runs = wait_for_lock(root / DATABASE, search)
    options = {"run_name": name or f"restored-{key}"}
    if runs:
        options = {"run_id": runs[0].info.run_id}
    with _active_run(mlflow, root, **options) as tracker:
        if not runs:
            origin = _code_version(root) if name else {"restored": "true"}
            tracker.set_tags({KEY_TAG: key, **origin})
        yield tracker


@contextmanager
def _active_run(mlflow: Any, root: Path, **options: Any) -> Iterator[MlflowTracker]:
    """Start a run of MLflow and end it; the end too does without a database that has failed.

    Raises:
        FormatError: the run cannot be begun.
    """
    nested = mlflow.active_run() is not None
    record = RunRecord(root / DATABASE)
    with database_errors(root):
        wait_for_lock(record.database, lambda: mlflow.start_run(**options, nested=nested))
    status = "FAILED"
    try:
        yield MlflowTracker(mlflow, record)
        status = "FINISHED"
    finally:
        record.end(lambda: mlflow.end_run(status))


def run_name(network: str, key: str) -> dict[str, str]:
    """Return the tag with the name of a run: that of DVC's experiment, else network and key."""
    return {"mlflow.runName": os.environ.get("DVC_EXP_NAME") or f"{network}-{key[:8]}"}


def dvc_hashes(folders: Sequence[str]) -> dict[str, str]:
    """Return the hash in `dvc.lock` of each folder that a stage writes; others are left out."""
    lock = Path("dvc.lock")
    if not lock.is_file():
        lock = project_root() / "dvc.lock"
    if not lock.is_file():
        return {}
    hashes = {}
    for output in _locked_outputs(lock):
        if output.path in folders:
            hashes[output.path] = output.md5 or output.hash
    return hashes


class _LockedOutput(BaseModel):
    """A folder that a stage wrote, as `dvc.lock` lists it."""

    path: str
    md5: str = ""
    hash: str = ""


class _LockedStage(BaseModel):
    """A stage of `dvc.lock`."""

    outs: tuple[_LockedOutput, ...] = ()


class _Lock(BaseModel):
    """What is read of `dvc.lock`."""

    stages: dict[str, _LockedStage] = Field(default_factory=dict)


def _locked_outputs(lock: Path) -> list[_LockedOutput]:
    """Return the folders that `dvc.lock` lists.

    Raises:
        FormatError: the file is damaged.
    """
    again = "Remove the file, and run the stages again: dvc repro."
    try:
        content = _Lock.model_validate(read_yaml(lock))
    except ParameterError as error:
        raise FormatError(f"{error} {again}") from None
    except ValidationError as error:
        raise FormatError(f"{lock}: {describe_fault(error)} {again}") from None
    return [output for stage in content.stages.values() for output in stage.outs]


def _code_version(root: Path) -> dict[str, str]:
    """Return tags with the commit of the code, and whether files differ from it."""
    commit = _run_git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _run_git(root, "status", "--porcelain", "-uno")
    return {
        "mlflow.source.git.commit": commit,
        "git.dirty": "true" if changed else "false",
    }


def _run_git(root: Path, *arguments: str) -> str:
    """Return the output of a git command, empty where it fails."""
    process = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return process.stdout.strip() if process.returncode == 0 else ""
