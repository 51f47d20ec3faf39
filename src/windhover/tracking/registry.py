"""The files that runs keep, and MLflow's registry of models with their aliases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from windhover.errors import MissingFileError, ParameterError
from windhover.tracking.mlflow_client import EXPERIMENT, KEY_TAG, open_mlflow, project_root
from windhover.tracking.runs import DESCRIPTION_TAG

MAX_NAME_CHARS = 255
NAME_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]{0,254}")
ALIAS_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,255}")
RESERVED_ALIAS = re.compile(r"latest|v[0-9]+", re.IGNORECASE)


def download_run_files(run: str, folder: str, root: Path | None = None) -> Path:
    """Return a local copy of a folder of files, or of a file, that a run keeps.

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


def has_run_file(run: str, name: str) -> bool:
    """Return whether a run keeps a file or folder of this name.

    Args:
        run: the run's id, its name, or the content key of its weights; of several the newest.
        name: of the file or folder.

    Raises:
        MissingFileError: there is no such run.
    """
    mlflow = open_mlflow(project_root())
    run_id = _find_run(mlflow, run).info.run_id
    return any(item.path == name for item in mlflow.MlflowClient().list_artifacts(run_id))


def promote(run: str, name: str, alias: str, *, root: Path | None = None) -> int:
    """Register the evaluated model of a run and point an alias at it.

    The version is described as its run is: by what the model reached.

    Args:
        run: the run's id, its name, or the content key of its weights.
        name: of the registered model.
        alias: that is set to the new version.
        root: the project's root.

    Returns:
        The version's number.

    Raises:
        ParameterError: the registry takes no such name or alias.
        MissingFileError: there is no such run, or it keeps no finished model.
    """
    _check_name(name)
    _check_alias(alias)
    download_run_files(run, "bundle", root)
    mlflow = open_mlflow(root or project_root())
    client = mlflow.MlflowClient()
    found = _find_run(mlflow, run)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    source = f"{found.info.artifact_uri}/bundle"
    about = found.data.tags.get(DESCRIPTION_TAG)
    version = client.create_model_version(name, source, found.info.run_id, description=about)
    client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _check_name(name: str) -> None:
    """Raise if the registry takes no such name.

    Raises:
        ParameterError: it is empty, too long, or holds a character that addresses use.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ParameterError(
            f"--name: a model is named by letters, digits, `_`, `-`, `.` and spaces, at most "
            f"{MAX_NAME_CHARS}, got {name!r}. Choose another name."
        )


def _check_alias(alias: str) -> None:
    """Raise if the registry takes no such alias.

    Raises:
        ParameterError: it is empty, too long, reserved, or holds another character.
    """
    if not ALIAS_PATTERN.fullmatch(alias):
        raise ParameterError(
            f"--alias: an alias is of letters, digits, `_` and `-`, at most {MAX_NAME_CHARS}, got "
            f"{alias!r}. Choose another alias."
        )
    if RESERVED_ALIAS.fullmatch(alias):
        raise ParameterError(
            f"--alias: {alias!r} is what the registry calls a version itself. Choose another "
            "alias, such as champion."
        )


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
