"""A database of runs that fails in the middle ends no training: locks are waited for, the rest is
named once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from windhover.errors import FormatError
from windhover.tracking import database_faults, mlflow_client
from windhover.tracking.database_faults import RunRecord, wait_for_lock
from windhover.tracking.runs import start_run

pytestmark = pytest.mark.usefixtures("mlflow_tables")
LOCKED = "(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO metrics ...]"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_faults, "LOCK_POLL_S", 0.01)


def failing(times: int, message: str = LOCKED) -> Callable[[], str]:
    left = iter(range(times))

    def call() -> str:
        if next(left, None) is not None:
            raise RuntimeError(message)
        return "written"

    return call


def test_a_lock_is_waited_for_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    assert wait_for_lock(Path("mlflow.db"), failing(4)) == "written"
    assert [record.getMessage() for record in caplog.records] == [
        "mlflow.db: is locked by another program, waiting for it (60 s at most)"
    ]


def test_a_lock_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_faults, "LOCK_WAIT_S", 0.05)
    with pytest.raises(RuntimeError, match="database is locked"):
        wait_for_lock(Path("mlflow.db"), failing(1000))


def test_after_the_first_failure_nothing_more_is_tried_and_all_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = RunRecord(Path("mlflow.db"))
    record.write(failing(1, "(sqlite3.DatabaseError) file is not a database"))
    record.write(failing(0))
    record.end(failing(0))
    first, last = (entry.getMessage() for entry in caplog.records)
    assert first.startswith("mlflow.db: cannot be written ((sqlite3.DatabaseError) file is not")
    assert last == "mlflow.db: 2 entries of this run are missing"


def test_a_fault_of_what_is_written_is_raised() -> None:
    with pytest.raises(RuntimeError, match="Invalid metric name"):
        RunRecord(Path("mlflow.db")).write(failing(1, "Invalid metric name"))


def test_a_locked_database_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_faults, "LOCK_WAIT_S", 0.0)
    with (
        pytest.raises(FormatError, match=r"mlflow\.db: .* locked by another program .* End that"),
        mlflow_client.database_errors(tmp_path),
    ):
        raise RuntimeError(LOCKED)


def spoil(database: Path) -> None:
    for path in database.parent.glob("mlflow.db*"):
        path.unlink()
    database.write_bytes(b"no database at all" * 1000)


@pytest.mark.slow
def test_a_run_goes_on_where_its_database_is_spoilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    caplog.set_level(logging.WARNING)
    with start_run("train", tmp_path) as tracker:
        tracker.log_metrics({"loss": 1.0})
        mlflow.tracking._tracking_service.utils._get_store().engine.dispose()
        spoil(tmp_path / "mlflow.db")
        tracker.log_metrics({"loss": 0.5})
        tracker.set_tags({"a": "b"})
    assert mlflow.active_run() is None
    assert "cannot be written" in caplog.text


@pytest.mark.slow
def test_a_run_waits_for_a_database_that_another_program_holds(tmp_path: Path) -> None:
    with start_run("train", tmp_path) as tracker:
        other = sqlite3.connect(tmp_path / "mlflow.db", check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(6.0, other.rollback).start()
        tracker.log_metrics({"loss": 1.0})
    rows = other.execute("SELECT value FROM metrics WHERE key = 'loss'").fetchall()
    assert rows == [(1.0,)]
