"""Import of a ready-made data set of patches: `.npz` with train and test images and labels.

The patches are written as they are. What they do not hold stays unknown: places, scenes, positions,
sizes, the prior.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.geometry.arrays import Bools, Floats
from windhover.geometry.windows import WINDOW_PX
from windhover.patches.patch_store import PatchWriter, index_table, write_index

PARTS = ("train", "test")
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
VAL_FRACTION = 0.2  # of each class of the training patches
UNKNOWN_PLACE = "unknown"
BACKGROUND_LABELS = ("0", "", "background")


@dataclass(frozen=True)
class NpzContent:
    """What was imported.

    Attributes:
        index: of the patches, all splits.
        n_bands: of the patches.
        classes: names, sorted.
        mean: (C,) of the training pixels.
        std: (C,) of the training pixels.
        n_repeated: patches left out because their pixels are those of another.
    """

    index: pd.DataFrame
    n_bands: int
    classes: list[str]
    mean: Floats
    std: Floats
    n_repeated: int


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the four arrays of a data set; labels as (N,).

    Raises:
        MissingFileError: no such file.
        FormatError: not an npz, an array is missing, pickled, or of another shape or dtype.
    """
    if not path.is_file():
        raise MissingFileError(f"`patches.npz`: {path} does not exist. Name the file, or set null.")
    if not zipfile.is_zipfile(path):
        raise FormatError(
            f"{path}: is no .npz, which is an archive of arrays. Save it again with numpy.savez."
        )
    try:
        arrays = _read_arrays(path)
    except FormatError:
        raise
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise FormatError(
            f"{path}: cannot be read as .npz ({error}). Save it again with numpy.savez."
        ) from None
    for part in PARTS:
        _check_images(path, part, arrays[f"{part}_images"])
        _check_labels(path, part, arrays[f"{part}_labels"], len(arrays[f"{part}_images"]))
        arrays[f"{part}_labels"] = arrays[f"{part}_labels"].reshape(-1)
    n_train = arrays["train_images"].shape[-1]
    n_test = arrays["test_images"].shape[-1]
    if n_train != n_test:
        raise FormatError(
            f"{path}: train_images have {n_train} bands and test_images {n_test}. Cut both from "
            "the same ones."
        )
    return arrays


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return the four arrays of an archive.

    Raises:
        FormatError: one is missing.
        ValueError, OSError, BadZipFile: the archive is broken, or an array is pickled.
    """
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in ARRAYS if name not in archive.files]
        if missing:
            raise FormatError(
                f"{path}: has no array {missing[0]!r}, only {', '.join(archive.files)}. It needs "
                f"{', '.join(ARRAYS)}."
            )
        return {name: archive[name] for name in ARRAYS}


def _check_images(path: Path, part: str, images: NDArray[Any]) -> None:
    """Check type and shape of patches.

    Raises:
        FormatError: they are not uint8 (N, H, W, C) of the window's size.
    """
    is_window = images.ndim == 4 and images.shape[1:3] == (WINDOW_PX, WINDOW_PX)
    if images.dtype != np.uint8 or not is_window:
        raise FormatError(
            f"{path}: {part}_images must be uint8 (N, {WINDOW_PX}, {WINDOW_PX}, C), got "
            f"{images.dtype} {images.shape}. Cut them to that."
        )


def _check_labels(path: Path, part: str, labels: NDArray[Any], n_images: int) -> None:
    """Check that there is one label for each patch.

    Raises:
        FormatError: there is not, or there are no patches.
    """
    one_each = labels.shape in ((n_images,), (n_images, 1))
    if not n_images or not one_each or labels.dtype.kind not in "biuUS":
        raise FormatError(
            f"{path}: {part}_labels must be one number or name a patch, got {labels.dtype} "
            f"{labels.shape} for {n_images}."
        )


def label_texts(labels: NDArray[Any]) -> NDArray[np.str_]:
    """Return labels (N,), numbers or names, as text."""
    if labels.dtype.kind in "biu":
        labels = labels.astype(int)
    return labels.astype(str)


def class_of_labels(
    labels: NDArray[Any], class_names: Mapping[str, str], *, has_several: bool
) -> NDArray[np.object_]:
    """Return the class of each label, "" for background: 0, False, or an empty name.

    Args:
        labels: (N,) numbers or names.
        class_names: label -> class, where it is known; without it 1 is `object` when there is no
            other class.
        has_several: whether the data set has more than one class.
    """
    texts = label_texts(labels)
    class_of = {}
    for text in set(texts):
        default = f"class{text}" if has_several else "object"
        class_of[text] = class_names.get(text, default)
        if text in BACKGROUND_LABELS:
            class_of[text] = ""
    return np.array([class_of[text] for text in texts], dtype=object)


def import_npz(
    path: Path, folder: Path, *, class_names: Mapping[str, str], gsd_m: float, seed: int
) -> NpzContent:
    """Write the patches of a data set into a folder; return what they are.

    A seeded, stratified fifth of the training patches becomes `val`. Training patches whose pixels
    are in `test` too, and repeated ones, are left out.

    Args:
        path: the file.
        folder: where the arrays and the index are written.
        class_names: label -> class.
        gsd_m: of the patches, as stated.
        seed: of the fifth.

    Raises:
        MissingFileError, FormatError: of the file.
        DataError: no object, or no background, in the training patches.
    """
    arrays = read_npz(path)
    seen: set[bytes] = set()
    is_new = {}
    for part in ("test", "train"):  # a patch in both stays in test
        is_new[part] = _first_of_a_kind(arrays[f"{part}_images"], seen)
    labels = {part: arrays[f"{part}_labels"] for part in PARTS}
    texts = {text for part in PARTS for text in label_texts(labels[part])}
    has_several = len(texts - set(BACKGROUND_LABELS)) > 1
    images = {}
    classes = {}
    for part in PARTS:
        names = class_of_labels(labels[part], class_names, has_several=has_several)
        classes[part] = names[is_new[part]]
        images[part] = arrays[f"{part}_images"][is_new[part]]
    _check_both_kinds(path, classes["train"])
    is_val = _stratified_fraction(classes["train"], seed)
    splits = {
        "train": (images["train"][~is_val], classes["train"][~is_val]),
        "val": (images["train"][is_val], classes["train"][is_val]),
        "test": (images["test"], classes["test"]),
    }
    index = _write_splits(splits, folder, gsd_m)
    n_bands = images["train"].shape[-1]
    pixels = splits["train"][0].reshape(-1, n_bands).astype(np.float64)
    return NpzContent(
        index=index,
        n_bands=n_bands,
        classes=sorted({*classes["train"], *classes["test"]} - {""}),
        mean=pixels.mean(axis=0),
        std=pixels.std(axis=0),
        n_repeated=sum(int((~is_new[part]).sum()) for part in PARTS),
    )


def _check_both_kinds(path: Path, classes: NDArray[np.object_]) -> None:
    """Check that the training patches hold objects and background.

    Raises:
        DataError: one of them is missing.
    """
    names = set(classes)
    if names == {""} or "" not in names:
        raise DataError(
            f"{path}: train_labels must hold objects (1) and background (0), got only "
            f"{sorted(names)}."
        )


def _write_splits(
    splits: Mapping[str, tuple[NDArray[Any], NDArray[np.object_]]], folder: Path, gsd_m: float
) -> pd.DataFrame:
    """Write the arrays of all splits and their index; return the index."""
    rows = []
    for split, (images, classes) in splits.items():
        with PatchWriter(folder / f"{split}.npy", images.shape[1:], images.dtype) as writer:
            writer.append(images)
        for number, name in enumerate(classes):
            rows.append(_index_row(split, number, str(name), gsd_m=gsd_m))
    index = index_table(rows)
    write_index(index, folder)
    return index


def _first_of_a_kind(images: NDArray[np.uint8], seen: set[bytes]) -> Bools:
    """Return which patches' pixels were not seen before, and remember them."""
    is_new = np.ones(len(images), bool)
    for number, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        is_new[number] = digest not in seen
        seen.add(digest)
    return is_new


def _stratified_fraction(classes: NDArray[np.object_], seed: int) -> Bools:
    """Choose `VAL_FRACTION` of each class, rounded class by class."""
    rng = np.random.default_rng(seed)
    is_chosen = np.zeros(len(classes), bool)
    for name in sorted(set(classes)):
        rows = rng.permutation(np.flatnonzero(classes == name))
        is_chosen[rows[: round(len(rows) * VAL_FRACTION)]] = True
    return is_chosen


def _index_row(split: str, number: int, name: str, *, gsd_m: float) -> dict[str, Any]:
    """Return the index row of one patch; name "" for background."""
    unknown = float("nan")
    return {
        "patch": number,
        "split": split,
        "scene": "",
        "place": UNKNOWN_PLACE,
        "kind": "positive" if name else "random",
        "class": name,
        "dx_px": unknown,
        "dy_px": unknown,
        "w_px": unknown,
        "h_px": unknown,
        "left_px": 0,
        "top_px": 0,
        "gsd_m": gsd_m,
        "origin": "npz",
    }
