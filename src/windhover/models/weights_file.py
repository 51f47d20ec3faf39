"""The weights of a model as a file: safetensors, read and written as arrays, without torch.

Files of earlier versions (`weights.pt`) are read too, by torch, as tensors alone: nothing is ever
unpickled into code.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from windhover.errors import FormatError, MissingFileError
from windhover.files import atomic_file

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
OLD_WEIGHTS = "weights.pt"  # of earlier versions
MISSING_ADVICE = f"A model folder holds {WEIGHTS} and model.json."
BROKEN_ADVICE = "Restore it, or train again."

Weights: TypeAlias = Mapping[str, NDArray[Any]]


def as_arrays(weights: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return weights as contiguous arrays by name; tensors of torch are copied to the CPU."""
    arrays = {}
    for name, value in weights.items():
        if hasattr(value, "detach"):  # a tensor; torch itself is not needed to know it
            value = value.detach().cpu().numpy()
        arrays[name] = np.asarray(value, order="C")
    return arrays


def content_key(weights: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over names, shapes, types and values."""
    digest = hashlib.sha256()
    arrays = as_arrays(weights)
    for name in sorted(arrays):
        array = arrays[name]
        # types are written as torch names them, as in the first models
        digest.update(f"{name}|torch.{array.dtype}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def write_weights(folder: Path, weights: Weights) -> None:
    """Write the weights of a model folder; equal weights give equal bytes."""
    from safetensors.numpy import save

    content = save(dict(weights))
    with atomic_file(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    (folder / OLD_WEIGHTS).unlink(missing_ok=True)


def read_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """Read the weights of a model folder.

    Raises:
        MissingFileError: there are none.
        FormatError: the file is damaged, or holds something else.
    """
    path = folder / WEIGHTS
    if path.is_file():
        return _read_safetensors(path)
    if (folder / OLD_WEIGHTS).is_file():
        return _read_old_weights(folder / OLD_WEIGHTS)
    raise MissingFileError(f"{path}: no such file. {MISSING_ADVICE}")


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load

    try:
        weights: dict[str, NDArray[Any]] = load(path.read_bytes())
    except Exception:  # noqa: BLE001  # damaged bytes can raise any error in the reader
        raise _not_weights(path) from None
    return {name: _in_single_precision(array) for name, array in weights.items()}


def _in_single_precision(array: NDArray[Any]) -> NDArray[Any]:
    """Return stored half precision as float32, in which networks compute; others unchanged."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _read_old_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read a file of torch, as earlier versions wrote it."""
    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  # damaged bytes can raise any error in torch's reader
        raise _not_weights(path) from None
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.items())):
        raise FormatError(f"{path}: must hold tensors by name. {BROKEN_ADVICE}")
    return as_arrays(weights)


def _not_weights(path: Path) -> FormatError:
    return FormatError(f"{path}: not a file of weights, or cut short. {BROKEN_ADVICE}")


def _is_weight(item: tuple[Any, Any]) -> bool:
    """Return whether a name and a value are a tensor by name that is all there in memory."""
    import torch

    name, value = item
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        return False
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        return False
    # a tensor that repeats few bytes would fill the memory when it is copied
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()
