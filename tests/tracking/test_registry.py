"""From an evaluated run to an alias that a search takes: kept files, versions, and what is said
when there are none.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import torch

from conftest import MakeScene
from fake_models import write_bundle
from windhover.errors import MissingFileError, ParameterError
from windhover.inference.detector import Detector
from windhover.models.apply_calibration import window_scores
from windhover.models.bundle import load_bundle
from windhover.params import read_yaml
from windhover.tracking import registry
from windhover.tracking.mlflow_client import EXPERIMENT, open_mlflow
from windhover.tracking.runs import resume_run
from windhover.tracking.tracked_model import ServedModel

pytestmark = [
    pytest.mark.usefixtures("mlflow_tables"),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one evaluated run, and one that is not."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("weights.safetensors", "model.json", "metrics.json"):
        (folder / name).write_text(name)
    with resume_run("0123456789abcdef", folder) as tracker:
        for name in ("weights.safetensors", "model.json"):
            tracker.log_file(folder / name, "bundle")
            tracker.log_file(folder / name, "bundle/second_stage")
        tracker.log_file(folder / "metrics.json", "evaluation")
        tracker.set_description("AP 0.9 at new airports")
    with resume_run("ffffffffffffffff", folder) as tracker:
        tracker.log_file(folder / "metrics.json", "other")
    return folder


def test_files_of_a_run_are_found_by_the_key_of_its_weights(root: Path) -> None:
    assert (
        registry.download_run_files("0123456789abcdef", "evaluation", root) / "metrics.json"
    ).read_text() == "metrics.json"


def test_a_promoted_model_is_what_its_alias_names(root: Path) -> None:
    assert registry.promote("0123456789abcdef", "jets", "champion", root=root) == 1
    folder = registry.fetch_model("models:/jets@champion", root)
    assert {path.name for path in folder.iterdir()} == {
        "weights.safetensors",
        "model.json",
        "second_stage",
    }
    assert (folder / "second_stage" / "weights.safetensors").is_file()
    version = open_mlflow(root).MlflowClient().get_model_version("jets", "1")
    assert version.description == "AP 0.9 at new airports"
    assert registry.promote("0123456789abcdef", "jets", "champion", root=root) == 2
    assert (registry.fetch_model("models:/jets/1", root) / "model.json").is_file()


def test_a_promoted_model_says_its_shapes_and_mlflow_loads_it(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", threshold=0.6)
    with resume_run("aaaaaaaaaaaaaaaa", tmp_path) as tracker:
        tracker.log_bundle(tmp_path / "model", "uint8", (64, 64, 3))
    registry.promote("aaaaaaaaaaaaaaaa", "jets", "champion", root=tmp_path)
    folder = registry.fetch_model("models:/jets@champion", tmp_path)
    bundle = load_bundle(folder)
    assert bundle.card == load_bundle(tmp_path / "model").card
    import mlflow

    loaded = mlflow.pyfunc.load_model("models:/jets@champion")
    assert loaded.metadata.signature.inputs.input_names() == ["raster"]
    assert [param.name for param in loaded.metadata.signature.params] == [
        "threshold",
        "gsd_m",
        "aoi",
    ]
    assert list(loaded.input_example["raster"]) == ["scene.tif"]
    assert loaded.metadata.metadata["window_shape"] == [64, 64, 3]
    windows = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    pixels = bundle.normalizer()(torch.from_numpy(windows).permute(0, 3, 1, 2))
    with torch.inference_mode():
        logits = bundle.network()(pixels).logits[:, :, 0, 0].numpy()
    assert loaded.predict(windows) == pytest.approx(
        window_scores(logits, bundle.calibration), abs=1e-6
    )


def test_rasters_give_the_rows_of_a_detector(tmp_path: Path, make_scene: MakeScene) -> None:
    from mlflow.exceptions import MlflowException

    write_bundle(tmp_path / "model", threshold=0.6)
    raster = str(make_scene())
    model = ServedModel(str(tmp_path / "model"))
    rows = model.predict({"raster": np.array([raster, raster], object)}, {"threshold": 0.05})
    expected = Detector.from_bundle(tmp_path / "model").detect(raster, threshold=0.05)
    assert len(rows) == 2 * len(expected) > 0
    assert set(rows["crs"]) == {"EPSG:32631"}
    boxes = shapely.from_wkt(rows["wkt"].to_numpy())[: len(expected)]
    assert shapely.equals_exact(boxes, expected.geometry.to_numpy(), 1e-6).all()
    none = model.predict({"raster": np.array([raster], object)}, {"threshold": 1.0})
    assert list(none.columns) == list(rows.columns)
    assert none.empty
    around = "POLYGON ((1 45, 1 46, 2 46, 2 45, 1 45))"
    request = pd.DataFrame({"raster": [raster]})
    assert len(model.predict(request, {"aoi": around})) == len(model.predict(request))
    for request, params, sentence in (
        ({"path": ["a"]}, {}, "needs the column `raster`, got path"),
        ({"raster": [3]}, {}, "must hold paths or addresses, got 3"),
        ({"raster": ["none.tif"]}, {}, "no such file"),
        ({"raster": [raster]}, {"threshold": 1.5}, "must be in 0..1, got 1.5"),
        ({"raster": [raster]}, {"gsd_m": -1.0}, "`gsd_m` must be a number from 0 on"),
        ({"raster": [raster]}, {"aoi": "POLYGON ((0"}, "`aoi`: no WKT"),
        (np.zeros((2, 32, 64, 3), np.uint8), {}, "windows must be"),
    ):
        with pytest.raises(MlflowException, match=re.escape(sentence)) as caught:
            model.predict(request, params)
        assert "\n" not in caught.value.message


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(MissingFileError, match="nobody: no run has this id, name or model key"):
        registry.download_run_files("nobody", "evaluation", root)
    with pytest.raises(MissingFileError, match="run ffffffffffffffff: keeps no `bundle`"):
        registry.promote("ffffffffffffffff", "jets", "champion", root=root)
    with pytest.raises(MissingFileError, match=r"models:/jets@nobody: no such registered model"):
        registry.fetch_model("models:/jets@nobody", root)
    with pytest.raises(MissingFileError, match=r"models:/jets: no such registered model"):
        registry.fetch_model("models:/jets", root)


def check_requirements(model: Path) -> None:
    """Check that a model pins the packages of others, and carries this package's own source."""
    lines = (model / "requirements.txt").read_text().split()
    names = {line.partition("==")[0] for line in lines}
    assert all("==" in line and "+" not in line for line in lines), lines
    assert {"mlflow", "numpy", "scipy", "torch", "pydantic"} <= names
    assert not {name for name in names if "windhover" in name}, "on the index it is not ours"
    assert (model / "code" / "windhover" / "models" / "bundle.py").is_file()
    # what an environment or an image is made of
    environment = read_yaml(model / "python_env.yaml")
    assert "-r requirements.txt" in environment["dependencies"]
    assert environment["python"] == platform.python_version()
    flavor = read_yaml(model / "MLmodel")["flavors"]["python_function"]
    assert flavor["env"]["virtualenv"] == "python_env.yaml"
    assert flavor["code"] == "code"
    assert not list((model / "code").rglob("__pycache__"))


