"""Augmented copies of patches by albumentations, one seed a sample; what is known of the object
follows the pixels.

The one module that imports albumentations. Works on pictures in memory: uint8, uint16 or float32,
any number of bands. Refuses files, and transforms that need three bands where there are others.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.label_rule import Rule
from windhover.errors import ParameterError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A

THREE_BANDS = frozenset(
    [
        "HueSaturationValue",
        "ColorJitter",
        "CLAHE",
        "ISONoise",
        "RandomFog",
        "RandomSunFlare",
        "RandomShadow",
        "RandomRain",
        "RandomSnow",
        "ToSepia",
        "RGBShift",
        "FancyPCA",
        "PlanckianJitter",
        "ChromaticAberration",
        "ToGray",
        "PhotoMetricDistort",
    ]
)
SPREADS = 6.0  # of the range of 16-bit and float pixels, in standard deviations about the mean
CORNERS = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))


@dataclass(frozen=True)
class Range:
    """The pixel values that count as black and white, per band; augmentation sees 0..1 between
    them.
    """

    low: NDArray[np.float32]  # (C,)
    high: NDArray[np.float32]  # (C,)


@dataclass(frozen=True)
class Augmented:
    """Augmented pictures with their index: the columns of the patches' own, `source` (its row) and
    `variant`.
    """

    images: NDArray[Any]
    index: pd.DataFrame
    left_out: int  # copies whose object moved out of, or into, the window's centre


def pixel_range(dtype: np.dtype[Any], mean: Sequence[float], std: Sequence[float]) -> Range:
    """Return the range of pixels: the type's own for uint8, else by the training patches'
    statistics per band.
    """
    if dtype == np.uint8:
        return Range(np.zeros(len(mean), np.float32), np.full(len(mean), 255, np.float32))
    middle, spread = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    low = middle - SPREADS * spread
    return Range(np.maximum(low, 0) if dtype == np.uint16 else low, middle + SPREADS * spread)


def build_transforms(declared: Sequence[Mapping[str, Any]], n_bands: int) -> A.Compose:
    """Build the pipeline that `params.yaml` declares.

    Args:
        declared: each a mapping with `name`, albumentations' class, and its arguments.
        n_bands: bands of the pictures.

    Raises:
        ParameterError: an unknown transform or argument, or a three-band one for other bands.
    """
    steps = []
    for entry in declared:
        arguments = dict(entry)
        name = str(arguments.pop("name", ""))
        kind = getattr(A, name, None)
        if not (isinstance(kind, type) and issubclass(kind, A.BasicTransform)):
            raise ParameterError(
                f"`augment.transforms`: albumentations has no transform {name!r}. See its list of names."
            )
        if name in THREE_BANDS and n_bands != 3:
            raise ParameterError(
                f"`augment.transforms`: {name} works on 3 bands only, the patches have {n_bands}. "
                "Remove it; brightness, contrast, gamma, noise and blur take any number."
            )
        steps.append(_build(kind, name, arguments))
    return A.Compose(steps, keypoint_params=A.KeypointParams(format="xy", remove_invisible=False))


def _build(kind: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # how albumentations reports an argument it does not know
        try:
            return kind(
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in arguments.items()
                }
            )
        except (ValueError, TypeError, UserWarning) as error:
            reason = " ".join(str(error).split())[:160]
            raise ParameterError(
                f"`augment.transforms`: {name}: {reason}. Mend its arguments."
            ) from None


def stable_hash(*parts: object) -> int:
    """Return 32 bits that depend on the parts alone, the same on every machine and in every run."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def augment_patches(
    images: NDArray[Any],
    index: pd.DataFrame,
    transforms: A.Compose,
    scale: Range,
    *,
    variants: int,
    keep_original: bool,
    seed: int,
    rule: Rule,
    on_done: Callable[[float], None] = lambda _: None,
) -> Augmented:
    """Return augmented copies of patches.

    Args:
        images: (N, S, S, C) uint8, uint16 or float32.
        index: N rows; `class`, `dx_px`, `dy_px`, `w_px`, `h_px` are used and follow the pixels.
        transforms: from `build_transforms`.
        scale: range of the pixels.
        variants: augmented copies of each patch.
        keep_original: whether the patch itself comes first, as variant 0.
        seed: with a patch's row and the variant, decides a copy.
        rule: the object of a positive must stay within its positive radius, that of a
            background beyond the ring.
        on_done: called with the number of patches just done.

    Returns:
        Copies in the patches' order, of the patches' dtype.
    """
    count = len(images) * (variants + keep_original)
    pictures = np.empty((count, *images.shape[1:]), images.dtype)
    rows: list[dict[str, Any]] = []
    left_out = 0
    records: list[dict[str, Any]] = index.to_dict("records")  # type: ignore[assignment]
    for source, (image, record) in enumerate(zip(images, records, strict=True)):
        if keep_original:
            pictures[len(rows)] = image
            rows.append({**record, "source": source, "variant": 0})
        for variant in range(1, variants + 1):
            transforms.set_random_seed(stable_hash(seed, source, variant))
            picture, known = augment_one(image, record, transforms, scale)
            if not _label_holds({**record, **known}, rule):
                left_out += 1
                continue
            pictures[len(rows)] = picture
            rows.append({**record, **known, "source": source, "variant": variant})
        on_done(1)
    return Augmented(
        pictures[: len(rows)],
        pd.DataFrame(rows, columns=[*index.columns, "source", "variant"]),
        left_out,
    )


