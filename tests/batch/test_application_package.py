"""The Application Package: valid CWL, and with staged STAC it gives STAC, by cwltool.

cwltool comes from the package index into an environment of its own, since its pins are not ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project import ROOT
from windhover.params import read_yaml

PACKAGE = ROOT / "docs" / "scale" / "application-package"
CWL = PACKAGE / "windhover.cwl"
CWLTOOL = "cwltool==3.3.20260925135507"


def test_the_package_is_a_workflow_of_one_tool_with_staged_folders() -> None:
    document: Any = read_yaml(CWL)
    workflow, tool = document["$graph"]
    assert document["cwlVersion"] == "v1.2"
    assert (workflow["class"], tool["class"]) == ("Workflow", "CommandLineTool")
    assert workflow["inputs"]["scenes"]["type"] == "Directory"
    assert workflow["outputs"]["detections"]["type"] == "Directory"
    assert set(workflow["inputs"]) == set(tool["inputs"])
    script = tool["requirements"]["InitialWorkDirRequirement"]["listing"][0]["entry"]
    assert re.findall(r"^windhover (\w+)", script, re.MULTILINE) == ["plan", "run", "collect"]
    written = json.loads(script.partition("<<END\n")[2].partition("END")[0])
    assert written["type"] == "Catalog"
    image = tool["hints"]["DockerRequirement"]["dockerPull"]
    assert image in (PACKAGE / "Dockerfile").read_text(encoding="utf-8")
    assert image.endswith(document["s:softwareVersion"])


def test_the_image_holds_wheel_and_model_and_runs_as_a_plain_user() -> None:
    text = (PACKAGE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    steps = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [step.split()[0] for step in steps]
    assert words == ["FROM", "ENV", "COPY", "RUN", "COPY", "RUN", "USER", "CMD"]
    assert re.search(r"FROM \S+:(?!latest)\S+$", steps[0])
    assert "COPY data/model /model" in steps
    assert "[torch,openvino,stac]" in text
    assert int(steps[-2].split()[1]) > 0


@pytest.fixture(scope="module")
def cwltool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return cwltool of an environment of its own; skip where it cannot be had."""
    environment = tmp_path_factory.mktemp("cwltool") / "environment"
    uv = Path(sys.executable).with_name("uv")
    for command in (
        [uv, "venv", "--python", sys.executable, environment],
        [uv, "pip", "install", "--python", environment / "bin" / "python", CWLTOOL],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs {CWLTOOL} from the package index: {done.stderr[-200:]}")
    return environment / "bin" / "cwltool"


def run_cwltool(cwltool: Path, *arguments: object, cwd: Path) -> str:
    """Run cwltool with this project's windhover on its path; return what it prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [cwltool, "--preserve-environment", "PYTHONPATH", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def write_staged(folder: Path, make_scene: Any) -> None:
    """Write a catalog of two items with their rasters, as a platform stages them in."""
    import pystac

    catalog = pystac.Catalog("staged", "scenes", catalog_type=pystac.CatalogType.SELF_CONTAINED)
    for number, name in enumerate("ab"):
        raster = make_scene(f"staged/{name}/{name}.tif", seed=number)
        time = pystac.utils.str_to_datetime("2026-05-01T10:00:00Z")
        item = pystac.Item(name, geometry=None, bbox=None, datetime=time, properties={})
        asset = pystac.Asset(f"./{raster.name}", media_type="image/tiff", roles=["data"])
        item.add_asset("image", asset)
        catalog.add_item(item)
    catalog.normalize_hrefs(str(folder))
    catalog.save()


@pytest.mark.slow
def test_cwltool_validates_and_runs_the_package(
    cwltool: Path, make_scene: Any, tmp_path: Path
) -> None:
    pystac = pytest.importorskip("pystac", reason="needs pystac: pip install 'windhover-eo[stac]'")
    from fake_models import write_bundle

    run_cwltool(cwltool, "--validate", CWL, cwd=tmp_path)
    write_staged(tmp_path / "staged", make_scene)
    write_bundle(tmp_path / "model", threshold=0.6)
    inputs = ["--scenes", tmp_path / "staged", "--workers", 1, "--model", tmp_path / "model"]
    options = ["--no-container", "--outdir", tmp_path / "out"]
    printed = run_cwltool(cwltool, *options, f"{CWL}#windhover", *inputs, cwd=tmp_path)
    found = Path(json.loads(printed)["detections"]["path"])
    catalog = pystac.Catalog.from_file(str(found / "catalog.json"))
    assert [item.id for item in catalog.get_items(recursive=True)] == ["a", "b"]
    for item in catalog.get_items(recursive=True):
        assert Path(item.assets["detections"].get_absolute_href()).is_file()
    assert (found / "detections" / "manifest.json").is_file()
    shutil.rmtree(found)
