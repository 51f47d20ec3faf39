"""The signature of a tracked model for MLflow, and its example: rasters in, detections out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _save_example
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

from windhover.tracking.tracked_model import OUTPUT_COLUMNS, RASTER, TEXT_COLUMNS

EXAMPLE_RASTER = "scene.tif"
EXAMPLE_PARAMS = {"threshold": 0.5}


def model_signature() -> ModelSignature:
    """Return the signature: a column of rasters, three parameters, rows of detections.

    The column is a tensor of objects, the one kind of input by which MLflow lets arrays of windows
    through too.
    """
    columns: list[ColSpec | TensorSpec] = []
    for name in OUTPUT_COLUMNS:
        kind = "string" if name in TEXT_COLUMNS else "double"
        columns.append(ColSpec("boolean" if name == "edge" else kind, name))
    params = [
        ParamSpec("threshold", "double", None),
        ParamSpec("gsd_m", "double", None),
        ParamSpec("aoi", "string", None),
    ]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("O"), (-1,), RASTER)]),
        outputs=Schema(columns),
        params=ParamSchema(params),
    )


def window_metadata(dtype: Any, window_shape: tuple[int, ...]) -> dict[str, Any]:
    """Return what MLflow's page shows of the windows that the model also takes."""
    return {"window_dtype": str(np.dtype(dtype)), "window_shape": list(window_shape)}


def input_example() -> tuple[pd.DataFrame, dict[str, float]]:
    """Return a request: one raster, and a threshold."""
    return pd.DataFrame({RASTER: [EXAMPLE_RASTER]}), EXAMPLE_PARAMS


def save_example(model: Model, folder: str) -> None:
    """Write the example next to a model's description, which then names it."""
    _save_example(model, input_example(), folder)
