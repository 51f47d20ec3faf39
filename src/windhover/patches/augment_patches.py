"""The augment stage's flow: training patches in, augmented patches and a contact sheet out.

Refuses validation and test patches: only what is learnt from is changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from windhover.errors import MissingFileError
from windhover.files import atomic_folder, write_json
from windhover.params import check_params
from windhover.params.augment import AugmentParams
from windhover.patches.augmentation import Augmented, augment_patches, build_transforms, pixel_range
from windhover.patches.contact_sheet import Cell, draw_sheet, patch_cell
from windhover.patches.patch_store import load_patches, read_summary, rule_of
from windhover.progress import progress_bar

DECLARED = "augment.json"  # how the patches were augmented, so that mined ones are treated alike


def declared_augmentation(folder: Path) -> AugmentParams:
    """Return the parameters with which a folder of augmented patches was made.

    Raises:
        MissingFileError: the folder does not say.
    """
    path = folder / DECLARED
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file. Run the augment stage: dvc repro augment.")
    return check_params("augment", AugmentParams, json.loads(path.read_text(encoding="utf-8")))


def augment_training_patches(patches: Path, out: Path, params: AugmentParams) -> str:
    """Write augmented copies of the training patches, how they were made, and a contact sheet.

    Returns:
        What was made, as a sentence.

    Raises:
        ParameterError: a transform is unknown or does not fit the bands.
        MissingFileError: there are no patches.
    """
    train, summary = load_patches(patches, "train"), read_summary(patches)
    done = augment_set(train.images, train.index, summary, params)
    with atomic_folder(out) as folder:
        np.save(folder / "train.npy", done.images, allow_pickle=False)
        index = done.index.assign(patch=np.arange(len(done.index)))
        index.to_parquet(folder / "index.parquet", index=False)
        write_json(folder / DECLARED, params.model_dump(mode="json"))
        write_json(
            folder / "summary.json",
            {"patches": len(train.images), "written": len(index), "left_out": done.left_out},
        )
        sheet = draw_sheet(
            sheet_rows(train.images, train.index, done, params.sheet_rows),
            "training patches: as cut, then augmented",
        )
        sheet.save(folder / "contact_sheet.png")
    left = (
        f"; {done.left_out} copies left out, whose object crossed the label's radius"
        if done.left_out
        else ""
    )
    return f"{len(train.images)} training patches -> {len(done.images)} with {params.variants} augmented copies each{left}"


def augment_set(
    images: NDArray[Any], index: pd.DataFrame, summary: dict[str, Any], params: AugmentParams
) -> Augmented:
    """Augment patches as the parameters say; used for cut and for mined patches alike.

    Raises:
        ParameterError: a transform is unknown or does not fit the bands.
    """
    transforms = build_transforms(params.transforms, images.shape[-1])
    with progress_bar("augmenting", len(images), "patches") as advance:
        return augment_patches(
            images,
            index,
            transforms,
            pixel_range(images.dtype, summary["mean"], summary["std"]),
            variants=params.variants,
            keep_original=params.keep_original,
            seed=params.seed,
            rule=rule_of(summary),
            on_done=advance,
        )


def sheet_rows(
    images: NDArray[Any], index: pd.DataFrame, done: Augmented, rows: int
) -> list[list[Cell]]:
    """Choose patches of every kind, each a row: as cut, then its copies."""
    kinds = sorted(index["kind"].unique(), key=lambda kind: (kind != "positive", kind))
    chosen: list[int] = []
    for number, kind in enumerate(kinds):
        found = np.flatnonzero(index["kind"] == kind)
        share = rows // len(kinds) + (number < rows % len(kinds))
        chosen += [
            int(found[place])
            for place in np.unique(
                np.linspace(0, len(found) - 1, min(share, len(found))).astype(int)
            )
        ]
    sheet = []
    for source in chosen:
        copies = np.flatnonzero(
            ((done.index["source"] == source) & (done.index["variant"] > 0)).to_numpy()
        )
        cells = [patch_cell(images[source], index.iloc[source], str(index.iloc[source]["kind"]))]
        cells += [
            patch_cell(
                done.images[row], done.index.iloc[row], f"copy {done.index.iloc[row]['variant']}"
            )
            for row in copies
        ]
        sheet.append(cells)
    return sheet
