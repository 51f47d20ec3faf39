"""Augmented copies of patches by albumentations, one seed per sample; objects follow the pixels.

The one module that imports albumentations. Works on pictures in memory (uint8, uint16 or float32,
any number of bands) and reads no file. Transforms that need three bands are an error for others.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.dataset.label_rule import LabelRule
from windhover.errors import ParameterError
from windhover.geometry.arrays import Floats
from windhover.params.augment import DEFAULT_TRANSFORMS
from windhover.patches.pixel_value_range import ValueRange
from windhover.patches.transform_probe import find_fault

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2

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
# corners of a box from its center, in sides
CORNERS = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
RADIUS_TOLERANCE_PX = 1e-3  # of an object that an exact transform moves along the label's radius
REASON_CHARS = 160  # of albumentations' own message that an error shows


@dataclass(frozen=True)
class Augmented:
    """Augmented patches.

    Attributes:
        images: (M, S, S, C) in the patches' dtype.
        index: M rows: the columns of the patches' own index, `source` (row of the patch) and
            `variant` (0 for the patch itself).
        n_left_out: copies whose object moved out of, or into, the center of the window.
        masks: (M, S, S, 1) class maps turned with their patches; None where none are kept.
    """

    images: NDArray[Any]
    index: pd.DataFrame
    n_left_out: int
    masks: NDArray[np.uint8] | None = None


def build_transforms(declared: Sequence[Mapping[str, Any]], n_bands: int) -> A.Compose:
    """Build the pipeline that `params.yaml` declares.

    Args:
        declared: each a mapping with `name` (a class of albumentations) and its arguments.
        n_bands: bands of the pictures.

    Every transform is tried first: one that changes the size, the number type or the range of the
    pixels, or moves labels away from them, is an error.

    Raises:
        ParameterError: an unknown transform or argument, a three-band one for other bands, or one
            that does not fit.
    """
    transforms = []
    for entry in declared:
        arguments = dict(entry)
        name = str(arguments.pop("name", ""))
        transform_class = getattr(A, name, None)
        if not isinstance(transform_class, type) or not issubclass(
            transform_class, A.BasicTransform
        ):
            raise ParameterError(
                f"`augment.transforms`: albumentations has no transform {name!r}. See its list of "
                "names."
            )
        if name in THREE_BANDS and n_bands != 3:
            raise ParameterError(
                f"`augment.transforms`: {name} works on 3 bands only, the patches have {n_bands}. "
                "Remove it; brightness, contrast, gamma, noise and blur take any number."
            )
        transforms.append(_build_transform(transform_class, name, arguments))
        _check_fit(_build_transform(transform_class, name, {**arguments, "p": 1.0}), name, n_bands)
    return _compose(transforms)


def without_unfit_defaults(
    declared: Sequence[Mapping[str, Any]], n_bands: int
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Return the transforms without those of the default that need three bands, and their names.

    Args:
        declared: transforms, of which those that are not the default's own stay.
        n_bands: of the pictures.
    """
    kept: list[Mapping[str, Any]] = []
    left_out: list[str] = []
    for entry in declared:
        is_unfit = n_bands != 3 and entry.get("name") in THREE_BANDS
        if is_unfit and dict(entry) in DEFAULT_TRANSFORMS:
            left_out.append(str(entry["name"]))
        else:
            kept.append(entry)
    return kept, left_out


def _compose(transforms: Sequence[Any]) -> A.Compose:
    """Return transforms one after another; labels beyond the border are kept."""
    keypoints = A.KeypointParams(format="xy", remove_invisible=False)
    with warnings.catch_warnings():
        # that none of them moves labels
        warnings.simplefilter("ignore", UserWarning)
        return A.Compose(transforms, keypoint_params=keypoints)


