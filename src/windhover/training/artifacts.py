"""What a training writes: the weights that are kept, their card, the history and pictures."""

from __future__ import annotations

import copy
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from windhover.files import atomic_folder, write_json
from windhover.models.bundle import save_bundle
from windhover.models.card import Card, NetworkCard
from windhover.models.graph_files import write_graphs
from windhover.models.network_names import SEGMENTATION_NETWORKS
from windhover.models.networks import architecture_options
from windhover.models.pixel_ranges import PixelRanges, measure_pixel_ranges
from windhover.models.score_graph import make_graphs
from windhover.models.weights_file import content_key
from windhover.patches.patch_summary import SplitPrior
from windhover.tracking.mlflow_client import KEY_TAG
from windhover.tracking.runs import Tracker, run_name
from windhover.training.callbacks.hard_negative_mining import HardNegativeMining
from windhover.training.module import DetectionModule
from windhover.training.samplers import make_batches
from windhover.training.training_curves import plot_training_curves
from windhover.training.training_data import TrainingData, TrainingFolders

RANGE_IMAGES = 256  # patches, and as many large patches, by which ranges are measured
RANGE_BATCH_PX = 1 << 19  # at once: what memory holds in fp32
AP_DIGITS = 6  # in the card


@dataclass(frozen=True)
class TrainingResult:
    """What a training gave.

    Attributes:
        card: of the model.
        history: one row an epoch.
        kept_epoch: whose weights are kept, counted from 0.
        kept_ap: average precision of windows on validation; below 0 where there are none.
        seconds: of epochs and mining.
    """

    card: Card
    history: list[dict[str, float]]
    kept_epoch: int
    kept_ap: float
    seconds: float

    def lines(self) -> list[str]:
        """Return a summary for the terminal."""
        name = self.card.network.name
        n_epochs = len(self.history)
        ap = max(self.kept_ap, 0)
        return [
            f"  {name} trained for {n_epochs} epochs in {self.seconds / 60:.1f} min",
            f"  kept epoch {self.kept_epoch + 1}, AP of windows on validation {ap:.4f}",
            f"  model {self.card.name}",
        ]


@dataclass(frozen=True)
class FinishedTraining:
    """A training at the end of its last epoch.

    Attributes:
        data: what was learnt from.
        module: with the state of the last epoch.
        weights: that are kept.
        mining: the rounds that were held.
    """

    data: TrainingData
    module: DetectionModule
    weights: dict[str, Tensor]
    mining: HardNegativeMining


def write_artifacts(
    finished: FinishedTraining, folders: TrainingFolders, *, tracker: Tracker, name: str
) -> TrainingResult:
    """Write the stage's output folder whole, log it, and return what training gave.

    Args:
        finished: the training.
        folders: `out` is replaced.
        tracker: of the run.
        name: of the run; the model's key follows it.
    """
    state = finished.module.training_state
    with atomic_folder(folders.out) as folder:
        network = _kept_network(finished)
        pictures = _representative_pictures(finished.data)
        arrays = [picture.numpy() for picture in pictures]
        card = make_card(finished, measure_pixel_ranges(arrays))
        card = save_bundle(folder, card, finished.weights)
        write_graphs(folder, content_key(finished.weights), make_graphs(network, card, arrays))
        finished.mining.write(folder)
        rounds = finished.mining.round_log
        write_json(folder / "history.json", {"epochs": state.history, "rounds": rounds})
        plot_training_curves(state.history, rounds, folder / "curves.png")
        if finished.data.sheet is not None:
            finished.data.sheet.save(folder / "large_patches.png")
    result = TrainingResult(card, state.history, state.kept_epoch, state.kept_ap, state.seconds)
    _track_result(result, finished, tracker, name=name)
    _track_files(finished.data, folders, tracker)
    return result


def _track_result(
    result: TrainingResult, finished: FinishedTraining, tracker: Tracker, *, name: str
) -> None:
    """Log the run's name, tags, last figures and a description, until it is evaluated."""
    key = result.card.name
    n_epochs = len(result.history)
    tags = {"epochs": n_epochs, "kept_epoch": result.kept_epoch + 1}
    tracker.set_tags({KEY_TAG: key, **run_name(name, key), **tags})
    minutes = result.seconds / 60
    tracker.log_metrics({"validation/kept_ap": result.kept_ap, "training/minutes": minutes})
    counts = zip(finished.data.classes, finished.data.class_counts[1:], strict=True)
    patches = ", ".join(f"{count} patches of {class_name}" for class_name, count in counts)
    tracker.set_description(
        f"**{result.card.network.name}**, trained for {n_epochs} of {finished.data.params.epochs} "
        f"epochs in {minutes:.1f} min on {patches}. AP of windows on val: "
        f"{max(result.kept_ap, 0):.3f}.\n\nNot evaluated on scenes yet: `dvc repro evaluate`."
    )


