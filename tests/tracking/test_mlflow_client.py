"""The project's runs stay in the project, also where the environment names another server."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from windhover.errors import FormatError
from windhover.tracking.mlflow_client import (
    EXPERIMENT,
    REDIRECTING_VARIABLES,
    REQUIRED_TABLES,
    check_database,
    open_mlflow,
)
from windhover.tracking.runs import resume_run

pytestmark = [pytest.mark.usefixtures("mlflow_tables"), pytest.mark.filterwarnings("ignore")]


def test_variables_of_mlflow_do_not_redirect_runs_and_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in REDIRECTING_VARIABLES:
        monkeypatch.setenv(name, "http://elsewhere.invalid:1")
    root = tmp_path / "project"
    root.mkdir()
    with (
        caplog.at_level(logging.WARNING, logger="windhover"),
        resume_run("0123456789abcdef", root) as tracker,
    ):
        tracker.log_metrics({"ap": 0.5})
    lines = [record.getMessage() for record in caplog.records if "ignored" in record.getMessage()]
    assert len(lines) == 1
    for name in REDIRECTING_VARIABLES:
        assert name in lines[0]
    assert "mlflow.db" in lines[0]
    mlflow = open_mlflow(root)
    assert len(mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")) == 1
    assert "elsewhere" not in mlflow.get_registry_uri()
    assert "elsewhere" not in os.environ.get("MLFLOW_TRACKING_URI", "")


def write_tables(path: Path, *names: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for name in names:
            database.execute(f"CREATE TABLE {name} (a)")


@pytest.mark.parametrize("damage", [b"junk" * 99, b"SQLite format 3\0" + bytes(84)])
def test_a_damaged_database_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(damage)
    with pytest.raises(FormatError, match=r"mlflow\.db: the database of MLflow's runs cannot be"):
        check_database(path)


def test_a_database_of_others_and_one_without_a_table_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    check_database(path)  # a missing one is made
    write_tables(path, "mine")
    with pytest.raises(FormatError, match=r"no table alembic_version.*move it away"):
        check_database(path)
    write_tables(path, *(REQUIRED_TABLES - {"runs"}))
    with pytest.raises(FormatError, match="no table runs"):
        check_database(path)
    write_tables(path, "runs")
    check_database(path)


def test_a_database_of_another_version_names_the_command(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    open_mlflow(tmp_path / "own")
    path = tmp_path / "other" / "mlflow.db"
    shutil.copy(tmp_path / "own" / "mlflow.db", path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(FormatError, match=r"another version of MLflow.*`mlflow db upgrade sqlite"):
        open_mlflow(path.parent)


def test_a_project_that_is_opened_again_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two", "one"):
        (tmp_path / name).mkdir(exist_ok=True)
        open_mlflow(tmp_path / name)
    assert not [record for record in caplog.records if "ignored" in record.getMessage()]
