"""Runs in MLflow's embedded database: the only module that imports MLflow, and only when a run
begins.

The database lies at the project's root, also when DVC works in a throwaway copy (`DVC_ROOT`). Runs
of `train` and `evaluate` are joined by the content of the weights, never by a run's random name.
Decides nothing about learning.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from windhover.errors import MissingFileError
from windhover.params import flatten, read_yaml

EXPERIMENT = "windhover"
KEY_TAG = "pipeline.key"
PARAM_LENGTH = 500  # MLflow's limit for a parameter's value


class Tracker(Protocol):
    """What a flow may write about its run."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Write parameters, nested ones by dotted names."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers of one step."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """Write words about the run."""

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""

    def dataset(self, name: str, source: str, digest: str, profile: Mapping[str, Any]) -> None:
        """Name the data that is learnt from."""

    def model(self, bundle: Path, example: Any) -> None:
        """Keep the model of a folder, with the shapes of what goes in and comes out."""

    def bundle(self, folder: Path, dtype: str, window_hwc: tuple[int, int, int]) -> None:
        """Keep a finished model's folder, as MLflow loads one, with the shapes of what goes in and
        comes out.
        """


class NoTracker:
    """Writes nothing: for tests and trials."""

    def params(self, values: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None: ...
    def tags(self, values: Mapping[str, Any]) -> None: ...
    def file(self, path: Path, folder: str | None = None) -> None: ...
    def dataset(self, name: str, source: str, digest: str, profile: Mapping[str, Any]) -> None: ...
    def model(self, bundle: Path, example: Any) -> None: ...
    def bundle(self, folder: Path, dtype: str, window_hwc: tuple[int, int, int]) -> None: ...


class MlflowTracker:
    """Writes into the run that is active."""

    def __init__(self, mlflow: Any) -> None:
        self._mlflow = mlflow

    def params(self, values: Mapping[str, Any]) -> None:
        """Write parameters, nested ones by dotted names."""
        self._mlflow.log_params(
            {key: str(value)[:PARAM_LENGTH] for key, value in flatten(values).items()}
        )

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Write numbers of one step; those that are not finite are left out."""
        finite = {
            key: float(value)
            for key, value in values.items()
            if value == value and abs(value) != float("inf")
        }
        self._mlflow.log_metrics(finite, step=step)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Write words about the run."""
        self._mlflow.set_tags({key: str(value) for key, value in values.items()})

    def file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file."""
        self._mlflow.log_artifact(str(path), folder)

    def dataset(self, name: str, source: str, digest: str, profile: Mapping[str, Any]) -> None:
        """Name the data that is learnt from."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset

        with _quiet():
            found = MetaDataset(resolve_dataset_source(source), name=name, digest=digest[:8])  # type: ignore[abstract]
            self._mlflow.log_input(
                found, context="training", tags={key: str(value) for key, value in profile.items()}
            )

    def model(self, bundle: Path, example: Any) -> None:
        """Keep the model of a folder, with the shapes of what goes in and comes out."""
        with _quiet():
            from windhover.tracking.tracked_model import WindowClassifier

            self._mlflow.pyfunc.log_model(
                name="model",
                python_model=WindowClassifier(),
                artifacts={"bundle": str(bundle)},
                signature=_signature(example.dtype, example.shape[1:]),
                pip_requirements=["windhover", "torch", "torchvision", "numpy"],
            )

    def bundle(self, folder: Path, dtype: str, window_hwc: tuple[int, int, int]) -> None:
        """Keep a finished model's folder, as MLflow loads one, with the shapes of what goes in and
        comes out.
        """
        from mlflow.models import Model

        for path in sorted(folder.rglob("*")):  # a second look lies in a folder of its own
            if path.is_file() and not path.name.startswith("."):
                self.file(path, str("bundle" / path.relative_to(folder).parent))
        model = Model(signature=_signature(dtype, window_hwc))
        self._mlflow.pyfunc.add_to_model(model, loader_module="windhover.tracking.tracked_model")
        with tempfile.TemporaryDirectory() as temporary:
            model.save(f"{temporary}/MLmodel")
            self.file(Path(temporary) / "MLmodel", "bundle")


def _signature(dtype: Any, window_hwc: tuple[int, ...]) -> Any:
    """Return what MLflow writes down of a model: (N, H, W, C) windows in, (N, K) probabilities out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(dtype), (-1, *window_hwc))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, -1))]),
    )


@contextmanager
def start_run(name: str, root: Path | None = None) -> Iterator[Tracker]:
    """Open a new run, a child of the run that is open where there is one; it ends as FAILED when
    the block does.
    """
    mlflow = _mlflow(root or project_root())
    with mlflow.start_run(
        run_name=name, log_system_metrics=True, nested=mlflow.active_run() is not None
    ):
        tracker = MlflowTracker(mlflow)
        tracker.tags(_origin(root or project_root()))
        yield tracker


