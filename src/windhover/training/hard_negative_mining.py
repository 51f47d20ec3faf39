"""Mining rounds of one training: when one is due, what it adds, and how it is kept for a training
that was killed.

Each round goes through the same augmentation as the patches that were cut. Searches nothing itself:
that is `mining`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from windhover.dataset.catalog import Catalog
from windhover.files import atomic_folder
from windhover.geometry.windows import WINDOW_PX
from windhover.inference.dense import DenseScorer
from windhover.params.augment import AugmentParams
from windhover.params.train import TrainParams
from windhover.patches.augment_patches import augment_set
from windhover.patches.contact_sheet import Cell, draw_sheet, patch_cell
from windhover.patches.patch_store import index_table, rule_of
from windhover.progress import progress_bar
from windhover.tracking.runs import Tracker
from windhover.training.hard_negatives import Found, mine
from windhover.training.module import Learner
from windhover.training.samplers import object_table

SHEET_ROWS, SHEET_COLUMNS = 8, 8


class MinedRounds:
    """The rounds of one training, kept in a folder beside its checkpoints."""

    def __init__(
        self, params: TrainParams, summary: dict[str, Any], catalog: Catalog | None, folder: Path, tracker: Tracker,
        augment: AugmentParams | None,
    ) -> None:  # fmt: skip
        self._params, self._summary, self._catalog, self._folder = params, summary, catalog, folder
        self._tracker, self._augment = tracker, augment
        self._rounds: list[Found] = []
        self.log: list[dict[str, Any]] = []

    def catch_up(self, learner: Learner) -> float:
        """Hold the rounds that are due before the epoch that begins; after a kill, take up those
        already held.

        Returns:
            Seconds spent.
        """
        began = time.monotonic()
        progress, together = learner.progress, learner.trainer.strategy
        begins = [
            max(round(share * progress.planned_epochs), 1) for share in self._params.hard_negative_mining.after
        ]
        due = max(sum(learner.current_epoch >= epoch for epoch in begins), progress.rounds_done)
        while len(self._rounds) < due:
            number = len(self._rounds) + 1
            kept = self._folder / f"{number}"
            fresh = together.broadcast(not (kept / "index.parquet").is_file())
            if fresh and learner.trainer.is_global_zero:
                self._hold(number, learner, kept)
            together.barrier()
            self._add(
                number, _load(kept), learner, learner.current_epoch if fresh else _epoch(kept)
            )
            if number > progress.rounds_done:
                break  # one model is searched with once: the next round waits for the next epoch
        progress.rounds_done = len(self._rounds)
        return time.monotonic() - began

    def _hold(self, number: int, learner: Learner, kept: Path) -> None:
        if self._catalog is None:
            raise RuntimeError("a round is due and there is no catalog")
        scorer = DenseScorer(learner.kept_network, learner.normalizer, device=str(learner.device))
        mpx = sum(_mpx(row, self._catalog.gsd_m) for row in self._catalog if row.labeled)
        mpx *= sum(scale**-2 for scale in self._params.hard_negative_mining.scales)
        rule = rule_of(self._summary)
        with progress_bar(f"mining, round {number}", mpx, "Mpx") as advance:
            classes, seed = list(self._summary["classes"]), self._params.seed + number
            found = mine(
                self._catalog,
                scorer,
                classes,
                self._params.hard_negative_mining,
                rule,
                f"mined-{number}",
                seed,
                advance,
            )
        with atomic_folder(kept) as folder:
            np.save(folder / "images.npy", found.images, allow_pickle=False)
            found.index.assign(epoch=learner.current_epoch).to_parquet(
                folder / "index.parquet", index=False
            )

    def _add(self, number: int, found: Found, learner: Learner, epoch: int) -> None:
        self._rounds.append(found)
        positives = int((found.index["class"] != "").sum())
        row = {
            "round": number,
            "epoch": epoch,
            "false_alarms": len(found.index) - positives,
            "missed": positives,
        }
        self.log.append(row)
        alarms = len(found.index) - positives
        print(
            f"  mining round {number}: {alarms} false alarms, {positives} windows of missed objects"
        )
        self._tracker.metrics(
            {"mined_false_alarms": row["false_alarms"], "mined_missed": positives}, step=epoch
        )
        if not len(found.index):
            return
        images, index = found.images, found.index
        if self._augment is not None:
            done = augment_set(images, index, self._summary, self._augment)
            images, index = done.images, done.index
        learner.data.add_patches(images, object_table(index, list(self._summary["classes"])))

    def write(self, folder: Path) -> None:
        """Write all rounds as `mined.npy` and `mined.parquet`, and a contact sheet of each."""
        bands, dtype = len(self._summary["bands"]), np.dtype(self._summary["dtype"])
        images = [
            np.zeros((0, WINDOW_PX, WINDOW_PX, bands), dtype),
            *(found.images for found in self._rounds),
        ]
        tables = [found.index for found in self._rounds if len(found.index)]
        index = pd.concat(tables, ignore_index=True) if tables else index_table([])
        np.save(folder / "mined.npy", np.concatenate(images), allow_pickle=False)
        index.assign(patch=np.arange(len(index))).to_parquet(folder / "mined.parquet", index=False)
        for number, found in enumerate(self._rounds, 1):
            if len(found.index):
                sheet = draw_sheet(
                    _sheet(found), f"mined in round {number}: most confident first, scene by scene"
                )
                sheet.save(folder / f"mined-{number}.png")


def _sheet(found: Found) -> list[list[Cell]]:
    """Choose patches of a round evenly over the scenes."""
    wanted = SHEET_ROWS * SHEET_COLUMNS
    chosen = np.unique(
        np.linspace(0, len(found.index) - 1, min(wanted, len(found.index))).astype(int)
    )
    cells = []
    for row in chosen:
        record = found.index.iloc[row]
        cells.append(patch_cell(found.images[row], record, str(record["scene"])[:12]))
    return [cells[first : first + SHEET_COLUMNS] for first in range(0, len(cells), SHEET_COLUMNS)]


def _epoch(folder: Path) -> int:
    """Return the epoch before which a kept round was held; 0 where it found nothing to write it
    beside.
    """
    epochs = pd.read_parquet(folder / "index.parquet")["epoch"]
    return int(epochs.iloc[0]) if len(epochs) else 0


def _load(folder: Path) -> Found:
    return Found(
        np.load(folder / "images.npy", allow_pickle=False),
        pd.read_parquet(folder / "index.parquet").drop(columns="epoch"),
    )


def _mpx(row: Any, gsd_m: float) -> float:
    return float(row.width_px * row.gsd_x_m * row.height_px * row.gsd_y_m / gsd_m**2 / 1e6)
