"""The distribution: what it requires, what each extra is for, and its wheel in another place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import windhover
from fake_models import write_bundle
from project import ROOT
from windhover.errors import MissingExtraError
from windhover.optional_dependencies import DISTRIBUTION, EXTRAS, explain_missing_extras

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL: dict[str, list[str]] = PROJECT["optional-dependencies"]
# distribution -> package, where they differ
PACKAGES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "ruamel-yaml": "ruamel",
    "scikit-learn": "sklearn",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
}
# needed by another package, never imported by the library itself
INDIRECT = {"psutil", "dvc", "pyarrow", "xstatic-leaflet"}
IMPORTABLE_WITHOUT_EXTRAS = [
    "windhover",
    "windhover.cli.app",
    "windhover.dataset.inspect_scenes",
    "windhover.evaluation.evaluate_vectors",
    "windhover.export.export_map",
    "windhover.imagery.scenes",
    "windhover.inference.detector",
    "windhover.simulate.world",
]


def distributions(requirements: list[str]) -> set[str]:
    """Return the names of requirements, without this project's own extras."""
    names = {re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0] for one in requirements}
    return names - {DISTRIBUTION}


def run_without(packages: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process in which some packages cannot be imported."""
    block = f"import sys\nfor name in {sorted(packages)}: sys.modules[name] = None\n"
    return subprocess.run(
        [sys.executable, "-c", block + code], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_version_stands_in_one_place() -> None:
    assert PROJECT["dynamic"] == ["version"]
    assert "version" not in PROJECT
    assert re.fullmatch(r"\d+\.\d+\.\d+", windhover.__version__)


def test_every_imported_package_is_required() -> None:
    graph = grimp.build_graph("windhover", include_external_packages=True, cache_dir=None)
    tops = {name.partition(".")[0] for name in graph.modules} - {"windhover"}
    imported = tops - set(sys.stdlib_module_names)
    base = {PACKAGES.get(name, name) for name in distributions(PROJECT["dependencies"])}
    assert imported - set(EXTRAS) <= base
    assert base <= imported | INDIRECT


def test_extras_name_the_packages_they_install() -> None:
    for package, extra in EXTRAS.items():
        names = {PACKAGES.get(name, name) for name in distributions(OPTIONAL[extra])}
        assert package in names, (package, extra)


def test_the_base_installation_needs_no_extra() -> None:
    imports = "\n".join(f"import {module}" for module in IMPORTABLE_WITHOUT_EXTRAS)
    done = run_without(set(EXTRAS), imports)
    assert done.returncode == 0, done.stderr


MISSING_TORCH = "running the network by torch needs torch: pip install 'windhover-eo[torch]'"


def test_a_missing_extra_is_named_in_one_sentence(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    scene = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 70, "width": 90, "dtype": "uint8"}
    grid = {"crs": "EPSG:32631", "transform": from_origin(500000, 0, 1.25, 1.25)}
    with rasterio.open(scene, "w", **profile, **grid) as raster:
        raster.write(np.zeros((3, 70, 90), np.uint8))
    code = (
        f"sys.argv = ['windhover', 'detect', {str(scene)!r}, '--model', "
        f"{str(tmp_path / 'model')!r}, '-o', {str(tmp_path / 'map.gpkg')!r}]\n"
        "from windhover.cli.app import main\n"
        "main()"
    )
    done = run_without({"torch"}, code)
    assert done.returncode == 1
    assert done.stderr == f"windhover: {MISSING_TORCH}\n"


def test_the_front_door_names_a_missing_extra(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model")
    code = f"from windhover import load_model; load_model({str(tmp_path / 'model')!r})"
    done = run_without({"torch"}, code)
    assert done.returncode == 1
    assert MISSING_TORCH in done.stderr


def test_other_failed_imports_stay_as_they_are() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"), explain_missing_extras():
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(MissingExtraError, match="training needs lightning"):  # noqa: SIM117
        with explain_missing_extras():
            raise ModuleNotFoundError("No module named 'lightning'", name="lightning.pytorch")


def test_the_front_door_is_typed_and_lazy() -> None:
    code = (
        "import windhover\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'typer'} & set(sys.modules)\n"
        "print(sorted(heavy), windhover.__all__)"
    )
    done = run_without(set(), code)
    assert done.stdout == "[] ['Detector', '__version__', 'load_model']\n", done.stderr
    from windhover.inference.detector import Detector

    assert windhover.Detector is Detector
    assert windhover.load_model.__annotations__["return"] == "Detector"
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        windhover.Detektor  # noqa: B018


def test_no_requirement_names_a_package_that_is_not_ours() -> None:
    required = distributions(PROJECT["dependencies"])
    for names in OPTIONAL.values():
        required |= distributions(names)
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required |= distributions(lines)
    assert "windhover" not in required
    assert PROJECT["name"] == DISTRIBUTION == "windhover-eo"


def test_no_page_installs_a_package_that_is_not_ours() -> None:
    pages = [ROOT / "README.md", ROOT / "Makefile", ROOT / ".ci/run", *ROOT.glob("*.md")]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")]
    pages += [*(ROOT / "src").rglob("*.py")]
    foreign = re.compile(r"\binstall\b[^\n`]*[\s'\"=]windhover(?![-_\w./])")
    faults = [
        f"{page.relative_to(ROOT)}: {match.group()}"
        for page in pages
        for match in foreign.finditer(page.read_text(encoding="utf-8"))
        if "uninstall" not in match.group()
    ]
    assert faults == []


def run_or_skip(command: list[object], **options: Any) -> None:
    """Run a command; skip the test where the package index cannot be reached."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    unreachable = ("Failed to fetch", "dns error", "Request failed", "error sending request")
    if done.returncode and any(sign in done.stderr for sign in unreachable):
        pytest.skip("needs the package index")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_detects_in_an_empty_environment(make_scene: Any, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    run_or_skip([uv, "build", "--wheel", "--out-dir", tmp_path / "dist", ROOT])
    [wheel] = (tmp_path / "dist").glob("windhover_eo-*.whl")
    environment = tmp_path / "environment"
    run_or_skip([uv, "venv", "--python", sys.executable, environment])
    install = [uv, "pip", "install", "--python", environment / "bin/python"]
    pins = ["--constraint", ROOT / "requirements.txt"]
    run_or_skip([*install, *pins, f"{wheel}[torch]"])
    scene = make_scene()
    write_bundle(tmp_path / "model", threshold=0.6)
    variables = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))
    }
    command = [environment / "bin/windhover", "detect", scene, "--model", tmp_path / "model"]
    done = subprocess.run(
        [*command, "-o", tmp_path / "found.parquet"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=variables,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found.parquet").is_file()
    listed = subprocess.run(
        [uv, "pip", "list", "--python", environment / "bin/python"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for unneeded in ("lightning", "mlflow", "dvc", "optuna", "albumentations"):
        assert f"\n{unneeded} " not in listed
