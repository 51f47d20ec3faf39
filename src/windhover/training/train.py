"""The train stage: load the data, build the module, fit it with Lightning, write the model.

Fits the time it is given by planning fewer epochs, resumes after a kill from the last finished
epoch, and ends with the latest weights unless earlier ones were clearly better on validation.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lightning as L
import torch

from windhover.files import lock_output
from windhover.models.network_names import SEGMENTATION_NETWORKS, current_name
from windhover.params.parameter_sets import describe_parameters
from windhover.params.train import TrainParams
from windhover.patches.augment_patches import read_augment_params
from windhover.progress import progress_bar
from windhover.tracking.runs import NoTracker, Tracker, dvc_hashes, start_run
from windhover.training.artifacts import FinishedTraining, TrainingResult, write_artifacts
from windhover.training.build_module import build_module
from windhover.training.callbacks.epoch_history import EpochHistory
from windhover.training.callbacks.epoch_report import EpochReport, ShouldStop
from windhover.training.callbacks.hard_negative_mining import HardNegativeMining
from windhover.training.callbacks.keep_weights import KeepWeights
from windhover.training.callbacks.last_checkpoint import LastCheckpoint
from windhover.training.callbacks.process_sync import ProcessSync
from windhover.training.callbacks.time_budget import TimeBudget
from windhover.training.callbacks.validation_patience import ValidationPatience
from windhover.training.data_fingerprint import training_fingerprint
from windhover.training.distributed import count_processes, process_rank, rank_zero_output
from windhover.training.module import DetectionModule
from windhover.training.segmentation_data import (
    build_segmentation_module,
    load_segmentation_data,
)
from windhover.training.trainer import make_trainer, quiet_lightning, select_precision
from windhover.training.training_data import TrainingData, TrainingFolders, load_training_data

logger = logging.getLogger(__name__)

CHECKPOINTS = Path(".windhover/checkpoints")
VERSION_CHARS = 8  # of a hash of DVC


def never_stop(row: Mapping[str, float]) -> bool:
    """Train all planned epochs."""
    return False


def train_detector(
    params: TrainParams,
    folders: TrainingFolders,
    *,
    track: bool = True,
    name: str | None = None,
    should_stop: ShouldStop = never_stop,
) -> TrainingResult:
    """Train and write the model, the mined patches, `history.json` and pictures.

    Args:
        params: of the stage.
        folders: what is read and written.
        track: whether it is a run in MLflow.
        name: of the run; by default that of the network. The model's key follows it when
            training ends.
        should_stop: takes each epoch's row of history; training ends where it returns True.

    Raises:
        ParameterError: another training writes the folder.
        MissingFileError: an earlier stage's output is missing.
        DataError: there is no object to learn from.
    """
    n_processes = count_processes(params)
    rank = process_rank(n_processes)
    torch.set_num_threads(max((params.threads or os.cpu_count() or 1) // n_processes, 1))
    L.seed_everything(params.seed, workers=False, verbose=False)
    with rank_zero_output(rank), ExitStack() as locks:
        if rank == 0:
            locks.enter_context(lock_output(folders.out))
        training = _Training(params, folders, n_processes=n_processes, rank=rank)
        with _open_run(name or "train", track=track and rank == 0) as tracker:
            training.describe(tracker)
            finished = training.fit(tracker, should_stop)
            if rank == 0:
                result = write_artifacts(
                    finished, folders, tracker=tracker, name=name or params.network
                )
    shutil.rmtree(training.checkpoints, ignore_errors=True)
    return result


class _Training:
    """One training from its folders to its last epoch."""

    def __init__(
        self, params: TrainParams, folders: TrainingFolders, *, n_processes: int, rank: int
    ) -> None:
        on_gpu = torch.cuda.is_available()
        self.folders = folders
        self.n_processes = n_processes
        self.rank = rank
        self.device = f"cuda:{rank}" if on_gpu else "cpu"
        self.precision = select_precision(params.training_precision, on_gpu)
        self.key = training_fingerprint(params, folders)
        self.checkpoints = CHECKPOINTS / self.key
        self.data: TrainingData
        self.module: DetectionModule
        if current_name(params.network) in SEGMENTATION_NETWORKS:
            self.data = load_segmentation_data(params, folders)
            self.module = build_segmentation_module(self.data)
        else:
            self.data = load_training_data(params, folders, self.device)
            self.module = build_module(self.data)
        self.params = self.data.params

    def describe(self, tracker: Tracker) -> None:
        """Write parameters, machine and data of this run into the tracker."""
        folders = self.folders
        tracker.log_params(self.params.model_dump(mode="json"))
        hashes = dvc_hashes([folders.scenes, folders.patches, folders.augmented])
        tags = {
            "model": self.params.network,
            "data_version": hashes.get(folders.scenes, "")[:VERSION_CHARS] or "not in dvc.lock",
            "parameter_set": describe_parameters(Path("params.yaml"), Path("params")),
            "device": torch.device(self.device).type,
            "training_precision": self.precision,
            "network.parameters": sum(p.numel() for p in self.module.network.parameters()),
        }
        tracker.set_tags(tags | {f"dvc.{folder}": digest for folder, digest in hashes.items()})
        digest = hashes.get(folders.augmented, self.key)
        names = ["background", *self.data.classes]
        counts = zip(names, self.data.class_counts, strict=True)
        profile = {f"patches.{name}": count for name, count in counts}
        tracker.log_dataset("training patches", folders.augmented, digest=digest, profile=profile)

    def fit(self, tracker: Tracker, should_stop: ShouldStop) -> FinishedTraining:
        """Train to the last epoch, from the checkpoint of a killed training if there is one."""
        last = self.checkpoints / "last.ckpt"
        is_resumed = last.is_file()
        time_budget = TimeBudget(
            self.params.max_minutes,
            len(self.params.hard_negative_mining.after),
            training_precision=self.precision,
            device=self.device,
        )
        if is_resumed:
            logger.info("  resuming from the last finished epoch (%s)", last)
        elif self.rank == 0:
            time_budget.calibrate(self.module, self.data.datamodule)
        keep_weights = KeepWeights()
        mining = self._make_mining(tracker)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        n_epochs = self.module.training_state.planned_epochs
        with progress_bar("training", n_epochs, "epochs") as advance, quiet_lightning():
            trainer = make_trainer(
                self.params,
                # in the order in which they act when an epoch ends
                [
                    EpochHistory(),
                    keep_weights,
                    ValidationPatience(self.params),
                    time_budget,
                    EpochReport(tracker, advance, should_stop),
                    ProcessSync(),
                    LastCheckpoint(last),
                    mining,
                ],
                n_processes=self.n_processes,
                training_precision=self.precision,
                has_validation=len(self.data.datamodule.validation) > 0,
                root=self.checkpoints,
            )
            trainer.fit(
                self.module,
                datamodule=self.data.datamodule,
                ckpt_path=str(last) if is_resumed else None,
                weights_only=True,
            )
        return FinishedTraining(self.data, self.module, keep_weights.weights, mining)

    def _make_mining(self, tracker: Tracker) -> HardNegativeMining:
        return HardNegativeMining(
            self.params,
            self.data.summary,
            self.data.catalog,
            folder=self.checkpoints / "mined",
            tracker=tracker,
            augment=read_augment_params(Path(self.folders.augmented)),
        )


@contextmanager
def _open_run(name: str, *, track: bool) -> Iterator[Tracker]:
    """Open a run in MLflow, or yield a tracker that writes nothing."""
    if not track:
        yield NoTracker()
        return
    with start_run(name) as tracker:
        yield tracker
