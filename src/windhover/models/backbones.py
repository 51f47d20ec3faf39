"""Backbones of torchvision and timm by name: any band count, pretrained or not, no classifier.

A backbone maps normalized pictures (B, C, S, S) to features; windows, heads and classes are added
elsewhere. Files of weights are read without running code in them.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.geometry.windows import WINDOW_PX

DOWNLOAD = "default"  # weights: the library's own
TIMM = "timm/"  # prefix that selects timm where both libraries have a network of that name
FIXED_PX = 224  # input side of torchvision's transformers
TRANSFORMERS = ("vit", "maxvit", "swin")  # beginnings of their names
# their ImageNet weights would normalize the input a second time
WITH_TRANSFORM_INPUT = ("googlenet", "inception_v3")
# keys under which training scripts keep a state dict
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")


class Backbone(NamedTuple):
    """A feature extractor and its sizes."""

    module: nn.Module
    n_features: int
    fixed_px: int | None  # the only input side it takes; None where any will do


class Classifier(NamedTuple):
    """A network of a library before its last layers are removed."""

    module: nn.Module
    last_layers: tuple[str, ...]  # names of the layers that give class logits
    fixed_px: int | None


def make_backbone(name: str, n_bands: int, weights: str | None) -> Backbone:
    """Build a classifier of torchvision or timm by its name, without its last layers.

    Args:
        name: torchvision's name, such as `resnet18`, else timm's, such as `resnet10t`;
            `timm/...` asks for timm's.
        n_bands: bands of the input.
        weights: null for random ones; `default` for the library's own, which it downloads; else
            a local file with the state dict of the plain network, of any number of bands and
            classes (.safetensors, or torch's).

    Raises:
        ParameterError: neither library has a classifier of that name, or no weights for it.
        MissingFileError: there is no such file of weights, or they cannot be downloaded.
        FormatError: the file holds no weights of this network.
    """
    build = _build_torchvision if _in_torchvision(name) else _build_timm
    with download_errors(name, weights):
        module, last_layers, fixed_px = build(name, weights == DOWNLOAD)
    if weights not in (None, DOWNLOAD):
        _load_local(module, Path(str(weights)), last_layers)
    adapt_bands(module, n_bands, keep=weights is not None)
    for layer in last_layers:
        _replace_layer(module, layer, nn.Identity())
    return Backbone(module, _count_features(module, n_bands, fixed_px), fixed_px)


def _in_torchvision(name: str) -> bool:
    from torchvision import models

    return name in models.list_models(module=models)


def _build_torchvision(name: str, download: bool) -> Classifier:
    """Build a network of torchvision."""
    from torchvision import models

    arguments: dict[str, Any] = {"weights": "DEFAULT" if download else None}
    if name in WITH_TRANSFORM_INPUT:
        if download:
            arguments |= {"transform_input": False}
        else:
            arguments |= {"init_weights": True, "aux_logits": False}
    module = models.get_model(name, **arguments)
    if getattr(module, "aux_logits", False):
        module.aux_logits = module.AuxLogits = None
    layers = [
        key for key, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    fixed_px = FIXED_PX if name.startswith(TRANSFORMERS) else None
    return Classifier(module, (layers[-1],), fixed_px)


def _build_timm(name: str, download: bool) -> Classifier:
    """Build a network of timm."""
    import timm

    timm_name = name.removeprefix(TIMM)
    if not timm.is_model(timm_name):
        raise ParameterError(_unknown_network_message(name))
    module = timm.create_model(timm_name, pretrained=download)
    config: dict[str, Any] = dict(module.default_cfg)  # type: ignore[arg-type]
    last_layers = config["classifier"] or ()
    if isinstance(last_layers, str):
        last_layers = (last_layers,)
    fixed_px = None
    if config.get("fixed_input_size"):
        fixed_px = int(config["input_size"][-1])
    return Classifier(module, tuple(last_layers), fixed_px)


def _unknown_network_message(name: str) -> str:
    import timm
    from torchvision import models

    known = ["valid64", "baseline_cnn", *models.list_models(module=models), *timm.list_models()]
    close = get_close_matches(name.removeprefix(TIMM), known, n=1)
    hint = ""
    if close:
        hint = f" Did you mean {close[0]}?"
    return (
        f"no network is called {name!r}.{hint} Choose valid64, baseline_cnn, unet, "
        "or a classifier of torchvision or timm such as resnet18."
    )


@contextmanager
def download_errors(name: str, weights: str | None) -> Iterator[None]:
    """Turn errors of a library's own download into one sentence, and silence its log."""
    if weights != DOWNLOAD:
        yield
        return
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        reason = _one_line(error)
        raise MissingFileError(
            f"the pretrained weights of {name} cannot be had ({reason}). Go online, name a local "
            "file of weights in the network's options, or leave `weights` out."
        ) from None
    finally:
        logger.setLevel(level)


def _load_local(module: nn.Module, path: Path, last_layers: tuple[str, ...]) -> None:
    """Load weights from a file into a network, in place, all but those of its last layers."""
    state = read_weights(path)
    first = _first_convolution(module)[0]
    stem = state.get(f"{first}.weight")
    if stem is not None and stem.dim() == 4:
        adapt_bands(module, stem.shape[1], keep=False)
    prefixes = tuple(f"{name}." for name in last_layers)
    kept = {key: value for key, value in state.items() if not key.startswith(prefixes)}
    try:
        result = module.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise _wrong_weights_error(path, _one_line(error)) from None
    missing = [key for key in result.missing_keys if not key.startswith(prefixes)]
    if missing:
        raise _wrong_weights_error(path, f"it lacks {missing[0]}")
    if result.unexpected_keys:
        raise _wrong_weights_error(path, f"it has {result.unexpected_keys[0]}")


def _one_line(error: Exception) -> str:
    """Return the beginning of an error's message on one line."""
    return " ".join(str(error).split())[:120]


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read tensors by name from a .safetensors file or one of torch.save; no code in it is run.

    Raises:
        MissingFileError: no such file.
        FormatError: it holds no tensors by name.
    """
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file of pretrained weights. Give a local state dict or leave it out."
        )
    from safetensors import SafetensorError

    errors = (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        AttributeError,
        SafetensorError,
    )
    try:
        state = _read_state_dict(path)
    except errors as error:
        raise _wrong_weights_error(path, _one_line(error)) from None
    for key in STATE_DICT_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    holds_tensors = isinstance(state, Mapping) and all(
        isinstance(value, Tensor) for value in state.values()
    )
    if not holds_tensors:
        raise _wrong_weights_error(path, "no tensors by name")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _read_state_dict(path: Path) -> Any:
    """Return the content of a file of weights; pickled code in it is not run."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _wrong_weights_error(path: Path, reason: str) -> FormatError:
    return FormatError(f"{path}: not weights of this network ({reason}). Give its own state dict.")


def adapt_bands(module: nn.Module, n_bands: int, keep: bool) -> None:
    """Make the first convolution take `n_bands`, in place.

    Args:
        module: the network.
        n_bands: bands of the input.
        keep: whether its weights are trained: each new band then gets the mean of the old
            bands, scaled to keep the size of the output. Otherwise new weights are drawn with the
            same standard deviation, so that bands begin different.
    """
    _, first = _first_convolution(module)
    if first.in_channels == n_bands:
        return
    old = first.weight.detach()  # (F, C, k, k)
    if keep:
        mean = old.mean(dim=1, keepdim=True)
        weight = mean.repeat(1, n_bands, 1, 1) * old.shape[1] / n_bands
    else:
        random = torch.randn(old.shape[0], n_bands, *old.shape[2:])
        weight = random * old.std() * (old.shape[1] / n_bands) ** 0.5
    first.in_channels = n_bands
    first.weight = nn.Parameter(weight)


def _first_convolution(module: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name, layer
    raise ParameterError(
        f"{type(module).__name__} begins with no convolution, so it cannot take other bands. "
        "Choose another."
    )


def _replace_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)


def _count_features(module: nn.Module, n_bands: int, fixed_px: int | None) -> int:
    """Return the number of features per picture; the network's mode stays as it was."""
    side = fixed_px or WINDOW_PX
    training = module.training
    try:
        with torch.no_grad():
            features = module.eval()(torch.zeros(1, n_bands, side, side))
    finally:
        module.train(training)
    return int(features.flatten(1).shape[1])
