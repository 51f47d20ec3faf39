"""The parameters of the project that a review is made in, where it is made in one."""

from __future__ import annotations

from pathlib import Path

from windhover.params import load_params
from windhover.params.scenes import ScenesParams


def project_params(root: Path = Path()) -> ScenesParams | None:
    """Return the parameters of the scenes of a project, None outside one or without its rasters.

    Args:
        root: of the project.

    Raises:
        ParameterError: params.yaml has a fault.
    """
    if not (root / "params.yaml").is_file() or not (root / "dvc.yaml").is_file():
        return None
    params = load_params("scenes", ScenesParams, root)
    params.require_objects("windhover review")
    return params if (root / params.raw).is_dir() else None
