"""MLflow on the project's embedded database; it is imported only when a run or a model is opened.

The database is at the project's root, also when DVC works in a temporary copy (`DVC_ROOT`).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from windhover.disk_space import check_space
from windhover.errors import FormatError
from windhover.tracking.artifact_paths import (
    ARTIFACTS_FOLDER,
    make_places_relative,
    read_places_from,
)
from windhover.tracking.database_faults import LOCK_WAIT_S, REASON_CHARS, wait_for_lock

EXPERIMENT = "windhover"
DATABASE = "mlflow.db"  # at the project's root
KEY_TAG = "pipeline.key"  # of a run: the content key of its weights
# variables by which MLflow would write elsewhere, or into another run
REDIRECTING_VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)
HEADLINE_AP = "headline/1_ap"
# what MLflow's pages show of the experiment: its kind, the figure that comes first, a description
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": HEADLINE_AP,
    "mlflow.note.content": (
        "Trainings of this project, and what each model reached on the places of test: five "
        "figures under `headline`. The columns `model`, `data_version` and `parameter_set` tell "
        "runs apart; the description of a run tells what it was trained on; its report is among "
        "its artifacts, `evaluation/index.html`."
    ),
}
REQUIRED_TABLES = {
    "alembic_version",
    "experiment_tags",
    "experiments",
    "latest_metrics",
    "metrics",
    "model_versions",
    "params",
    "registered_model_aliases",
    "registered_models",
    "runs",
    "tags",
}
OTHER_SCHEMA = "out-of-date database schema"  # MLflow's own words
NOISY_LOGGERS = ("mlflow", "alembic", "mlflow.store.db.utils", "mlflow.system_metrics")


logger = logging.getLogger(__name__)
_addresses: set[str] = set()  # of the databases opened here: MLflow leaves them in its variables


def ignore_redirections(own_address: str) -> None:
    """Take out of the environment what would redirect the project's runs; one line names it.

    Args:
        own_address: of the project's database.
    """
    _addresses.add(own_address)
    ignored = []
    for name in REDIRECTING_VARIABLES:
        value = os.environ.pop(name, "")
        if value and value not in _addresses:
            ignored.append(name)
    if ignored:
        logger.warning(
            "%s in the environment ignored: runs are kept in the project's own database (%s)",
            ", ".join(ignored),
            own_address,
        )


def project_root() -> Path:
    """Return the folder of the database: DVC's project, else the working directory."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def _open_experiment(mlflow: Any, root: Path) -> None:
    """Open the project's experiment, which is made where it is missing."""
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        place = (root / ARTIFACTS_FOLDER).as_uri()
        mlflow.create_experiment(EXPERIMENT, artifact_location=place, tags=EXPERIMENT_TAGS)
    make_places_relative(root / DATABASE, EXPERIMENT)
    read_places_from(root)
    mlflow.set_experiment(EXPERIMENT)


def check_database(path: Path) -> None:
    """Raise if the database of runs is there and is not sound; a missing one is made by MLflow.

    Raises:
        FormatError: it is damaged, lacks a table, or is of another program.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {str(name) for (name,) in rows}
            (state,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:  # locked by another run: MLflow waits for it
        if "locked" in str(error):
            return
        raise _database_error(path, str(error)) from None
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _database_error(path, str(error)) from None
    if state != "ok":
        raise _database_error(path, str(state))
    missing = sorted(REQUIRED_TABLES - tables)
    if tables and missing:
        raise _database_error(path, f"no table {missing[0]}")


def _database_error(path: Path, reason: str) -> FormatError:
    if OTHER_SCHEMA in reason:
        return FormatError(
            f"{path}: the database of MLflow's runs is of another version of MLflow. Copy it, then "
            f"run `mlflow db upgrade sqlite:///{path}`, or install the version that wrote it."
        )
    reason = " ".join(reason.partition("[SQL:")[0].split())[:REASON_CHARS]
    if "locked" in reason:
        return FormatError(
            f"{path}: the database of MLflow's runs is locked by another program for more than "
            f"{LOCK_WAIT_S:.0f} s. End that program, or wait for it, and run the same again."
        )
    return FormatError(
        f"{path}: the database of MLflow's runs cannot be read ({reason}). Restore it, or move it "
        "away: a new one is begun, and the files of earlier runs stay in mlartifacts."
    )


@contextmanager
def database_errors(root: Path) -> Iterator[None]:
    """Turn any error of the block into a sentence on the database.

    Raises:
        FormatError: it cannot be read or written, or is locked.
        FullDiskError: the disk is full.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  # of MLflow, SQLAlchemy or Alembic
        check_space(root / DATABASE)
        raise _database_error(root / DATABASE, str(error)) from None


@contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress the warnings of MLflow and of what it imports; errors are raised as usual."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_mlflow(root: Path) -> Any:
    """Return the module MLflow, connected to the database of a project, and quiet.

    Args:
        root: of the project; database and artifacts are created where missing.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    address = f"sqlite:///{root / DATABASE}"
    ignore_redirections(address)
    check_database(root / DATABASE)
    with without_warnings():
        import mlflow
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # its errors are raised too
    mlflow.set_tracking_uri(address)
    with database_errors(root):
        wait_for_lock(root / DATABASE, partial(_open_experiment, mlflow, root))
    # MLflow leaves it there for processes started from here, which open the project themselves
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "10")
    return mlflow
