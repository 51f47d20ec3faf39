"""Places of artifacts in MLflow's database, relative to the project's root.

MLflow writes absolute ones, which are dead once the project's folder is moved or copied. Relative
ones hold wherever the folder is, for `mlflow ui` and for clients that are started in it; the
library finds them from any working directory.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

ARTIFACTS_FOLDER = "mlartifacts"  # beside the database
# columns that hold places of artifacts, by table
PLACE_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def make_places_relative(database: Path, experiment: str) -> None:
    """Make the places of an experiment's artifacts relative to the database's folder.

    What the folder of another place held before it was moved is found again. Places outside the
    project's own folder of artifacts stay as they are.

    Args:
        database: of MLflow, SQLite.
        experiment: its name.
    """
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        row = connection.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)
        ).fetchone()
        if row is None or row[0] == ARTIFACTS_FOLDER:
            return
        before, _, folder = row[0].rstrip("/").rpartition("/")
        if folder != ARTIFACTS_FOLDER:
            return
        for table, column in PLACE_COLUMNS:
            connection.execute(
                f"UPDATE {table} SET {column} = substr({column}, ?) "
                f"WHERE substr({column}, 1, ?) = ?",
                (len(before) + 2, len(row[0]), row[0]),
            )


def read_places_from(root: Path) -> None:
    """Let MLflow resolve relative places of artifacts against a project's root in this process.

    Args:
        root: of the project, absolute.
    """
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def local_repository(artifact_uri: str, **options: Any) -> Any:
        return LocalArtifactRepository(str(root / artifact_uri), **options)

    _artifact_repository_registry.register("", local_repository)  # type: ignore[no-untyped-call]
