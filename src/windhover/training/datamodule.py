"""What a training learns from: patches of the earlier stages and crops of the scenes, put where the
network computes.

Refuses to learn, and to change what it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import DataError, ParameterError
from windhover.models.networks import build_network, lasting_options
from windhover.params.train import TrainParams
from windhover.patches.contact_sheet import crop_sheet
from windhover.patches.patch_store import load_patches, read_summary, rule_of
from windhover.progress import progress_bar
from windhover.training.large_patches import Crops, cut_crops
from windhover.training.module import TrainingData
from windhover.training.samplers import PictureSet, object_table

SAME_PLACE_M = 1.0
GPU_SHARE = (
    0.6  # of the free memory of a GPU that pictures may take; beyond it they stay on the CPU
)


@dataclass(frozen=True)
class Folders:
    """What the stage reads and writes."""

    scenes: str
    patches: str
    augmented: str
    out: str


@dataclass(frozen=True)
class Material:
    """All that a training learns from, and what is known of it."""

    params: TrainParams  # without crops and mining where no training scene is labelled
    summary: dict[str, Any]  # of the patches stage
    catalog: Catalog | None  # of the training scenes, where crops or mining need them
    data: TrainingData
    counts: tuple[int, ...]  # training patches of background and of each class
    example: NDArray[Any]  # (4, H, W, C) pixels as read
    sheet: Image.Image | None  # of crops, where there are any

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the network's answers."""
        return list(self.summary["classes"])


def gather(params: TrainParams, folders: Folders, device: str) -> Material:
    """Read the patches and cut the crops.

    Args:
        params: of the stage.
        folders: what is read.
        device: that the network computes on.

    Raises:
        MissingFileError: an earlier stage's output is missing.
        DataError: there is no positive to learn from.
        ParameterError: crops are wanted for a padded network.
    """
    summary = read_summary(folders.patches)
    classes, catalog = list(summary["classes"]), None
    if params.hard_negative_mining.after or params.large_patches.per_batch:
        params, catalog = _scenes_to_learn_from(params, folders)
    train, val = load_patches(folders.augmented, "train"), load_patches(folders.patches, "val")
    table = object_table(train.index, classes)
    counts = tuple(int((table[:, 0] == k).sum()) for k in range(-1, len(classes)))
    if not sum(counts[1:]):
        raise DataError(
            "The training patches hold no object. Bring more labelled scenes, or change `scenes.seed`."
        )
    cut, crops, sheet, size = None, None, None, train.images.nbytes + val.images.nbytes
    if catalog is not None and params.large_patches.per_batch:
        cut = _cut_crops(params, catalog, classes, summary["ignore_radius_px"])
        size += cut.images.nbytes
    place = _place(size, device)
    if cut is not None:
        crops, sheet = (
            PictureSet(cut.images, cut.objects, place),
            crop_sheet(cut.images, cut.objects),
        )
    data = TrainingData(
        PictureSet(train.images, table, place),
        np.zeros(len(table), bool),
        crops,
        PictureSet(val.images, object_table(val.index, classes), place),
        rule_of(summary),
        count_objects(val.index),
    )
    return Material(params, summary, catalog, data, counts, np.asarray(train.images[:4]), sheet)


def count_objects(index: pd.DataFrame) -> int:
    """Return how many objects patches show: patches of one scene whose objects share a place show
    the same.
    """
    shown = index[index["class"].fillna("") != ""]
    place = pd.DataFrame(
        {"x": shown["left_px"] + shown["dx_px"], "y": shown["top_px"] + shown["dy_px"]}
    )
    known = shown.assign(**(place.mul(shown["gsd_m"], axis=0) / SAME_PLACE_M).round())[
        ["scene", "x", "y"]
    ].dropna()
    return len(known.drop_duplicates()) + len(shown) - len(known)


def _place(size_bytes: int, device: str) -> str:
    """Return where pictures are held: on the GPU when they fit."""
    if device != "cpu" and size_bytes > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        print("  the pictures do not fit on the GPU and stay in main memory")
        return "cpu"
    return device


def _cut_crops(
    params: TrainParams, catalog: Catalog, classes: list[str], ignore_px: float
) -> Crops:
    assert_dense(params)
    with progress_bar("cutting crops", params.large_patches.count, "crops") as advance:
        cut = cut_crops(catalog, classes, params.large_patches, params.seed, advance, ignore_px)
    if cut.crowded < cut.chosen:
        print(
            f"  {cut.chosen - cut.crowded} of {cut.chosen} crops were not crowded: no room, or sizes not known"
        )
    return cut


def _scenes_to_learn_from(
    params: TrainParams, folders: Folders
) -> tuple[TrainParams, Catalog | None]:
    """Return the training scenes for crops and mining; without a labelled one, parameters that do
    without both.
    """
    catalog = load_catalog(folders.scenes).split("train")
    if any(row.labeled for row in catalog):
        return params, catalog
    print(
        "  no training scene is labelled: nothing is mined and no crops are cut, the patches are all there is"
    )
    mining, crops = (
        params.hard_negative_mining.model_copy(update={"after": ()}),
        params.large_patches.model_copy(update={"per_batch": 0}),
    )
    return params.model_copy(update={"hard_negative_mining": mining, "large_patches": crops}), None


def assert_dense(params: TrainParams) -> None:
    """Refuse crops for a network that takes one window at a time.

    Raises:
        ParameterError: it is one.
    """
    if not build_network(params.network, 1, 1, **lasting_options(params.options)).dense:
        raise ParameterError(
            f"`train.large_patches` needs an unpadded network, {params.network} is padded. Set crops.per_batch to 0."
        )
