"""The callback that mines hard negatives: when a round is due, what it adds, how it is kept.

Each round goes through the same augmentation as the patches that were cut. Searches nothing itself:
that is `hard_negatives`.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import pandas as pd

from windhover.dataset.catalog import Catalog
from windhover.files import atomic_folder
from windhover.geometry.windows import WINDOW_PX
from windhover.inference.torch_scorer import TorchScorer
from windhover.params.augment import AugmentParams
from windhover.params.train import TrainParams
from windhover.patches.augment_patches import augment_set
from windhover.patches.patch_sheets import patch_cell
from windhover.patches.patch_store import index_table
from windhover.patches.patch_summary import PatchSummary
from windhover.progress import progress_bar
from windhover.rendering.contact_sheet import Cell, draw_sheet
from windhover.rendering.images import evenly_chosen
from windhover.tracking.runs import Tracker
from windhover.training.datamodule import PatchDataModule
from windhover.training.mined_patches import MinedPatches, mine_hard_negatives
from windhover.training.module import DetectionModule
from windhover.training.object_table import table_of_patches

logger = logging.getLogger(__name__)

SHEET_ROWS = 8
SHEET_COLUMNS = 8
SCENE_LETTERS = 12  # of a scene's name on a contact sheet
IMAGES_FILE = "images.npy"
INDEX_FILE = "index.parquet"


class HardNegativeMining(L.Callback):
    """Holds rounds of mining between epochs; they are kept in a folder next to the checkpoints.

    It is the last callback: the epoch is saved before a round is held, so that a kill while the
    scenes are searched costs no epoch.

    Attributes:
        round_log: one row a round: its number, the epoch before which it was held, what it found.
    """

    def __init__(
        self,
        params: TrainParams,
        summary: PatchSummary,
        catalog: Catalog | None,
        *,
        folder: Path,
        tracker: Tracker,
        augment: AugmentParams,
    ) -> None:
        """Take what rounds need.

        Args:
            params: of the train stage.
            summary: of the patches.
            catalog: of the training scenes; None where no round is planned.
            folder: in which finished rounds are kept.
            tracker: of the run.
            augment: how the training patches were augmented.
        """
        self._params = params
        self._summary = summary
        self._catalog = catalog
        self._folder = folder
        self._tracker = tracker
        self._augment = augment
        self._rounds: list[MinedPatches] = []
        self.round_log: list[dict[str, Any]] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take up the rounds held before a kill, and hold the one that is due."""
        module = cast(DetectionModule, pl_module)
        self._hold_due_rounds(trainer, module, module.training_state.next_epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Hold the round that is due before the next epoch."""
        module = cast(DetectionModule, pl_module)
        self._hold_due_rounds(trainer, module, trainer.current_epoch + 1)

    def _hold_due_rounds(self, trainer: L.Trainer, module: DetectionModule, epoch: int) -> None:
        """Hold or take up the rounds before an epoch.

        One model is searched with once: of two new rounds the second waits for the next epoch.
        """
        began = time.monotonic()
        state = module.training_state
        n_due = state.n_mining_rounds
        if epoch < state.planned_epochs:
            n_due = max(n_due, self._count_due(epoch, state.planned_epochs))
        n_held_before = state.n_mining_rounds
        while len(self._rounds) < n_due:
            number = len(self._rounds) + 1
            self._hold_or_load(number, trainer, module, epoch)
            if number > n_held_before:
                break
        state.n_mining_rounds = len(self._rounds)
        state.mining_seconds = time.monotonic() - began

    def _count_due(self, epoch: int, planned_epochs: int) -> int:
        """Return how many rounds are due before an epoch; none before the first."""
        shares = self._params.hard_negative_mining.after
        first_epochs = [max(round(share * planned_epochs), 1) for share in shares]
        return sum(epoch >= first_epoch for first_epoch in first_epochs)

    def _hold_or_load(
        self, number: int, trainer: L.Trainer, module: DetectionModule, epoch: int
    ) -> None:
        """Hold a round in the first process unless it is kept already; add it in all."""
        folder = self._folder / f"{number}"
        is_new = trainer.strategy.broadcast(not (folder / INDEX_FILE).is_file())
        if is_new and trainer.is_global_zero:
            self._hold(number, module, folder, epoch)
        trainer.strategy.barrier()
        mined, held_before = _load_round(folder)
        self._rounds.append(mined)
        self._log_round(number, mined, epoch if is_new else held_before)
        datamodule = cast(PatchDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        self._add_patches(mined, datamodule)

    def _hold(self, number: int, module: DetectionModule, folder: Path, epoch: int) -> None:
        """Search the training scenes and keep what is mined."""
        if self._catalog is None:
            raise RuntimeError("a round is due and there is no catalog")
        scorer = TorchScorer(
            module.inference_network,
            module.normalizer,
            device=str(module.device),
            padding_value=module.padding_value,
        )
        mining = self._params.hard_negative_mining
        mpx = sum(
            _area_mpx(row.area_m2, self._catalog.gsd_m) for row in self._catalog if row.labeled
        )
        mpx *= sum(scale**-2 for scale in mining.scales)
        with progress_bar(f"mining, round {number}", mpx, "Mpx") as advance:
            mined = mine_hard_negatives(
                self._catalog,
                scorer,
                list(self._summary.classes),
                params=mining,
                rule=self._summary.label_rule,
                origin=f"mined-{number}",
                seed=self._params.seed + number,
                progress=advance,
            )
        with atomic_folder(folder) as temporary:
            np.save(temporary / IMAGES_FILE, mined.images, allow_pickle=False)
            index = mined.index.assign(epoch=epoch)
            index.to_parquet(temporary / INDEX_FILE, index=False)

    def _log_round(self, number: int, mined: MinedPatches, epoch: int) -> None:
        n_false = mined.n_false_positives
        n_missed = mined.n_positives
        self.round_log.append(
            {"round": number, "epoch": epoch, "false_alarms": n_false, "missed": n_missed}
        )
        logger.info(
            "  mining round %d: %d false alarms, %d windows of missed objects",
            number,
            n_false,
            n_missed,
        )
        self._tracker.log_metrics(
            {"training/mined_false_alarms": n_false, "training/mined_missed": n_missed},
            step=epoch,
        )

    def _add_patches(self, mined: MinedPatches, datamodule: PatchDataModule) -> None:
        """Add the patches of a round, augmented as the others were, to the training data."""
        if not len(mined.index):
            return
        augmented = augment_set(mined.images, mined.index, self._summary, params=self._augment)
        objects = table_of_patches(augmented.index, list(self._summary.classes))
        datamodule.add_mined(augmented.images, objects)

    def write(self, folder: Path) -> None:
        """Write all rounds as `mined.npy` and `mined.parquet`, and a contact sheet of each."""
        n_bands = len(self._summary.bands)
        dtype = np.dtype(self._summary.dtype)
        images = [np.zeros((0, WINDOW_PX, WINDOW_PX, n_bands), dtype)]
        images += [mined.images for mined in self._rounds]
        tables = [mined.index for mined in self._rounds if len(mined.index)]
        index = pd.concat(tables, ignore_index=True) if tables else index_table([])
        np.save(folder / "mined.npy", np.concatenate(images), allow_pickle=False)
        index.assign(patch=np.arange(len(index))).to_parquet(folder / "mined.parquet", index=False)
        for number, mined in enumerate(self._rounds, 1):
            if len(mined.index):
                title = f"mined in round {number}: most confident first, scene by scene"
                sheet = draw_sheet(_sheet_cells(mined), title, self._summary.bands)
                sheet.save(folder / f"mined-{number}.png")


def _sheet_cells(mined: MinedPatches) -> list[list[Cell]]:
    """Return rows of patches of a round, evenly chosen over the scenes."""
    cells = []
    for row in evenly_chosen(len(mined.index), SHEET_ROWS * SHEET_COLUMNS):
        record = mined.index.iloc[row]
        title = str(record["scene"])[:SCENE_LETTERS]
        cells.append(patch_cell(mined.images[row], record, title))
    return [cells[first : first + SHEET_COLUMNS] for first in range(0, len(cells), SHEET_COLUMNS)]


def _load_round(folder: Path) -> tuple[MinedPatches, int]:
    """Return a kept round, and the epoch before which it was held (0 where it found nothing)."""
    images = np.load(folder / IMAGES_FILE, allow_pickle=False)
    index = pd.read_parquet(folder / INDEX_FILE)
    epoch = int(index["epoch"].iloc[0]) if len(index) else 0
    return MinedPatches(images, index.drop(columns="epoch")), epoch


def _area_mpx(area_m2: float, gsd_m: float) -> float:
    """Return how many million px of a GSD cover an area."""
    return area_m2 / gsd_m**2 / 1e6