def augment_one(
    image: NDArray[Any], record: Mapping[Any, Any], transforms: A.Compose, scale: Range
) -> tuple[NDArray[Any], dict[str, float]]:
    """Return one augmented picture of the same dtype, and where its object's centre and box now
    are.

    The centre and the box's corners go along as keypoints. albumentations counts from pixel
    centres, the index from
    pixel corners: half a pixel lies between.
    """
    height, width = image.shape[:2]
    points = _points(record, width, height)
    unit = np.clip(
        (image.astype(np.float32) - scale.low) / (scale.high - scale.low), 0, 1
    )  # (S, S, C)
    done = transforms(image=unit, keypoints=points)
    picture = _from_unit(done["image"].reshape(image.shape), scale, image.dtype)
    picture[(image == 0).all(-1) & (picture < 0).any(-1)] = 0
    known: dict[str, float] = {}
    moved = np.asarray(done["keypoints"], np.float64).reshape(-1, 2) + 0.5
    if len(moved):
        known |= {"dx_px": float(moved[0, 0] - width / 2), "dy_px": float(moved[0, 1] - height / 2)}
    if len(moved) == 5:
        extent = moved[1:].max(0) - moved[1:].min(0)
        known |= {"w_px": float(extent[0]), "h_px": float(extent[1])}
    return picture, known


def _points(record: Mapping[Any, Any], width: int, height: int) -> NDArray[np.float32]:
    """Return the object's centre, then the corners of its box, in pixel-centre coordinates; empty
    without an object.
    """
    center = np.array([record["dx_px"] + width / 2, record["dy_px"] + height / 2]) - 0.5
    if not np.isfinite(center).all():
        return np.empty((0, 2), np.float32)
    size = np.array([record["w_px"], record["h_px"]], float)
    corners = center + np.array(CORNERS) * size if np.isfinite(size).all() else np.empty((0, 2))
    return np.vstack([center, corners]).astype(np.float32)


def _from_unit(unit: NDArray[np.float32], scale: Range, dtype: np.dtype[Any]) -> NDArray[Any]:
    values = unit * (scale.high - scale.low) + scale.low
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values.astype(dtype))


def _label_holds(record: Mapping[Any, Any], rule: Rule) -> bool:
    distance = float(rule.measure(record["dx_px"], record["dy_px"]))
    if not np.isfinite(distance):
        return True
    return bool(
        distance <= rule.positive_px + 1e-3 if record["class"] else distance > rule.ignore_px - 1e-3
    )
