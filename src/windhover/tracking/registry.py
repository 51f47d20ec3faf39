"""The files that runs keep, and MLflow's registry of models with their aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from windhover.errors import MissingFileError
from windhover.tracking.mlflow_client import EXPERIMENT, KEY_TAG, open_mlflow, project_root


def download_run_files(run: str, folder: str, root: Path | None = None) -> Path:
    """Return a local copy of a folder of files that a run keeps.

    Args:
        run: the run's id, its name, or the content key of its weights; of several the newest.
        folder: such as `evaluation` or `bundle`.
        root: the project's root.

    Raises:
        MissingFileError: there is no such run, or it keeps no such folder.
    """
    mlflow = open_mlflow(root or project_root())
    run_id = _find_run(mlflow, run).info.run_id
    names = {item.path for item in mlflow.MlflowClient().list_artifacts(run_id)}
    if folder not in names:
        raise MissingFileError(f"run {run}: keeps no `{folder}`. Run evaluate on its model again.")
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=folder))


def promote(run: str, name: str, alias: str, *, root: Path | None = None) -> int:
    """Register the evaluated model of a run and point an alias at it.

    Args:
        run: the run's id, its name, or the content key of its weights.
        name: of the registered model.
        alias: that is set to the new version.
        root: the project's root.

    Returns:
        The version's number.

    Raises:
        MissingFileError: there is no such run, or it keeps no finished model.
    """
    download_run_files(run, "bundle", root)
    mlflow = open_mlflow(root or project_root())
    client = mlflow.MlflowClient()
    found = _find_run(mlflow, run)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{found.info.artifact_uri}/bundle"
    version = client.create_model_version(name, source, found.info.run_id)
    client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def fetch_model(address: str, root: Path | None = None) -> Path:
    """Return the folder of a registered model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        MissingFileError: the registry has no such model, alias or version.
    """
    mlflow = open_mlflow(root or project_root())
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    name = address.removeprefix("models:/")
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
    """Return a run by its id, its content key or its name, the newest of several."""
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.get_run(run)
    except MlflowException:
        pass
    for filter_string in (f"tags.`{KEY_TAG}` = '{run}'", f"attributes.run_name = '{run}'"):
        runs = mlflow.search_runs(
            experiment_names=[EXPERIMENT],
            filter_string=filter_string,
            max_results=1,
            output_format="list",
        )
        if runs:
            return runs[0]
    raise MissingFileError(
        f"{run}: no run has this id, name or model key. `make ui` lists the runs."
    )
