"""Loading what a training learns from: patches of the earlier stages, large patches of the scenes.

Reads and cuts; learns nothing, and changes nothing that it reads.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from windhover.dataset.catalog import Catalog, load_catalog
from windhover.errors import DataError, ParameterError
from windhover.models.networks import architecture_options, build_network
from windhover.params.train import TrainParams
from windhover.patches.patch_sheets import large_patch_sheet
from windhover.patches.patch_store import load_patches, read_summary
from windhover.patches.patch_summary import PatchSummary
from windhover.progress import progress_bar
from windhover.training.choose_radiometry import with_chosen_radiometry
from windhover.training.coverage_crops import cut_coverage_crops
from windhover.training.datamodule import PatchDataModule
from windhover.training.image_set import ImageSet
from windhover.training.large_patches import LargePatches, cut_large_patches
from windhover.training.object_table import count_classes, table_of_patches

logger = logging.getLogger(__name__)

SAME_PLACE_PX = 1.0  # objects of two patches nearer than this are the same
# of the free memory of a GPU that images may take; beyond it they stay on the CPU
GPU_MEMORY_SHARE = 0.6
N_EXAMPLES = 4


@dataclass(frozen=True)
class TrainingFolders:
    """What the train stage reads and writes."""

    scenes: str
    patches: str
    augmented: str
    out: str


@dataclass(frozen=True)
class TrainingData:
    """All that a training learns from, and what is known of it.

    Attributes:
        params: of the stage, without large patches and mining where no training scene is labeled.
        summary: of the patches.
        catalog: of the training scenes, where large patches or mining need them.
        datamodule: the images.
        class_counts: training patches of background, then of each class.
        example: (4, H, W, C) pixels as read.
        sheet: contact sheet of the large patches, where there are any.
    """

    params: TrainParams
    summary: PatchSummary
    catalog: Catalog | None
    datamodule: PatchDataModule
    class_counts: tuple[int, ...]
    example: NDArray[Any]
    sheet: Image.Image | None

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the network's logits."""
        return list(self.summary.classes)


def load_training_data(params: TrainParams, folders: TrainingFolders, device: str) -> TrainingData:
    """Read the patches and cut the large patches.

    Args:
        params: of the stage.
        folders: what is read.
        device: that the network computes on.

    Raises:
        MissingFileError: an earlier stage's output is missing.
        DataError: there is no object to learn from.
        ParameterError: large patches are wanted for a padded network.
    """
    summary = read_summary(folders.patches)
    classes = list(summary.classes)
    if summary.coverage is not None:
        params = for_coverage(params)
    params = with_chosen_radiometry(params, n_bands=len(summary.bands), n_classes=len(classes))
    catalog = None
    if params.hard_negative_mining.after or params.large_patches.per_batch:
        params, catalog = _load_training_scenes(params, folders)
    train = load_patches(folders.augmented, "train", summary)
    val = load_patches(folders.patches, "val", summary)
    objects = table_of_patches(train.index, classes)
    class_counts = count_classes(objects, len(classes))
    if not sum(class_counts[1:]):
        raise DataError(
            "The training patches hold no object. Bring more labeled scenes, or change "
            "`scenes.seed`."
        )
    large = None
    if catalog is not None and params.large_patches.per_batch:
        large = _cut_large_patches(params, catalog, summary)
    n_bytes = train.images.nbytes + val.images.nbytes
    if large is not None:
        n_bytes += large.images.nbytes
    device = _choose_image_device(n_bytes, device)
    datamodule = PatchDataModule(
        ImageSet(train.images, objects, device),
        ImageSet(val.images, table_of_patches(val.index, classes), device),
        params=params,
        large_patches=None if large is None else ImageSet(large.images, large.objects, device),
        n_validation_objects=count_objects(val.index),
    )
    return TrainingData(
        params=params,
        summary=summary,
        catalog=catalog,
        datamodule=datamodule,
        class_counts=class_counts,
        example=np.asarray(train.images[:N_EXAMPLES]),
        sheet=_draw_large_patches(large, summary),
    )


