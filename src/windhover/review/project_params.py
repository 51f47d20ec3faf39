"""The parameters of the project that a review is made in, where it is made in one."""

from __future__ import annotations

from pathlib import Path

from windhover.params import load_params
from windhover.params.scenes import ScenesParams


def project_params() -> ScenesParams | None:
    """Return the parameters of the scenes of the project in the working directory.

    None outside of one, or without its rasters.

    Raises:
        ParameterError: params.yaml has a fault.
    """
    if not Path("params.yaml").is_file() or not Path("dvc.yaml").is_file():
        return None
    params = load_params("scenes", ScenesParams)
    params.require_objects("windhover review")
    return params if Path(params.raw).is_dir() else None
