"""Names the optional part of the installation that an import needs.

The base installation reads, inspects and exports; searching, training and tracking need extras.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from windhover.errors import MissingExtraError

DISTRIBUTION = "windhover-eo"
# top-level package -> extra that installs it
EXTRAS = {
    "torch": "torch",
    "torchvision": "torch",
    "timm": "torch",
    "segmentation_models_pytorch": "torch",
    "openvino": "openvino",
    "onnxruntime": "onnx",
    "onnx": "train",
    "nncf": "train",
    "lightning": "train",
    "albumentations": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "pystac": "stac",
    "distributed": "dask",
    "mlflow": "pipeline",
    "optuna": "pipeline",
    "dvc": "pipeline",
}
ACTIVITIES = {
    "torch": "running the network by torch",
    "onnx": "running the network by onnxruntime",
    "openvino": "running the network by OpenVINO",
    "stac": "reading and writing STAC",
    "dask": "running a plan on a cluster",
    "train": "training",
    "pipeline": "running the pipeline",
}


@contextmanager
def explain_missing_extras() -> Iterator[None]:
    """Turn the failed import of an optional package into one sentence that names the extra.

    Raises:
        MissingExtraError: a package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(package)
        if extra is None:
            raise
        raise MissingExtraError(
            f"{ACTIVITIES[extra]} needs {package}: pip install '{DISTRIBUTION}[{extra}]'"
        ) from error
