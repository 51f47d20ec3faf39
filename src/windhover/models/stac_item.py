"""The STAC item of a model folder, by the MLM extension: what catalogs of models read.

Plain JSON with relative addresses. It claims no place on Earth and no time: scenes of other places
are what a model is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.files import sha256_file
from windhover.models.card import CARD, Card
from windhover.models.graph_files import GRAPHS
from windhover.models.model_description import ModelDescription
from windhover.models.weights_file import WEIGHTS

ITEM = "item.json"
MLM_TASKS = {"objects": "object-detection", "coverage": "semantic-segmentation"}
TITLES = {"objects": ("Detector", "Finds"), "coverage": ("Map", "Maps")}
STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.6.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
# STAC's widest range: a model has no time of its own
ALWAYS = {
    "datetime": None,
    "start_datetime": "1900-01-01T00:00:00Z",
    "end_datetime": "9999-12-31T23:59:59Z",
}
SHA256_MULTIHASH = "1220"  # code and length, before the digest
# arrays of a network that are no parameters
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
MODEL_FILES = {
    CARD: ("Card of the model", "application/json"),
    "calibration.json": ("Calibration of the scores", "application/json"),
    "operating_point.json": ("Thresholds and search settings", "application/json"),
    "README.md": ("Model card", "text/markdown"),
}


def model_item(
    folder: Path,
    card: Card,
    weights: Mapping[str, NDArray[Any]],
    *,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return the STAC item of a model folder as JSON values.

    Args:
        folder: whose files become assets, with sizes and checksums.
        card: of the model.
        weights: arrays by name.
        thresholds: score that each class must reach.
    """
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": item_name(card),
        "geometry": None,
        "properties": _properties(card, weights, thresholds or {}),
        "links": [],
        "assets": dict(_assets(folder, card)),
    }


def item_name(card: Card) -> str:
    """Return the name of a model in catalogs."""
    return f"windhover-{card.name}"


def _properties(
    card: Card, weights: Mapping[str, NDArray[Any]], thresholds: Mapping[str, float]
) -> dict[str, Any]:
    """Return the properties of the item."""
    about = card.description or ModelDescription()
    noun, verb = TITLES[card.task]
    properties: dict[str, Any] = {
        **ALWAYS,
        "title": f"{noun} of {', '.join(card.classes)}",
        "description": (
            f"{verb} {', '.join(card.classes)} in rasters of {card.gsd_m:g} m per px, bands "
            f"{', '.join(card.bands)}, {card.dtype}. By windhover detect."
        ),
        "license": about.license or "other",
        "gsd": card.gsd_m,
        "mlm:name": item_name(card),
        "mlm:architecture": card.network.name,
        "mlm:tasks": [MLM_TASKS[card.task]],
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": count_parameters(weights),
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(card)],
        "mlm:output": _outputs(card),
        "mlm:hyperparameters": _hyperparameters(card, thresholds),
    }
    if about.sensor is not None:
        properties["instruments"] = [about.sensor]
    return properties


def count_parameters(weights: Mapping[str, NDArray[Any]]) -> int:
    """Return how many numbers of the weights are learned."""
    return sum(int(np.size(array)) for name, array in weights.items() if not name.endswith(BUFFERS))


def _input(card: Card) -> dict[str, Any]:
    """Return what the network takes: pixels at the training GSD, normalised."""
    scaling = [
        {"type": "z-score", "mean": mean, "stddev": std}
        for mean, std in zip(card.mean, card.std, strict=True)
    ]
    return {
        "name": "pixels",
        "description": (
            f"Pixels at {card.gsd_m:g} m; windows of {card.window_px} px or more. The graphs hold "
            "the scaling."
        ),
        "bands": list(card.bands),
        "input": {
            "shape": [-1, len(card.bands), -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": card.dtype,
        },
        "value_scaling": scaling,
        "resize_type": None,
        "pre_processing_function": None,
    }


def _outputs(card: Card) -> list[dict[str, Any]]:
    """Return what the network gives for every window."""
    classes = [
        {"value": index, "name": re.sub(r"[^0-9A-Za-z_-]", "_", name) or "_", "description": name}
        for index, name in enumerate(card.classes)
    ]
    channels = {"logits": len(classes), "offsets_px": 2, "log_sizes": 2}
    outputs = []
    for name, number in channels.items():
        output: dict[str, Any] = {
            "name": name,
            "tasks": [MLM_TASKS[card.task]],
            "result": {
                "shape": [-1, number, -1, -1],
                "dim_order": ["batch", "channel", "height", "width"],
                "data_type": "float32",
            },
            "post_processing_function": None,
        }
        if name == "logits":
            output["classification:classes"] = classes
        outputs.append(output)
    return outputs


def _hyperparameters(card: Card, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return the numbers by which windows are laid and detections chosen."""
    numbers: dict[str, Any] = {"window_px": card.window_px, "stride_px": card.stride_px}
    if thresholds:
        numbers["thresholds"] = dict(thresholds)
    return numbers


def _assets(folder: Path, card: Card) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the files of a model folder by name, sorted by kind and path."""
    for path in sorted(folder.rglob(WEIGHTS)):
        yield (
            _key(folder, path),
            _model_asset(
                folder, path, kind="safetensors.torch.save_file", media="application/octet-stream"
            ),
        )
    for path in sorted(folder.rglob(f"{GRAPHS}/*.onnx")):
        media = "application/octet-stream; framework=onnx; profile=onnx"
        yield _key(folder, path), _model_asset(folder, path, kind="onnx", media=media)
    for name, (title, media) in MODEL_FILES.items():
        if (folder / name).is_file():
            yield name, _asset(folder, folder / name, title=title, media=media, role="metadata")


def _key(folder: Path, path: Path) -> str:
    """Return the name of an asset: its path in the folder."""
    return path.relative_to(folder).as_posix()


def _model_asset(folder: Path, path: Path, *, kind: str, media: str) -> dict[str, Any]:
    """Return an asset that a network is loaded from."""
    asset = _asset(folder, path, title=path.name, media=media, role="mlm:model")
    return asset | {"mlm:artifact_type": kind}


def _asset(folder: Path, path: Path, *, title: str, media: str, role: str) -> dict[str, Any]:
    """Return an asset with size and checksum."""
    return {
        "href": f"./{_key(folder, path)}",
        "title": title,
        "type": media,
        "roles": [role],
        "file:size": path.stat().st_size,
        "file:checksum": SHA256_MULTIHASH + sha256_file(path),
    }
