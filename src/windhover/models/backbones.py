"""Backbones of torchvision and timm by name: any band count, pretrained or not, without their
classifier.

A backbone maps normalised pictures (B, C, S, S) to features and knows nothing of windows, heads or
classes. Files of weights are read without running code of theirs. Refuses any other source of
networks.
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

DOWNLOAD = "default"  # weights: the library's own
TIMM = "timm/"  # prefix that asks for timm where both libraries know a name
FIXED_PX = 224  # side that torchvision's transformers were made for
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
)  # keys under which training scripts keep a state dict


class Backbone(NamedTuple):
    """A feature extractor and what it wants."""

    module: nn.Module
    n_features: int
    fixed_px: int | None  # the only side it takes; None where any will do


def make_backbone(name: str, n_bands: int, weights: str | None) -> Backbone:
    """Build a classifier of torchvision or timm by its name and take its classifier off.

    Args:
        name: torchvision's name, such as `resnet18`, else timm's, such as `resnet10t`;
            `timm/...` asks for timm's.
        n_bands: bands of the input.
        weights: null for random ones; `default` for the library's own, which it downloads; else
            a local file that holds the state dict of the plain network, of any number of bands and
            classes (.safetensors, or torch's).

    Raises:
        ParameterError: neither library has a classifier of that name, or no weights for it.
        MissingFileError: there is no such file of weights, or they cannot be downloaded.
        FormatError: the file holds no weights of this network.
    """
    build = _torchvision if _in_torchvision(name) else _timm
    with _downloading(name, weights):
        module, classifier, fixed_px = build(name, weights == DOWNLOAD)
    if weights not in (None, DOWNLOAD):
        _load_local(module, Path(str(weights)), classifier)
    adapt_bands(module, n_bands, keep=weights is not None)
    for layer in classifier:
        _replace(module, layer, nn.Identity())
    return Backbone(module, _count_features(module, n_bands, fixed_px), fixed_px)


def _in_torchvision(name: str) -> bool:
    from torchvision import models

    return name in models.list_models(module=models)


def _torchvision(name: str, download: bool) -> tuple[nn.Module, tuple[str, ...], int | None]:
    """Return a network of torchvision, the name of its last linear (or 1x1) layer, and the side it
    is bound to.
    """
    from torchvision import models

    arguments: dict[str, Any] = {"weights": "DEFAULT" if download else None}
    if name in (
        "googlenet",
        "inception_v3",
    ):  # their ImageNet weights would change the input a second time
        arguments |= (
            {"transform_input": False} if download else {"init_weights": True, "aux_logits": False}
        )
    module = models.get_model(name, **arguments)
    if getattr(module, "aux_logits", False):
        module.aux_logits = module.AuxLogits = None
    last = [
        key for key, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    ][-1]
    return module, (last,), FIXED_PX if name.startswith(("vit", "maxvit", "swin")) else None


def _timm(name: str, download: bool) -> tuple[nn.Module, tuple[str, ...], int | None]:
    """Return a network of timm, the names of its classifiers, and the side it is bound to."""
    import timm

    plain = name.removeprefix(TIMM)
    if not timm.is_model(plain):
        raise ParameterError(_unknown_sentence(name))
    module = timm.create_model(plain, pretrained=download)
    config: dict[str, Any] = dict(module.default_cfg)  # type: ignore[arg-type]
    named = config["classifier"] or ()
    side = int(config["input_size"][-1]) if config.get("fixed_input_size") else None
    return module, (named,) if isinstance(named, str) else tuple(named), side


def _unknown_sentence(name: str) -> str:
    import timm
    from torchvision import models

    known = ["valid64", "course", *models.list_models(module=models), *timm.list_models()]
    close = get_close_matches(name.removeprefix(TIMM), known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"no network is called {name!r}.{hint} Choose valid64, course, or a classifier of torchvision or timm such as "
        "resnet18."
    )


@contextmanager
def _downloading(name: str, weights: str | None) -> Iterator[None]:
    """Turn what goes wrong in a library's own download into one sentence, and keep its log off the
    terminal.
    """
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
        reason = " ".join(str(error).split())[:120]
        raise MissingFileError(
            f"the pretrained weights of {name} cannot be had ({reason}). Go online, name a local file of weights in "
            "the network's options, or leave `weights` out."
        ) from None
    finally:
        logger.setLevel(level)


def _load_local(module: nn.Module, path: Path, classifier: tuple[str, ...]) -> None:
    """Fill a network, in place, all but its classifier."""
    state = read_weights(path)
    first = _first_convolution(module)[0]
    stem = state.get(f"{first}.weight")
    if stem is not None and stem.dim() == 4:
        adapt_bands(module, stem.shape[1], keep=False)
    kept = {
        key: value
        for key, value in state.items()
        if not key.startswith(tuple(f"{name}." for name in classifier))
    }
    try:
        result = module.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        raise _not_of_this_network(path, " ".join(str(error).split())[:120]) from None
    lacking = [
        key
        for key in result.missing_keys
        if not key.startswith(tuple(f"{name}." for name in classifier))
    ]
    if lacking or result.unexpected_keys:
        word = "it lacks" if lacking else "it has"
        raise _not_of_this_network(path, f"{word} {(lacking or result.unexpected_keys)[0]}")


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
    from safetensors.torch import load_file

    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        AttributeError,
        SafetensorError,
    ) as error:
        raise _not_of_this_network(path, " ".join(str(error).split())[:120]) from None
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise _not_of_this_network(path, "no tensors by name")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _not_of_this_network(path: Path, reason: str) -> FormatError:
    return FormatError(f"{path}: not weights of this network ({reason}). Give its own state dict.")


def adapt_bands(module: nn.Module, n_bands: int, keep: bool) -> None:
    """Make the first convolution take `n_bands`, in place.

    Args:
        module: the network.
        n_bands: bands of the input.
        keep: whether its weights mean something: each new band then gets the old bands' mean,
            scaled to keep the output's size. Otherwise they are drawn anew, of the same deviation,
            so that bands begin unlike.
    """
    _, first = _first_convolution(module)
    if first.in_channels == n_bands:
        return
    old = first.weight.detach()  # (F, C, k, k)
    if keep:
        fresh = old.mean(dim=1, keepdim=True).repeat(1, n_bands, 1, 1) * old.shape[1] / n_bands
    else:
        fresh = (
            torch.randn(old.shape[0], n_bands, *old.shape[2:])
            * old.std()
            * (old.shape[1] / n_bands) ** 0.5
        )
    first.in_channels, first.weight = n_bands, nn.Parameter(fresh)


def _first_convolution(module: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            return name, layer
    raise ParameterError(
        f"{type(module).__name__} begins with no convolution, so it cannot take other bands. Choose another."
    )


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, layer)


def _count_features(module: nn.Module, n_bands: int, fixed_px: int | None) -> int:
    """Return how many features one picture gives; the network's mode stays as it was."""
    side, training = fixed_px or 64, module.training
    try:
        with torch.no_grad():
            features = module.eval()(torch.zeros(1, n_bands, side, side))
    finally:
        module.train(training)
    return int(features.flatten(1).shape[1])
