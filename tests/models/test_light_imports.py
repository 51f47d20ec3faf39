"""What a search with torch needs of this room imports with NumPy and torch alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKED = ("pydantic", "rasterio", "mlflow", "pandas", "scipy", "geopandas", "torchvision", "timm")
MODULES = (
    "networks", "backbones", "layer_fusion", "pixel_ranges", "input_normalization",
    "apply_calibration",
)  # fmt: skip


def import_without(blocked: tuple[str, ...], module: str) -> str:
    """Import a module in a process where other packages are missing; return its errors."""
    code = f"import sys\nfor name in {blocked!r}:\n    sys.modules[name] = None\nimport {module}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_networks_import_with_numpy_and_torch_alone(name: str) -> None:
    assert import_without(BLOCKED, f"windhover.models.{name}") == ""


def test_the_torch_scorer_imports_without_the_stages_packages() -> None:
    blocked = ("pydantic", "rasterio", "mlflow", "pandas")
    assert import_without(blocked, "windhover.inference.torch_scorer") == ""
