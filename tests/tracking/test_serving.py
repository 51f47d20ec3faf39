"""A promoted model answers over HTTP, and the image of a server is built of the project's wheel."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import MakeScene
from fake_models import write_bundle
from project import ROOT
from windhover.tracking import registry
from windhover.tracking.runs import resume_run

KEY = "dddddddddddddddd"
START_S = 600


def test_the_image_is_made_of_the_wheel_and_runs_as_a_plain_user() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line for line in lines if line and not line.startswith("#")]
    words = [step.split()[0] for step in steps]
    assert set(words) <= {"FROM", "ENV", "COPY", "RUN", "USER", "EXPOSE", "CMD", "ARG"}
    assert words[0] == "FROM"
    assert re.search(r"FROM \S+:(?!latest)\S+$", steps[0])  # a pinned base
    assert any(re.match(r"COPY dist/\*\.whl ", step) for step in steps)
    assert any("windhover_eo-*.whl" in step for step in steps)
    user = next(step for step in steps if step.startswith("USER"))
    assert int(user.split()[1]) > 0  # not root
    command = json.loads(steps[-1].removeprefix("CMD"))  # the form that gets signals
    assert command[:3] == ["mlflow", "models", "serve"]
    assert words[-1] == "CMD"
    assert any("WINDHOVER_SERVE_FOLDER=/scenes" in step for step in steps)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(url: str, request: dict[str, Any]) -> tuple[int, Any]:
    """Return the status and the JSON that a server answers with."""
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def server(tmp_path: Path, make_scene: MakeScene) -> Iterator[str]:
    """The address of a served model that may read `tmp_path/scenes`."""
    write_bundle(tmp_path / "model", threshold=0.2)
    with resume_run(KEY, tmp_path) as tracker:
        tracker.log_bundle(tmp_path / "model", "uint8", (64, 64, 3))
    folder = registry.download_run_files(KEY, "bundle", tmp_path)
    scenes = tmp_path / "scenes"
    make_scene("scenes/scene.tif")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "WINDHOVER_SERVE_FOLDER": str(scenes)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process, tmp_path / "log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url)
        except OSError:
            time.sleep(1)
        else:
            return
    raise AssertionError(log.read_text()[-2000:])


def documented_curl(url: str) -> str:
    """Return the command that the page on serving shows, for another address."""
    page = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^curl http.*$", page, re.MULTILINE)
    return re.sub(r"http://\S+/invocations", url, command)


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.filterwarnings("ignore")
def test_a_served_model_answers_over_http(server: str) -> None:
    frame = {"columns": ["raster"], "data": [["scene.tif"]]}
    status, answer = ask(server, {"dataframe_split": frame, "params": {"threshold": 0.01}})
    assert status == 200, answer
    rows = answer["predictions"]
    assert rows
    assert {row["crs"] for row in rows} == {"EPSG:32631"}
    assert all(row["wkt"].startswith("POLYGON") for row in rows)
    if shutil.which("curl") is not None:
        told = subprocess.run(
            shlex.split(documented_curl(server)), capture_output=True, text=True, check=True
        )
        by_curl = json.loads(told.stdout)["predictions"]
        assert len(by_curl) == sum(row["score"] >= 0.5 for row in rows)
    windows = np.zeros((2, 64, 64, 3), int).tolist()
    status, answer = ask(server, {"inputs": {"raster": windows}})
    assert status == 200, answer
    assert np.shape(answer["predictions"]) == (2, 1)
    for name, sentence in (
        ("/etc/passwd", "no file below the folder that this server reads"),
        ("http://127.0.0.1:1/a.tif", "reads from no such host"),
    ):
        frame = {"columns": ["raster"], "data": [[name]]}
        status, answer = ask(server, {"dataframe_split": frame})
        assert status == 400
        assert sentence in answer["message"]
        assert "Traceback" not in json.dumps(answer)
