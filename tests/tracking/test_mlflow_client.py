"""The project's runs stay in the project, also where the environment names another server."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from windhover.tracking.mlflow_client import EXPERIMENT, REDIRECTING_VARIABLES, open_mlflow
from windhover.tracking.runs import resume_run

pytestmark = pytest.mark.filterwarnings("ignore")


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


def test_a_project_that_is_opened_again_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two", "one"):
        (tmp_path / name).mkdir(exist_ok=True)
        open_mlflow(tmp_path / name)
    assert not [record for record in caplog.records if "ignored" in record.getMessage()]
