"""What a training leaves: the weights that are kept, their card, the history and pictures.

Refuses to learn: what is written here is decided when the last epoch ends.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from windhover.files import atomic_folder, write_json
from windhover.models.bundle import Card, NetworkCard, save_bundle
from windhover.models.networks import lasting_options
from windhover.models.normalize import Normalizer
from windhover.models.quantization import Ranges, measure_ranges
from windhover.tracking.runs import KEY_TAG, Tracker, run_name
from windhover.training.datamodule import Folders, Material
from windhover.training.hard_negative_mining import MinedRounds
from windhover.training.module import Learner
from windhover.training.samplers import batches
from windhover.training.training_curves import draw_curves

PICTURES_FOR_RANGES, PX_AT_ONCE = (
    256,
    1 << 19,
)  # of the patches, and of the crops; what memory holds in fp32


@dataclass(frozen=True)
class Trained:
    """What training came to."""

    card: Card
    history: list[dict[str, float]]
    kept_epoch: int
    kept_ap: float  # of windows on validation; below 0 where there are none
    seconds: float

    def lines(self) -> list[str]:
        """Return it for the terminal."""
        network = self.card.network
        return [
            f"  {network.name} trained for {len(self.history)} epochs in {self.seconds / 60:.1f} min",
            f"  kept epoch {self.kept_epoch + 1}, AP of windows on validation {max(self.kept_ap, 0):.4f}",
            f"  model {self.card.name}",
        ]


def write_outcome(
    material: Material,
    learner: Learner,
    rounds: MinedRounds,
    folders: Folders,
    tracker: Tracker,
    name: str,
) -> Trained:
    """Write the stage's output folder whole, log it, and say what training came to.

    Args:
        material: what was learnt from.
        learner: at the end of its last epoch.
        rounds: of mining.
        folders: `out` is replaced.
        tracker: of the run.
        name: of the run; the model's key follows it.
    """
    progress = learner.progress
    with atomic_folder(folders.out) as folder:
        card = save_bundle(folder, card_of(material, learner), learner.kept)
        rounds.write(folder)
        write_json(folder / "history.json", {"epochs": progress.history, "rounds": rounds.log})
        draw_curves(progress.history, rounds.log, folder / "curves.png")
        if material.sheet is not None:
            material.sheet.save(folder / "crops.png")
    tracker.tags({KEY_TAG: card.name, **run_name(name, card.name), "epochs": len(progress.history)})
    tracker.metrics(
        {
            "kept_val_ap": progress.kept_ap,
            "kept_epoch": progress.kept_epoch + 1,
            "minutes": progress.seconds / 60,
        }
    )
    out = Path(folders.out)
    for picture in sorted(out.glob("*.png")):
        tracker.file(picture, "pictures")
    sheet = Path(folders.augmented) / "contact_sheet.png"
    if sheet.is_file():
        tracker.file(sheet, "pictures")
    with tempfile.TemporaryDirectory() as temporary:
        for file in ("weights.pt", "model.json"):
            shutil.copy(out / file, temporary)
        tracker.model(Path(temporary), material.example)
    return Trained(card, progress.history, progress.kept_epoch, progress.kept_ap, progress.seconds)


def card_of(material: Material, learner: Learner) -> Card:
    """Return the model's card; its name comes with the weights."""
    params, summary, data = material.params, material.summary, material.data
    labels = data.patches.labels()
    rows = learner.sampler.epoch(labels, data.mined, 0)
    progress = learner.progress
    return Card(
        network=NetworkCard(
            name=params.network,
            n_bands=len(summary["bands"]),
            n_classes=len(material.classes),
            options=lasting_options(params.options),
        ),
        classes=tuple(material.classes),
        window_px=summary["window_px"],
        stride_px=int(learner.network.stride_px),  # type: ignore[arg-type]
        gsd_m=summary["gsd_m"],
        bands=tuple(summary["bands"]),
        dtype=summary["dtype"],
        mean=tuple(summary["mean"]),
        std=tuple(summary["std"]),
        sampled_prior=float((labels[rows] >= 0).mean()),
        true_prior=summary["prior"]["train"]["true"],
        class_priors=_class_priors(summary["prior"]["train"].get("by_class", {}), material.classes),
        sized=data.tells()[1],
        ranges=_ranges(material, learner),
        training={
            "epochs": len(progress.history), "kept_epoch": progress.kept_epoch + 1,
            "window_ap_val": round(max(progress.kept_ap, 0.0), 6),
            "loss": params.loss, "seed": params.seed, "mined": int(data.mined.sum()),
        },
    )  # fmt: skip


def _class_priors(by_class: Mapping[str, float], classes: list[str]) -> tuple[float, ...] | None:
    """Return the true share of windows that show each class, None where one is shown by none and so
    is not known.
    """
    return (
        tuple(by_class[name] for name in classes)
        if all(by_class.get(name) for name in classes)
        else None
    )


def _ranges(material: Material, learner: Learner) -> Ranges | None:
    """Return how far the numbers of the kept network go, over some of the patches and crops."""
    network = copy.deepcopy(learner.network).cpu().eval()
    network.load_state_dict(learner.kept)
    pictures = []
    for part in (material.data.patches, material.data.crops):
        if part is None:
            continue
        rows = np.linspace(0, len(part) - 1, min(len(part), PICTURES_FOR_RANGES)).astype(np.int64)
        at_once = max(PX_AT_ONCE // part.side_px**2, 1)
        pictures += [part.take(some).pixels.cpu() for some in batches(rows, at_once)]
    return measure_ranges(
        network, Normalizer(material.summary["mean"], material.summary["std"]), pictures
    )
