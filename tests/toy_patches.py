"""Small learnable patch sets in the layout of the stages, and parameters to train on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from windhover.files import write_json
from windhover.params import check_params
from windhover.params.augment import AugmentParams
from windhover.params.train import TrainParams
from windhover.patches.patch_store import index_table, write_index
from windhover.training.training_data import TrainingFolders

AUGMENT = AugmentParams(
    seed=1,
    variants=1,
    keep_original=True,
    transforms=(
        {"name": "D4", "p": 1.0},
        {"name": "RandomGamma", "gamma_limit": [90, 110], "p": 0.5},
    ),
    sheet_rows=4,
)
# what differs from the defaults of the model
TRAIN: dict[str, Any] = {
    "options": {"width": 4, "stem": "strided"},
    "epochs": 2,
    "max_minutes": None,
    "weight_decay": 0.01,
    "warmup_fraction": 0.1,
    "ema_decay": 0.9,
    "training_precision": "fp32",
    "class_balanced_beta": 0.99,
    "negatives_per_positive": 3.0,
    "batch_augment": {
        "brightness": 0.02,
        "contrast": 0.1,
        "gamma": 0.0,
        "per_band_gain": 0.0,
        "per_band_contrast": 0.0,
        "highlight_darkening": 0.0,
        "saturation": 0.0,
        "sharpness": 0.0,
        "blur_px": 0.0,
        "noise": 0.0,
    },
    "hard_negative_mining": {"max_per_scene": 20, "min_score": 0.05, "patches_per_miss": 2},
    "large_patches": {
        "per_batch": 0,
        "side_px": 96,
        "count": 12,
        "per_epoch": 12,
        "object_fraction": 0.5,
        "copy_paste_prob": 0.0,
        "scales": [1.0],
    },
    "threads": 1,
}


def train_params(**changes: Any) -> TrainParams:
    """Return small training parameters; a mapping changes only the keys it holds."""
    merged = {
        key: {**TRAIN.get(key, {}), **value}
        if isinstance(value, dict) and key != "options"
        else value
        for key, value in changes.items()
    }
    return check_params("train", TrainParams, {**TRAIN, **merged})


def patch_folder(
    folder: Path, positives: int = 10, negatives: int = 30, bands: int = 3, seed: int = 0
) -> Path:
    """Write patches of train and val: bright crosses near the centre, against noise and off-centre
    crosses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number, split in enumerate(("train", "val")):
        random = np.random.default_rng([seed, number])
        images = random.integers(60, 120, (positives + negatives, 64, 64, bands)).astype(np.uint8)
        for patch in range(positives + negatives):
            kind = "positive" if patch < positives else ("random", "offcenter")[patch % 2]
            reach = {"positive": (0, 7), "offcenter": (18, 26), "random": (0, 0)}[kind]
            dx, dy = random.integers(reach[0], reach[1] + 1, 2) * random.choice([-1, 1], 2)
            if kind != "random":
                x, y = 32 + dx, 32 + dy
                images[patch, max(y - 2, 0) : y + 2, max(x - 8, 0) : x + 8] = 240
                images[patch, max(y - 8, 0) : y + 8, max(x - 2, 0) : x + 2] = 240
            known = (float(dx), float(dy), 16.0, 16.0) if kind != "random" else (np.nan,) * 4
            rows.append(
                {
                    "patch": patch,
                    "split": split,
                    "scene": "s",
                    "place": "p",
                    "kind": kind,
                    "class": "cross" if kind == "positive" else "",
                    **dict(zip(("dx_px", "dy_px", "w_px", "h_px"), known, strict=True)),
                    "left_px": 0,
                    "top_px": 0,
                    "gsd_m": 1.25,
                    "origin": "cut",
                }
            )
        np.save(folder / f"{split}.npy", images)
    write_index(index_table(rows), folder)
    write_json(
        folder / "summary.json",
        {
            "window_px": 64,
            "stride_px": 8,
            "gsd_m": 1.25,
            "bands": [f"b{band}" for band in range(bands)],
            "dtype": "uint8",
            "classes": ["cross"],
            "mean": [90.0] * bands,
            "std": [30.0] * bands,
            "positive_radius_px": 8.0,
            "ignore_radius_px": 15.0,
            "radius_shape": "square",
            "prior": {"train": {"true": 0.01, "sampled": positives / (positives + negatives)}},
        },
    )
    return folder


def learning_folders(root: Path) -> TrainingFolders:
    """Write patches and augmented patches, and return where a training reads and writes."""
    from windhover.patches.augment_patches import augment_training_patches

    patches = patch_folder(root / "patches")
    augment_training_patches(patches, root / "augmented", AUGMENT)
    return TrainingFolders(
        str(root / "scenes"), str(patches), str(root / "augmented"), str(root / "train")
    )