def _track_files(data: TrainingData, folders: TrainingFolders, tracker: Tracker) -> None:
    """Log the pictures and the model of the output folder."""
    out = Path(folders.out)
    tracker.log_file(out / "history.json")
    for picture in sorted(out.glob("*.png")):
        tracker.log_file(picture, "pictures")
    augmentation_sheet = Path(folders.augmented) / "contact_sheet.png"
    if augmentation_sheet.is_file():
        tracker.log_file(augmentation_sheet, "pictures")
    with tempfile.TemporaryDirectory() as temporary:
        for file in ("weights.safetensors", "model.json"):
            shutil.copy(out / file, temporary)
        tracker.log_model(Path(temporary), data.example)


def make_card(finished: FinishedTraining, ranges: PixelRanges) -> Card:
    """Return the model's card; its name comes with the weights."""
    data = finished.data
    params = data.params
    summary = data.summary
    labels = data.datamodule.patches.labels()
    shown = data.datamodule.epoch_rows(0)
    prior = summary.prior["train"]
    return Card(
        task="objects" if summary.coverage is None else "coverage",
        network=NetworkCard(
            name=params.network,
            n_bands=len(summary.bands),
            n_classes=len(data.classes),
            options=architecture_options(params.options),
        ),
        classes=tuple(data.classes),
        window_px=int(finished.module.network.window_px),  # type: ignore[arg-type]
        stride_px=int(finished.module.network.stride_px),  # type: ignore[arg-type]
        gsd_m=summary.gsd_m,
        bands=tuple(summary.bands),
        dtype=summary.dtype,  # type: ignore[arg-type]
        mean=tuple(summary.mean),
        std=tuple(summary.std),
        sampled_prior=float((labels[shown] >= 0).mean()),
        true_prior=prior.true,
        class_priors=_class_priors(prior, data.classes),
        sized=data.datamodule.has_offsets_and_sizes()[1],
        ranges=ranges,
        padding_value=summary.padding_value,
        training=_training_record(finished),
    )


def _training_record(finished: FinishedTraining) -> dict[str, Any]:
    """Return what the card holds of the training itself."""
    state = finished.module.training_state
    params = finished.data.params
    n_epochs = len(state.history)
    n_planned = n_epochs if params.patience else params.epochs
    loss: str = params.loss
    if params.network in SEGMENTATION_NETWORKS:
        loss = params.segmentation.loss
    return {
        "epochs": n_epochs,
        "planned_epochs": n_planned,
        "kept_epoch": state.kept_epoch + 1,
        "window_ap_val": round(max(state.kept_ap, 0.0), AP_DIGITS),
        "loss": loss,
        "seed": params.seed,
        "mined": int(finished.data.datamodule.is_mined.sum()),
    }


def _class_priors(prior: SplitPrior, classes: list[str]) -> tuple[float, ...] | None:
    """Return the true share of windows that show each class.

    None where a class is shown by no window, so that its share is not known.
    """
    if not all(prior.by_class.get(name) for name in classes):
        return None
    return tuple(prior.by_class[name] for name in classes)


def _kept_network(finished: FinishedTraining) -> nn.Module:
    """Return the network with the weights that are kept, in evaluation mode, on the CPU."""
    network = copy.deepcopy(finished.module.network).cpu().eval()
    network.load_state_dict(finished.weights)
    return network


def _representative_pictures(data: TrainingData) -> list[Tensor]:
    """Return some patches and large patches, (B, C, H, W) pixels as read."""
    pictures: list[Tensor] = []
    for images in (data.datamodule.patches, data.datamodule.large_patches):
        if images is None:
            continue
        count = min(len(images), RANGE_IMAGES)
        rows = np.linspace(0, len(images) - 1, count).astype(np.int64)
        batch_size = max(RANGE_BATCH_PX // images.side_px**2, 1)
        batches = make_batches(rows, batch_size)
        pictures.extend(images.take(batch).pixels.cpu() for batch in batches)
    return pictures