def test_a_finished_model_pins_its_requirements(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    with resume_run("bbbbbbbbbbbbbbbb", tmp_path) as tracker:
        tracker.log_bundle(tmp_path / "model", "uint8", (64, 64, 3))
    folder = registry.download_run_files("bbbbbbbbbbbbbbbb", "bundle", tmp_path)
    check_requirements(folder)
    code = (
        "import sys, windhover, mlflow, numpy\n"
        f"model = mlflow.pyfunc.load_model({str(folder)!r})\n"
        "print(windhover.__file__, model.predict(numpy.zeros((1, 64, 64, 3), numpy.uint8)).shape)"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder / "code")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == [str(folder / "code/windhover/__init__.py"), "(1,", "1)"]


def test_a_trained_model_pins_its_requirements(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    with resume_run("cccccccccccccccc", tmp_path) as tracker:
        tracker.log_model(tmp_path / "model", np.zeros((1, 64, 64, 3), np.uint8))
    import mlflow

    runs = mlflow.search_runs(experiment_names=[EXPERIMENT], output_format="list")
    folder = mlflow.artifacts.download_artifacts(f"runs:/{runs[0].info.run_id}/model")
    check_requirements(Path(folder))


@pytest.mark.parametrize(
    "alias", ["", "v1", "V12", "latest", "a b", "a@b", "a/b", "a.b", "a" * 256]
)
def test_an_alias_that_the_registry_refuses_is_found_at_the_door(root: Path, alias: str) -> None:
    with pytest.raises(ParameterError, match=r"--alias: .*Choose another alias"):
        registry.promote("0123456789abcdef", "never", alias, root=root)
    with pytest.raises(MissingFileError, match="no such registered model"):
        registry.fetch_model("models:/never/1", root)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", "it's", 'a"b', "a" * 256])
def test_a_name_that_the_registry_refuses_is_found_at_the_door(root: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=r"--name: .*Choose another name"):
        registry.promote("0123456789abcdef", name, "champion", root=root)


@pytest.mark.parametrize("alias", ["best", "v1-best", "version_2", "A" * 255])
def test_an_alias_that_it_takes_is_set(root: Path, alias: str) -> None:
    version = registry.promote("0123456789abcdef", "Jets 2.0", alias, root=root)
    assert version >= 1
    assert (registry.fetch_model(f"models:/Jets 2.0@{alias}", root) / "model.json").is_file()