def for_coverage(params: TrainParams) -> TrainParams:
    """Return parameters for classes without boxes: what only objects have is switched off.

    Mining takes detections for errors, each window of a large patch is worth as much as another,
    and strong changes of single bands would take away the contrast of white cloud and other ground.
    """
    without: dict[str, Any] = {
        "hard_negative_mining": params.hard_negative_mining.model_copy(update={"after": ()}),
        "large_patches": params.large_patches.model_copy(update={"negatives_per_positive": 0.0}),
        "offset_weight": 0.0,
        "size_weight": 0.0,
    }
    colors = {}
    for key in ("per_band_contrast", "highlight_darkening", "saturation"):
        if getattr(params.batch_augment, key) is None:
            colors[key] = 0.0
    without["batch_augment"] = params.batch_augment.model_copy(update=colors)
    return params.model_copy(update=without)


def _draw_large_patches(large: LargePatches | None, summary: PatchSummary) -> Image.Image | None:
    """Return a contact sheet of large patches, None where there are none."""
    if large is None:
        return None
    return large_patch_sheet(large.images, large.objects, band_names=summary.bands)


def count_objects(index: pd.DataFrame) -> int:
    """Return how many objects patches show.

    Patches of one scene whose objects share a place show the same; one whose place is not known
    counts by itself.
    """
    shown = index[index["class"].fillna("") != ""]
    x_m = (shown["left_px"] + shown["dx_px"]) * shown["gsd_m"]
    y_m = (shown["top_px"] + shown["dy_px"]) * shown["gsd_m"]
    # patches are cut at GSDs about that of the training
    same_place_m = SAME_PLACE_PX * float(shown["gsd_m"].median())
    places = pd.DataFrame(
        {
            "scene": shown["scene"],
            "x": (x_m / same_place_m).round(),
            "y": (y_m / same_place_m).round(),
        }
    )
    known = places.dropna()
    n_unknown = len(shown) - len(known)
    return len(known.drop_duplicates()) + n_unknown


def _choose_image_device(n_bytes: int, device: str) -> str:
    """Return where images are held: on the GPU when they fit."""
    if device != "cpu" and n_bytes > GPU_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
        logger.info("  the images do not fit on the GPU and stay in main memory")
        return "cpu"
    return device


def _cut_large_patches(
    params: TrainParams, catalog: Catalog, summary: PatchSummary
) -> LargePatches:
    """Cut the large patches of a training."""
    require_unpadded(params)
    count = params.large_patches.count
    if summary.coverage is not None:
        with progress_bar("cutting large patches", count, "large patches") as advance:
            return cut_coverage_crops(
                catalog,
                params.large_patches,
                summary.coverage,
                seed=params.seed,
                padding_value=summary.padding_value,
                progress=advance,
            )
    with progress_bar("cutting large patches", count, "large patches") as advance:
        cut = cut_large_patches(
            catalog,
            list(summary.classes),
            params.large_patches,
            seed=params.seed,
            margin_px=summary.ignore_radius_px,
            padding_value=summary.padding_value,
            progress=advance,
        )
    if cut.n_pasted < cut.n_chosen:
        logger.info(
            "  nothing was pasted into %d of %d large patches: no room, or sizes not known",
            cut.n_chosen - cut.n_pasted,
            cut.n_chosen,
        )
    return cut


def _load_training_scenes(
    params: TrainParams, folders: TrainingFolders
) -> tuple[TrainParams, Catalog | None]:
    """Return the training scenes for large patches and mining.

    Without a labeled one, parameters without both and None.
    """
    catalog = load_catalog(folders.scenes).split("train")
    if any(row.labeled for row in catalog):
        return params, catalog
    logger.info(
        "  no training scene is labeled: nothing is mined and no large patches are cut, "
        "the patches are all there is"
    )
    mining = params.hard_negative_mining.model_copy(update={"after": ()})
    large_patches = params.large_patches.model_copy(update={"per_batch": 0})
    without = {"hard_negative_mining": mining, "large_patches": large_patches}
    return params.model_copy(update=without), None


def require_unpadded(params: TrainParams) -> None:
    """Check that the network can learn from large patches: it scores all their windows at once.

    Raises:
        ParameterError: it takes one window at a time.
    """
    network = build_network(params.network, 1, 1, **architecture_options(params.options))
    if not network.dense:
        raise ParameterError(
            f"`train.large_patches` needs an unpadded network, {params.network} is padded. "
            "Set large_patches.per_batch to 0."
        )
