"""What a tracked model needs to run elsewhere: the package's own source, and pinned requirements.

The source travels with the model, because the name `windhover` on the package index is another
project's; requirements name only packages of others.
"""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import windhover

# packages that a search imports; MLflow adds itself
REQUIRED_PACKAGES = (
    "affine",
    "geopandas",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pydantic",
    "pyogrio",
    "pyproj",
    "rasterio",
    "ruamel.yaml",
    "safetensors",
    "scipy",
    "shapely",
    "simplejpeg",
    "timm",
    "torch",
    "torchvision",
)
# MLflow's names for them
CODE_FOLDER = "code"
ENVIRONMENT_FILE = "python_env.yaml"


def pinned_requirements() -> list[str]:
    """Return the packages that a model needs with the versions installed here."""
    # without the local part of a version, such as +cpu, which the index does not have
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED_PACKAGES]


def write_environment(folder: Path, *, mlflow_version: str) -> None:
    """Write the Python version and the pinned packages that MLflow makes an environment of."""
    requirements = [f"mlflow=={mlflow_version}", *pinned_requirements()]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    lines = [f"python: {platform.python_version()}", "dependencies:", "- -r requirements.txt"]
    (folder / ENVIRONMENT_FILE).write_text("\n".join(lines) + "\n")


def source_folder() -> Path:
    """Return the folder of the package's own source."""
    return Path(windhover.__file__).parent


def copy_source(folder: Path) -> None:
    """Copy the package's own source into `folder/code`, as MLflow does with `code_paths`."""
    source = source_folder()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, folder / CODE_FOLDER / source.name, ignore=ignored)