def _check_fit(transform: Any, name: str, n_bands: int) -> None:
    """Raise if a transform, always applied, does not keep size, type and place of labels.

    Raises:
        ParameterError: it does not.
    """
    pipeline = _compose([transform])

    def trial(image: NDArray[np.float32], points: Floats, seed: int) -> tuple[Any, Any]:
        pipeline.set_random_seed(seed)
        done = pipeline(image=image, keypoints=points.astype(np.float32))
        return done["image"], done["keypoints"]

    moves_labels = isinstance(transform, A.DualTransform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fault = find_fault(trial, n_bands, moves_labels=moves_labels)
    if fault is not None:
        raise ParameterError(f"`augment.transforms`: {name} {fault}")


def _without_mirrored_labels(transform_class: type[Any]) -> type[Any]:
    """Return a transform that moves each label once.

    With a mirrored border albumentations returns the labels of the mirror images too, and these
    first; pixels are not changed by this.
    """

    class OneLabelEach(transform_class):  # type: ignore[misc]
        def apply_to_keypoints(self, *args: Any, **kwargs: Any) -> Any:
            border_mode = getattr(self, "border_mode", None)
            if border_mode is None:
                return super().apply_to_keypoints(*args, **kwargs)
            self.border_mode = cv2.BORDER_CONSTANT
            try:
                return super().apply_to_keypoints(*args, **kwargs)
            finally:
                self.border_mode = border_mode

    OneLabelEach.__name__ = transform_class.__name__
    return OneLabelEach


def _build_transform(transform_class: type[Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """Return one transform; lists among its arguments become tuples.

    Raises:
        ParameterError: an argument is unknown or has a wrong value.
    """
    values = {}
    for key, value in arguments.items():
        values[key] = tuple(value) if isinstance(value, list) else value
    with warnings.catch_warnings():
        # albumentations reports an unknown argument as a warning
        warnings.simplefilter("error", UserWarning)
        try:
            return _without_mirrored_labels(transform_class)(**values)
        except (ValueError, TypeError, UserWarning) as error:
            reason = " ".join(str(error).split())[:REASON_CHARS]
            raise ParameterError(
                f"`augment.transforms`: {name}: {reason}. Correct its arguments."
            ) from None


def stable_hash(*parts: object) -> int:
    """Return a 32-bit hash of the parts, the same on every machine and in every run."""
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def augment_patches(
    images: NDArray[Any],
    index: pd.DataFrame,
    transforms: A.Compose,
    *,
    scale: ValueRange,
    variants: int,
    keep_original: bool,
    seed: int,
    rule: LabelRule,
    masks: NDArray[np.uint8] | None = None,
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
        masks: (N, S, S, 1) class maps, which are turned and moved as the pixels are.
        on_done: called with the number of patches just done.

    Returns:
        Copies in the patches' order, of the patches' dtype.
    """
    n_copies = len(images) * (variants + keep_original)
    copies = np.empty((n_copies, *images.shape[1:]), images.dtype)
    mask_copies = None if masks is None else np.empty((n_copies, *masks.shape[1:]), np.uint8)
    rows: list[dict[str, Any]] = []
    n_left_out = 0
    records: list[dict[str, Any]] = index.to_dict("records")  # type: ignore[assignment]
    for source, (image, record) in enumerate(zip(images, records, strict=True)):
        mask = None if masks is None else masks[source]
        for variant in range(0 if keep_original else 1, variants + 1):
            patch = AugmentedPatch(image, {}, mask)
            if variant:
                transforms.set_random_seed(stable_hash(seed, source, variant))
                patch = augment_patch(image, record, transforms, scale=scale, mask=mask)
            new_record = {**record, **patch.moved}
            if variant and not _is_label_kept(new_record, rule):
                n_left_out += 1
                continue
            copies[len(rows)] = patch.image
            if mask_copies is not None:
                mask_copies[len(rows)] = patch.mask
            rows.append({**new_record, "source": source, "variant": variant})
        on_done(1)
    table = pd.DataFrame(rows, columns=[*index.columns, "source", "variant"])
    if mask_copies is not None:
        mask_copies = mask_copies[: len(rows)]
    return Augmented(copies[: len(rows)], table, n_left_out, mask_copies)


class AugmentedPatch(NamedTuple):
    """A patch that was augmented.

    Attributes:
        image: (S, S, C) of the patch's dtype.
        moved: the columns of the index that changed; empty where no object is known.
        mask: (S, S, 1) class map, moved as the pixels are; None without one.
    """

    image: NDArray[Any]
    moved: dict[str, float]
    mask: NDArray[np.uint8] | None


def augment_patch(
    image: NDArray[Any],
    record: Mapping[Any, Any],
    transforms: A.Compose,
    *,
    scale: ValueRange,
    mask: NDArray[np.uint8] | None = None,
) -> AugmentedPatch:
    """Return a patch augmented once, with its object's new center and size.

    The center and the corners of the box go along as keypoints. albumentations counts from pixel
    centers, the index from pixel corners: the difference is half a pixel.

    Args:
        image: (S, S, C) pixels.
        record: its row of the index.
        transforms: from `build_transforms`.
        scale: range of the pixels.
        mask: (S, S, 1) class map.
    """
    height, width = image.shape[:2]
    keypoints = _keypoints_of(record, width, height)
    unit = (image.astype(np.float32) - scale.low) / (scale.high - scale.low)  # (S, S, C)
    inputs: dict[str, Any] = {"image": np.clip(unit, 0, 1), "keypoints": keypoints}
    if mask is not None:
        inputs["mask"] = mask[:, :, 0]
    augmented = transforms(**inputs)
    picture = _from_unit(augmented["image"].reshape(image.shape), scale, image.dtype)
    picture[(image == 0).all(-1) & (picture < 0).any(-1)] = 0
    points = np.asarray(augmented["keypoints"], np.float64).reshape(-1, 2) + 0.5
    moved: dict[str, float] = {}
    if len(points):
        moved["dx_px"] = float(points[0, 0] - width / 2)
        moved["dy_px"] = float(points[0, 1] - height / 2)
    corners = points[1:]
    if len(corners) == len(CORNERS):
        width_px, height_px = corners.max(0) - corners.min(0)
        moved["w_px"] = float(width_px)
        moved["h_px"] = float(height_px)
    if mask is not None:
        mask = np.asarray(augmented["mask"], np.uint8).reshape(mask.shape)
    return AugmentedPatch(picture, moved, mask)


def augment_crop(
    image: NDArray[Any], classes: NDArray[np.uint8], transforms: A.Compose, *, scale: ValueRange
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return an augmented crop, in the units of its pixels, and its class map, moved alike.

    Args:
        image: (S, S, C) pixels.
        classes: (S, S) class map.
        transforms: from `build_transforms`.
        scale: range of the pixels.
    """
    unit = (image.astype(np.float32) - scale.low) / (scale.high - scale.low)
    no_points = np.empty((0, 2), np.float32)
    done = transforms(image=np.clip(unit, 0, 1), mask=classes, keypoints=no_points)
    pixels = done["image"].reshape(image.shape) * (scale.high - scale.low) + scale.low
    return pixels.astype(np.float32), np.asarray(done["mask"], np.uint8)


def _keypoints_of(record: Mapping[Any, Any], width: int, height: int) -> NDArray[np.float32]:
    """Return the object's center, then the corners of its box, (N, 2) from pixel centers.

    Without a size there is the center alone, without an object nothing.
    """
    center = np.array([record["dx_px"] + width / 2, record["dy_px"] + height / 2]) - 0.5
    if not np.isfinite(center).all():
        return np.empty((0, 2), np.float32)
    size = np.array([record["w_px"], record["h_px"]], float)
    corners = np.empty((0, 2))
    if np.isfinite(size).all():
        corners = center + np.array(CORNERS) * size
    return np.vstack([center, corners]).astype(np.float32)


def _from_unit(unit: NDArray[np.float32], scale: ValueRange, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return pixels 0..1 in the range and the type of the picture."""
    values = unit * (scale.high - scale.low) + scale.low
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values.astype(dtype))


def _is_label_kept(record: Mapping[Any, Any], rule: LabelRule) -> bool:
    """Return whether a moved object still gives its patch the same label."""
    distance = float(rule.distance(record["dx_px"], record["dy_px"]))
    if not np.isfinite(distance):
        return True
    if record["class"]:
        return distance <= rule.positive_px + RADIUS_TOLERANCE_PX
    return distance > rule.ignore_px - RADIUS_TOLERANCE_PX
