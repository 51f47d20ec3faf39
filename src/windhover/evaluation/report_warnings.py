"""What a reader of the report has to know before the figures: sentences, each with what to do.

A training that was cut short, few objects, classes or places that are missing, ground that counts
twice or is near the training's. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from windhover.dataset.splits import SPLITS
from windhover.dataset.touching_scenes import overlapping_pairs
from windhover.errors import FormatError
from windhover.files import read_json
from windhover.metrics.evaluation_result import EVALUATED_SPLITS
from windhover.metrics.ground_truth import GroundTruth
from windhover.patches.patch_summary import Leakage
from windhover.progress import counted

FEW_EPOCHS = 10  # below, a training that was planned to be twice as long is told
STILL_FALLING = 0.1  # share by which the loss fell over the last third of the epochs
EPOCHS_TO_JUDGE = 3  # that a history needs at least
# objects of a split below which chance decides: 20 found of 20 leave a recall of 0.84 possible
FEW_OBJECTS = {"train": 30, "val": 20, "test": 20}
NEAR_M = 1_000.0  # between two splits
LACKING = {
    "train": "it cannot be learned",
    "val": "its threshold is a guess",
    "test": "it is not tested",
}


def read_history(folder: Path) -> list[dict[str, float]]:
    """Return a training's rows by epoch; none where the training left no history.

    Args:
        folder: of the train stage.

    Raises:
        FormatError: the history cannot be read.
    """
    path = folder / "history.json"
    if not path.is_file():
        return []
    again = "Run the stage again: dvc repro -f train."
    content = read_json(path, missing=again, broken=again)
    rows = content.get("epochs") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"{path}: `epochs` must be a list of rows. {again}")
    return rows


def training_warnings(
    training: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> list[str]:
    """Return a sentence on a training that ended early, or whose loss was still falling.

    Args:
        training: record of the model's card.
        history: one row an epoch.
    """
    n_done = int(training.get("epochs", len(history)))
    n_planned = int(training.get("planned_epochs", n_done))
    if n_done < FEW_EPOCHS and n_done < n_planned and 2 * n_done <= n_planned:
        warning = (
            f"Only {counted(n_done, 'epoch')} fitted into the time (`train.max_minutes`): these "
            "figures are of a model that has not learned all it can. Give it more."
        )
        return [warning]
    fall = _loss_fall(history)
    if fall > STILL_FALLING:
        warning = (
            f"The loss still fell by {fall:.0%} in the last third of the {n_done} epochs: train "
            "longer (`train.epochs`, `train.max_minutes`)."
        )
        return [warning]
    return []


def _loss_fall(history: Sequence[Mapping[str, float]]) -> float:
    """Return the share by which the loss fell from the middle to the last third of the epochs.

    That on val, where there is one.
    """
    third = len(history) // 3
    if len(history) < EPOCHS_TO_JUDGE:
        return 0.0
    for key in ("val_loss", "total"):
        losses = [row.get(key, float("nan")) for row in history]
        if np.isfinite(losses).all():
            before = float(np.mean(losses[-2 * third : -third]))
            last = float(np.mean(losses[-third:]))
            return 1 - last / before if before > 0 else 0.0
    return 0.0


def object_warnings(truths: Mapping[str, GroundTruth], classes: Sequence[str]) -> list[str]:
    """Return sentences on splits with few objects, and on those without any of a class.

    Args:
        truths: by split; one without labeled scenes is not judged.
        classes: of the model.
    """
    judged = {split: truths[split] for split in SPLITS if split in truths}
    judged = {split: truth for split, truth in judged.items() if len(truth.scenes)}
    warnings = []
    few = [
        f"{len(truth.objects)} in {split} ({FEW_OBJECTS[split]} are few)"
        for split, truth in judged.items()
        if len(truth.objects) < FEW_OBJECTS[split]
    ]
    if few:
        warnings.append(
            f"Few objects: {', '.join(few)}. With so few, chance decides more than the model: "
            "label more of them, at other places first."
        )
    for split, truth in judged.items():
        lacking = sorted(set(classes) - set(truth.objects["class"]))
        if lacking and len(classes) > 1:
            warnings.append(
                f"No object of {', '.join(lacking)} in {split}: {LACKING[split]}. Label some "
                "there, or give a place that has some to it (`scenes.fixed_splits`)."
            )
    return warnings


def scene_warnings(scenes: pd.DataFrame, *, gsd_m: float, window_px: int) -> list[str]:
    """Return sentences on labeled scenes smaller than a window, and on those that overlap.

    Args:
        scenes: of the catalog.
        gsd_m: of the training.
        window_px: side of a window.
    """
    labeled = scenes[scenes["labeled"].astype(bool)]
    warnings = []
    sides_m = np.minimum(
        labeled["width_px"].to_numpy(float) * labeled["gsd_x_m"].to_numpy(float),
        labeled["height_px"].to_numpy(float) * labeled["gsd_y_m"].to_numpy(float),
    )
    small = labeled.loc[sides_m < window_px * gsd_m, "scene"].tolist()
    if small:
        warnings.append(
            f"No window of {window_px} px = {window_px * gsd_m:g} m fits into {_some(small)}: "
            "the network sees what fills the border about them. Take a finer `scenes.gsd_m`, or "
            "larger rasters."
        )
    for split in EVALUATED_SPLITS:
        pairs = _overlaps(labeled[labeled["split"] == split])
        if pairs:
            warnings.append(
                f"{_overlapping(pairs, split)}: what lies in both counts twice. Search one mosaic "
                "of them: gdalbuildvrt mosaic.vrt FILES."
            )
    return warnings


def _some(names: Sequence[str]) -> str:
    text = f"{len(names)} scenes, such as {names[0]}"
    return names[0] if len(names) == 1 else text


def _overlapping(pairs: Sequence[tuple[str, str]], split: str) -> str:
    """Return which scenes of a split overlap, as the beginning of a sentence."""
    first, second = pairs[0]
    if len(pairs) == 1:
        return f"{first} and {second}, both of {split}, overlap"
    return f"{len(pairs)} pairs of scenes of {split} overlap, such as {first} and {second}"


def _overlaps(scenes: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the names of each two scenes of the catalog that have ground in common."""
    placed = scenes[scenes["footprint_wkt_4326"].notna()]
    if len(placed) < 2:
        return []
    outlines = shapely.from_wkt(placed["footprint_wkt_4326"].to_numpy(object))
    px_m = placed[["gsd_x_m", "gsd_y_m"]].max(axis=1).tolist()
    names = placed["scene"].tolist()
    return [(names[one], names[other]) for one, other in overlapping_pairs(outlines, px_m)]


def nearness_warnings(leakage: Leakage) -> list[str]:
    """Return a sentence where ground of two splits is so near that it may be alike."""
    distance = leakage.smallest_distance_m
    if distance is None or leakage.between is None or distance >= NEAR_M:
        return []
    first, second = leakage.between
    warning = (
        f"{first} and {second} are in two splits and {distance:,.0f} m apart: ground so near looks "
        "alike, and the figures for new places will be lower. Test on places further away "
        "(`scenes.groups`, `scenes.fixed_splits`)."
    )
    return [warning]
