"""MLflow on the project's embedded database; it is imported only when a run or a model is opened.

The database is at the project's root, also when DVC works in a temporary copy (`DVC_ROOT`).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXPERIMENT = "windhover"
KEY_TAG = "pipeline.key"  # of a run: the content key of its weights
NOISY_LOGGERS = ("mlflow", "alembic", "mlflow.store.db.utils", "mlflow.system_metrics")


def project_root() -> Path:
    """Return the folder of the database: DVC's project, else the working directory."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


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
    with without_warnings():
        import mlflow
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(f"sqlite:///{root / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=(root / "mlartifacts").as_uri())
    mlflow.set_experiment(EXPERIMENT)
    os.environ.setdefault("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "10")
    return mlflow
