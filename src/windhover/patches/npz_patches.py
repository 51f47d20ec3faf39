"""Taking over a ready-made data set of patches: `.npz` with train and test images and labels.

The patches are written as they are. What they do not say stays unknown: places, scenes, positions,
sizes, the prior.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windhover.errors import DataError, FormatError, MissingFileError
from windhover.geometry.windows import WINDOW_PX
from windhover.patches.patch_store import PatchWriter, index_table, write_index

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
VAL_SHARE = 0.2
UNKNOWN = "unknown"
BACKGROUND = ("0", "", "background")


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the four arrays of a data set.

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
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise FormatError(
                    f"{path}: has no array {missing[0]!r}, only {', '.join(archive.files)}. It needs "
                    f"{', '.join(ARRAYS)}."
                )
            arrays = {name: archive[name] for name in ARRAYS}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"{path}: cannot be read as .npz ({error}). Save it again with numpy.savez."
        ) from None
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if (
            images.dtype != np.uint8
            or images.ndim != 4
            or images.shape[1:3] != (WINDOW_PX, WINDOW_PX)
        ):
            raise FormatError(
                f"{path}: {part}_images must be uint8 (N, 64, 64, C), got {images.dtype} "
                f"{images.shape}. Cut them to that."
            )
        one_each = labels.shape in ((len(images),), (len(images), 1))
        if not len(images) or not one_each or labels.dtype.kind not in "biuUS":
            raise FormatError(
                f"{path}: {part}_labels must be one number or name a patch, got {labels.dtype} "
                f"{labels.shape} for {len(images)}."
            )
        arrays[f"{part}_labels"] = labels.reshape(-1)
    train, test = (arrays[name].shape[3] for name in ("train_images", "test_images"))
    if train != test:
        raise FormatError(
            f"{path}: train_images have {train} bands and test_images {test}. Cut both from the same ones."
        )
    return arrays


def _texts(labels: NDArray[Any]) -> NDArray[np.str_]:
    return labels.astype(int).astype(str) if labels.dtype.kind in "biu" else labels.astype(str)


def class_names(labels: NDArray[Any], names: dict[str, str], several: bool) -> NDArray[np.object_]:
    """Return the class of each label, "" for background: 0, False, or an empty name.

    Args:
        labels: (N,) numbers or names.
        names: label -> class, where it is known; without it 1 is `object` when there is no
            other class.
        several: whether the data set has more than one class.
    """
    texts = _texts(labels)
    meaning = {
        text: "" if text in BACKGROUND else names.get(text, f"class{text}" if several else "object")
        for text in set(texts)
    }
    return np.array([meaning[text] for text in texts], dtype=object)


def take_over(
    path: Path, names: dict[str, str], gsd_m: float, seed: int, folder: Path
) -> tuple[Any, dict[str, Any]]:
    """Write the patches of a data set; return the index and what the summary says of them.

    A seeded, stratified fifth of the training patches becomes `val`. Training patches whose pixels
    stand in `test` too, and repeated ones, are left out.

    Args:
        path: the file.
        names: label -> class.
        gsd_m: of the patches, as stated.
        seed: of the fifth.
        folder: where the arrays and the index are written.

    Raises:
        MissingFileError, FormatError: of the file.
        DataError: no object, or no background, in the training patches.
    """
    arrays = read_npz(path)
    seen: set[bytes] = set()
    kept = {part: _first_of_a_kind(arrays[f"{part}_images"], seen) for part in ("test", "train")}
    several = (
        len({text for part in kept for text in _texts(arrays[f"{part}_labels"])} - set(BACKGROUND))
        > 1
    )
    classes = {
        part: class_names(arrays[f"{part}_labels"], names, several)[kept[part]] for part in kept
    }
    images = {part: arrays[f"{part}_images"][kept[part]] for part in kept}
    if not len({*classes["train"]} - {""}) or "" not in classes["train"]:
        raise DataError(
            f"{path}: train_labels must hold objects (1) and background (0), got only {sorted(set(classes['train']))}."
        )
    val = _stratified(classes["train"], seed)
    parts = {
        "train": (images["train"][~val], classes["train"][~val]),
        "val": (images["train"][val], classes["train"][val]),
        "test": (images["test"], classes["test"]),
    }
    rows = []
    for split, (pixels, klass) in parts.items():
        with PatchWriter(folder / f"{split}.npy", pixels.shape[1:], pixels.dtype) as writer:
            writer.append(pixels)
        rows += [_row(split, number, str(name), gsd_m) for number, name in enumerate(klass)]
    index = index_table(rows)
    write_index(index, folder)
    train = parts["train"][0].reshape(-1, images["train"].shape[-1]).astype(np.float64)
    left_out = sum(int((~rows).sum()) for rows in kept.values())
    facts = {
        "mean": train.mean(axis=0),
        "std": train.std(axis=0),
        "classes": sorted({*classes["train"], *classes["test"]} - {""}),
        "n_bands": int(images["train"].shape[-1]),
        "skipped": {"same pixels as another patch": left_out} if left_out else {},
    }
    return index, facts


def _first_of_a_kind(images: NDArray[np.uint8], seen: set[bytes]) -> NDArray[np.bool_]:
    """Tell which patches' pixels were not seen before, and remember them."""
    fresh = np.ones(len(images), bool)
    for number, image in enumerate(images):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        fresh[number] = digest not in seen
        seen.add(digest)
    return fresh


def _stratified(classes: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """Choose a fifth of each class."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(classes), bool)
    for name in sorted(set(classes)):
        rows = rng.permutation(np.flatnonzero(classes == name))
        chosen[rows[: round(len(rows) * VAL_SHARE)]] = True
    return chosen


def _row(split: str, number: int, name: str, gsd_m: float) -> dict[str, Any]:
    unknown = dict.fromkeys(("dx_px", "dy_px", "w_px", "h_px"), float("nan"))
    kind = "positive" if name else "random"
    where = {"scene": "", "place": UNKNOWN, "left_px": 0, "top_px": 0}
    return {
        "patch": number,
        "split": split,
        "kind": kind,
        "class": name,
        "gsd_m": gsd_m,
        "origin": "npz",
        **where,
        **unknown,
    }