@contextmanager
def resume_run(key: str, root: Path | None = None, name: str | None = None) -> Iterator[Tracker]:
    """Open the newest run of this key again; where there is none, a new one: called `name`, else
    tagged `restored`.

    The key is that of a model's weights, or of a series of runs. A model from DVC's cache, or from
    another machine, has no run here.
    """
    mlflow = _mlflow(root or project_root())
    found = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=f"tags.`{KEY_TAG}` = '{key}'",
        max_results=1,
        output_format="list",
    )
    options = {"run_id": found[0].info.run_id} if found else {"run_name": name or f"restored-{key}"}
    with mlflow.start_run(**options, nested=mlflow.active_run() is not None):
        tracker = MlflowTracker(mlflow)
        if not found:
            tracker.tags(
                {
                    KEY_TAG: key,
                    **(_origin(root or project_root()) if name else {"restored": "true"}),
                }
            )
        yield tracker


def run_name(network: str, key: str) -> dict[str, str]:
    """Return the tag that names a run by what tells it from others: DVC's experiment, else the
    network and the key.
    """
    return {"mlflow.runName": os.environ.get("DVC_EXP_NAME") or f"{network}-{key[:8]}"}


def project_root() -> Path:
    """Return the folder of the database: DVC's project, else the working directory."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def dvc_hashes(folders: Sequence[str], root: Path | None = None) -> dict[str, str]:
    """Return the hash that `dvc.lock` holds for each folder that a stage made; those it does not
    name are left out.
    """
    lock = Path("dvc.lock") if Path("dvc.lock").is_file() else (root or project_root()) / "dvc.lock"
    if not lock.is_file():
        return {}
    outs = [
        out for stage in read_yaml(lock).get("stages", {}).values() for out in stage.get("outs", [])
    ]
    return {
        out["path"]: str(out.get("md5", out.get("hash", "")))
        for out in outs
        if out.get("path") in folders
    }


def _origin(root: Path) -> dict[str, str]:
    """Return the commit of the code, and whether files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    if not commit:
        return {}
    return {
        "mlflow.source.git.commit": commit,
        "git.dirty": "true" if git("status", "--porcelain", "-uno") else "false",
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's warnings, and those of what it imports, off the terminal; its errors still
    rise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _mlflow(root: Path) -> Any:
    """Import MLflow, quiet, on the embedded database, with its experiment made."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with _quiet():
        import mlflow
    for name in ("mlflow", "alembic", "mlflow.store.db.utils", "mlflow.system_metrics"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=(root / "mlartifacts").as_uri())
    mlflow.set_experiment(EXPERIMENT)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "10")
    return mlflow


def run_files(run: str, folder: str, root: Path | None = None) -> Path:
    """Return a local copy of a folder of files that a run keeps.

    Args:
        run: the run's id, its name, or the content key of its weights; of several the newest.
        folder: such as `evaluation` or `bundle`.
        root: the project's root.

    Raises:
        MissingFileError: there is no such run, or it keeps no such folder.
    """
    mlflow = _mlflow(root or project_root())
    found = _find_run(mlflow, run)
    names = {item.path for item in mlflow.MlflowClient().list_artifacts(found.info.run_id)}
    if folder not in names:
        raise MissingFileError(f"run {run}: keeps no `{folder}`. Run evaluate on its model again.")
    return Path(mlflow.artifacts.download_artifacts(run_id=found.info.run_id, artifact_path=folder))


def promote(run: str, name: str, alias: str, root: Path | None = None) -> int:
    """Enter the evaluated model of a run into the registry and point an alias at it.

    Returns:
        The version's number.

    Raises:
        MissingFileError: there is no such run, or it keeps no finished model.
    """
    run_files(run, "bundle", root)
    mlflow = _mlflow(root or project_root())
    client, found = mlflow.MlflowClient(), _find_run(mlflow, run)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(
        name, f"{found.info.artifact_uri}/bundle", found.info.run_id
    )
    client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def fetch_model(address: str, root: Path | None = None) -> Path:
    """Return the folder of a registered model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        MissingFileError: the registry has no such model, alias or version.
    """
    mlflow = _mlflow(root or project_root())
    from mlflow.exceptions import MlflowException

    client, name = mlflow.MlflowClient(), address.removeprefix("models:/")
    try:
        if "@" in name:
            version = client.get_model_version_by_alias(*name.split("@", 1))
        else:
            version = client.get_model_version(*name.rsplit("/", 1))
    except (MlflowException, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingFileError(
            f"{address}: no such registered model ({reason}). Promote one: windhover promote."
        ) from None
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=version.source))


def _find_run(mlflow: Any, run: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_run(run)
    except MlflowException:
        pass
    for rule in (f"tags.`{KEY_TAG}` = '{run}'", f"attributes.run_name = '{run}'"):
        found = mlflow.search_runs(
            experiment_names=[EXPERIMENT], filter_string=rule, max_results=1, output_format="list"
        )
        if found:
            return found[0]
    raise MissingFileError(
        f"{run}: no run has this id, name or model key. `make ui` lists the runs."
    )
