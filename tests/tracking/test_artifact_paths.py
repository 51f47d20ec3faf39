"""Artifacts are found after the project's folder was moved or copied, by any client of MLflow."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from windhover.tracking.artifact_paths import PLACE_COLUMNS, make_places_relative
from windhover.tracking.mlflow_client import EXPERIMENT, open_mlflow
from windhover.tracking.registry import download_run_files, fetch_model, promote
from windhover.tracking.runs import resume_run

pytestmark = [pytest.mark.usefixtures("mlflow_tables"), pytest.mark.filterwarnings("ignore")]
KEY = "0123456789abcdef"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one run that keeps a file."""
    root = tmp_path / "a project"
    root.mkdir()
    file = tmp_path / "model.json"
    file.write_text("{}")
    with resume_run(KEY, root) as tracker:
        tracker.log_file(file, "bundle")
    return root


def make_absolute(root: Path) -> None:
    """Write places into the database as MLflow does by itself."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        for table, column in PLACE_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || '/' || {column} WHERE {column} LIKE 'mlart%'",
                (root.as_uri(),),
            )


def test_a_client_in_a_moved_or_copied_project_finds_the_artifacts(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = project.with_name("copied")
    shutil.copytree(project, copied)
    moved = project.rename(project.with_name("moved"))
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.tracking import MlflowClient

    # as in a process that knows nothing of the project
    _artifact_repository_registry.register("", LocalArtifactRepository)
    for root in (copied, moved):
        monkeypatch.chdir(root)
        client = MlflowClient("sqlite:///mlflow.db")
        experiment = client.get_experiment_by_name(EXPERIMENT)
        (run,) = client.search_runs([experiment.experiment_id])
        found = client.download_artifacts(run.info.run_id, "bundle/model.json")
        assert Path(found).read_text() == "{}"


def test_commands_find_them_from_any_working_directory(project: Path) -> None:
    moved = project.rename(project.with_name("moved"))
    assert (download_run_files(KEY, "bundle", moved) / "model.json").is_file()
    promote(KEY, "aircraft", "champion", root=moved)
    moved_again = moved.rename(moved.with_name("moved again"))
    assert fetch_model("models:/aircraft@champion", moved_again).is_relative_to(moved_again)


def test_places_of_earlier_versions_are_found_after_a_move(project: Path) -> None:
    promote(KEY, "aircraft", "champion", root=project)
    make_absolute(project)
    moved = project.rename(project.with_name("moved"))
    assert (download_run_files(KEY, "bundle", moved) / "model.json").is_file()
    assert fetch_model("models:/aircraft@champion", moved).is_relative_to(moved)
    assert open_mlflow(moved).get_experiment_by_name(EXPERIMENT).artifact_location == "mlartifacts"


def test_a_store_elsewhere_stays_where_it_is(project: Path) -> None:
    with closing(sqlite3.connect(project / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 's3://bucket/runs'")
    make_places_relative(project / "mlflow.db", EXPERIMENT)
    experiment = open_mlflow(project).get_experiment_by_name(EXPERIMENT)
    assert experiment.artifact_location == "s3://bucket/runs"
