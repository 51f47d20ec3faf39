"""The augment stage's flow: training patches in, augmented patches and a contact sheet out.

Validation and test patches are never changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.disk_space import check_space
from windhover.errors import FormatError, MissingFileError, ParameterError
from windhover.files import atomic_folder, read_json, write_json
from windhover.params import check_params
from windhover.params.augment import AugmentParams
from windhover.patches.albumentations_pipeline import (
    Augmented,
    augment_patches,
    build_transforms,
    without_unfit_defaults,
)
from windhover.patches.patch_sheets import patch_cell
from windhover.patches.patch_store import load_masks, load_patches, masks_file, read_summary
from windhover.patches.patch_summary import PatchSummary
from windhover.patches.pixel_value_range import value_range
from windhover.progress import progress_bar
from windhover.rendering.contact_sheet import Cell, draw_sheet
from windhover.rendering.images import evenly_chosen

# how the patches were augmented, so that mined ones are treated alike
PARAMETERS_FILE = "augment.json"
SHEET_TITLE = "training patches: as cut, then augmented"


def read_augment_params(folder: Path) -> AugmentParams:
    """Return the parameters with which a folder of augmented patches was made.

    Raises:
        MissingFileError: the folder does not hold them.
        FormatError: the file is damaged.
    """
    path = folder / PARAMETERS_FILE
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Run the augment stage: dvc repro augment.")
    again = "Run the augment stage again: dvc repro -f augment."
    content = read_json(path, missing=again, broken=again)
    if not isinstance(content, dict):
        raise FormatError(f"{path}: must hold the parameters of the augment stage. {again}")
    try:
        return check_params("augment", AugmentParams, content)
    except ParameterError as error:
        raise FormatError(f"{path}: {str(error).split(' Set `')[0]} {again}") from None


def augment_training_patches(patches: Path, out: Path, params: AugmentParams) -> str:
    """Write augmented copies of the training patches, their parameters and a contact sheet.

    Transforms of the default that need three bands are left out for other patches.

    Returns:
        What was written, as a sentence.

    Raises:
        ParameterError: a transform is unknown or does not fit the patches.
        MissingFileError: there are no patches.
        FullDiskError: the disk has no room for the copies.
    """
    summary = read_summary(patches)
    train = load_patches(patches, "train", summary)
    copies = params.variants + int(params.keep_original)
    check_space(out, copies * train.images.nbytes)
    masks = load_masks(patches, "train", len(train.images))
    augmented = augment_set(train.images, train.index, summary, params=params, masks=masks)
    with atomic_folder(out) as folder:
        np.save(folder / "train.npy", augmented.images, allow_pickle=False)
        if augmented.masks is not None:
            np.save(folder / masks_file("train"), augmented.masks, allow_pickle=False)
        index = augmented.index.assign(patch=np.arange(len(augmented.index)))
        index.to_parquet(folder / "index.parquet", index=False)
        write_json(folder / PARAMETERS_FILE, params.model_dump(mode="json"))
        counts = {
            "patches": len(train.images),
            "written": len(index),
            "left_out": augmented.n_left_out,
        }
        write_json(folder / "summary.json", counts)
        rows = sheet_rows(train.images, train.index, augmented, n_rows=params.sheet_rows)
        draw_sheet(rows, SHEET_TITLE, summary.bands).save(folder / "contact_sheet.png")
    left_out = ""
    if augmented.n_left_out:
        left_out = (
            f"; {augmented.n_left_out} copies left out, whose object crossed the label's radius"
        )
    _, unfit = without_unfit_defaults(params.transforms, len(summary.bands))
    if unfit:
        left_out += (
            f"; {', '.join(unfit)} of the default left out, which needs 3 bands: the patches have "
            f"{len(summary.bands)}"
        )
    return (
        f"{len(train.images)} training patches -> {len(augmented.images)} with {params.variants} "
        f"augmented copies each{left_out}"
    )


def augment_set(
    images: NDArray[Any],
    index: pd.DataFrame,
    summary: PatchSummary,
    *,
    params: AugmentParams,
    masks: NDArray[np.uint8] | None = None,
) -> Augmented:
    """Augment patches as the parameters declare; used for cut and for mined patches alike.

    Args:
        images: (N, S, S, C) patches.
        index: of the patches, N rows.
        summary: of the folder they belong to: pixel statistics and label rule.
        params: of the stage.
        masks: (N, S, S, 1) class maps of the patches, None where none are kept.

    Raises:
        ParameterError: a transform is unknown, does not fit the bands, or does not keep the size,
            the type or the labels of a patch.
    """
    n_bands = images.shape[-1]
    declared, _ = without_unfit_defaults(params.transforms, n_bands)
    transforms = build_transforms(declared, n_bands)
    with progress_bar("augmenting", len(images), "patches") as advance:
        return augment_patches(
            images,
            index,
            transforms,
            scale=value_range(images.dtype, summary.mean, summary.std),
            variants=params.variants,
            keep_original=params.keep_original,
            seed=params.seed,
            rule=summary.label_rule,
            masks=masks,
            on_done=advance,
        )


def sheet_rows(
    images: NDArray[Any], index: pd.DataFrame, augmented: Augmented, *, n_rows: int
) -> list[list[Cell]]:
    """Return rows of a contact sheet: a patch as cut, then its copies; patches of every kind.

    Args:
        images: (N, S, S, C) as cut.
        index: of the patches as cut.
        augmented: copies of them.
        n_rows: of the sheet.
    """
    rows = []
    for source in _choose_of_every_kind(index, n_rows):
        record = index.iloc[source]
        cells = [patch_cell(images[source], record, str(record["kind"]))]
        is_copy = (augmented.index["source"] == source) & (augmented.index["variant"] > 0)
        for row in np.flatnonzero(is_copy.to_numpy()):
            copy = augmented.index.iloc[row]
            cells.append(patch_cell(augmented.images[row], copy, f"copy {copy['variant']}"))
        rows.append(cells)
    return rows


def _choose_of_every_kind(index: pd.DataFrame, count: int) -> list[int]:
    """Return rows of the index, evenly chosen from every kind, positives first."""
    kinds = sorted(index["kind"].unique(), key=lambda kind: (kind != "positive", kind))
    chosen: list[int] = []
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(index["kind"] == kind)
        n_of_kind = count // len(kinds) + (number < count % len(kinds))
        chosen += [int(row) for row in rows[evenly_chosen(len(rows), n_of_kind)]]
    return chosen
