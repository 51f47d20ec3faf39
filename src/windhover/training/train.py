"""The train stage's flow: data in, Lightning's loop with mining between epochs, the weights and
their card out.

Fits the time it is given by planning fewer epochs, goes on after a kill from the last finished
epoch, and ends with the latest weights, unless earlier ones were clearly better on validation. What
a step does is the learner's; what a round of mining does is `mining`'s.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy

from windhover.errors import ParameterError
from windhover.files import atomic_file, sha256_file
from windhover.models.bundle import load_bundle
from windhover.models.networks import build_network
from windhover.models.normalize import Normalizer
from windhover.models.quantization import processor_offers
from windhover.params.train import TrainParams
from windhover.patches.augment_patches import declared_augmentation
from windhover.progress import progress_bar
from windhover.tracking.runs import NoTracker, Tracker, dvc_hashes, start_run
from windhover.training.artifacts import Trained, write_outcome
from windhover.training.batch_augment import value_range
from windhover.training.datamodule import Folders, gather
from windhover.training.distillation import load_teacher
from windhover.training.distributed import count_processes, speaking_for_all, this_process
from windhover.training.hard_negative_mining import MinedRounds
from windhover.training.losses import Objective
from windhover.training.module import Learner
from windhover.training.time_budget import Clock

CHECKPOINTS = Path(".windhover/checkpoints")
PATIENCE = timedelta(days=7)  # with which processes wait for one that mines or cuts crops
LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def train_detector(
    params: TrainParams,
    folders: Folders,
    track: bool = True,
    name: str | None = None,
    is_enough: Callable[[Mapping[str, float]], bool] = lambda _: False,
) -> Trained:
    """Train and write `weights.pt`, `model.json`, `mined.npy`, `mined.parquet`, `history.json` and
    pictures.

    Args:
        params: of the stage.
        folders: what is read and written.
        track: whether it is a run in MLflow.
        name: of the run; by default that of the network. The model's key follows it when
            training ends.
        is_enough: told each epoch's row of history; training ends where it says so.

    Raises:
        MissingFileError: an earlier stage's output is missing.
        DataError: there is no positive to learn from.
    """
    processes = count_processes(params)
    rank = this_process(processes)
    torch.set_num_threads(max((params.threads or os.cpu_count() or 1) // processes, 1))
    L.seed_everything(params.seed, workers=False, verbose=False)
    with speaking_for_all(rank):
        session = _Session(params, folders, name or params.network, processes, rank)
        context = start_run(name or "train") if track and rank == 0 else _untracked()
        with context as tracker:
            session.describe(tracker)
            rounds = session.run(tracker, is_enough)
            if rank == 0:
                trained = write_outcome(
                    session.material, session.learner, rounds, folders, tracker, session.name
                )
    shutil.rmtree(session.checkpoints, ignore_errors=True)
    return trained


class _Session:
    """One training from its folders to its outputs."""

    def __init__(
        self, params: TrainParams, folders: Folders, name: str, processes: int, rank: int
    ) -> None:
        self.folders, self.name, self.processes, self.rank = folders, name, processes, rank
        self.on_gpu = torch.cuda.is_available()
        self.device = f"cuda:{rank}" if self.on_gpu else "cpu"
        self.precision = chosen_precision(params.training_precision, self.on_gpu)
        self.key = fingerprint(params, folders)
        self.checkpoints = CHECKPOINTS / self.key
        self.material = gather(params, folders, self.device)
        self.params = self.material.params
        self.learner = self._learner()

    def _learner(self) -> Learner:
        params, material = self.params, self.material
        summary = material.summary
        torch.manual_seed(params.seed)
        network = build_network(
            params.network, len(summary["bands"]), len(material.classes), **params.options
        )
        if params.start_from is not None:
            start = load_bundle(params.start_from)
            try:
                network.load_state_dict(dict(start.weights))
            except RuntimeError:
                raise ParameterError(
                    f"`train.start_from`: the network of {params.start_from} is another one. Train the same."
                ) from None
        places, sizes = material.data.tells()
        network.heads.silence(offsets=not places, sizes=not sizes)  # type: ignore[union-attr, operator]
        objective = Objective(
            params.loss, material.counts, params.focal_alpha, params.focal_gamma, params.class_balanced_beta,
            params.logit_adjustment_tau, params.label_smoothing, params.offset_weight, params.size_weight,
            negatives_per_positive=params.large_patches.negatives_per_positive, distillation_weight=params.distillation_weight,
        )  # fmt: skip
        between = value_range(summary["dtype"], summary["mean"], summary["std"])
        return Learner(
            network,
            Normalizer(summary["mean"], summary["std"]),
            objective,
            material.data,
            params,
            between,
            len(material.classes),
            load_teacher(params.teacher, summary)
            if params.teacher is not None and params.distillation_weight
            else None,
        )

    def describe(self, tracker: Tracker) -> None:
        """Write what this run is into the tracker."""
        tracker.params(self.params.model_dump(mode="json"))
        weights = sum(parameter.numel() for parameter in self.learner.network.parameters())
        hashes = dvc_hashes([self.folders.scenes, self.folders.patches, self.folders.augmented])
        device = torch.device(self.device).type
        machine = {"device": device, "precision": self.precision, "network.parameters": weights}
        tracker.tags(machine | {f"dvc.{k}": v for k, v in hashes.items()})
        digest = hashes.get(self.folders.augmented, self.key)
        kinds = ["background", *self.material.classes]
        profile = {
            f"patches.{kind}": count
            for kind, count in zip(kinds, self.material.counts, strict=True)
        }
        tracker.dataset("training patches", self.folders.augmented, digest, profile)

    def run(
        self, tracker: Tracker, is_enough: Callable[[Mapping[str, float]], bool]
    ) -> MinedRounds:
        """Train, and log each epoch; return the rounds of mining that were held."""
        learner, params = self.learner, self.params
        last = self.checkpoints / "last.ckpt"
        resumed = last.is_file()
        rounds = MinedRounds(
            params,
            self.material.summary,
            self.material.catalog,
            self.checkpoints / "mined",
            tracker,
            declared_augmentation(Path(self.folders.augmented)),
        )
        clock = Clock(
            learner, params.max_minutes, len(params.hard_negative_mining.after), self.precision, self.device
        )
        if not resumed and self.rank == 0:
            clock.rehearse()
        elif resumed:
            print(f"  going on from the last finished epoch ({last})")
            kept = torch.load(last, map_location="cpu", weights_only=True)["windhover"]["progress"]
            learner.progress.planned_epochs = kept["planned_epochs"]
            for row in kept[
                "history"
            ]:  # the run that was killed stays unfinished; this one tells the whole story
                tracker.metrics(
                    {name: value for name, value in row.items() if name != "epoch"},
                    step=int(row["epoch"]),
                )
                is_enough(
                    row
                )  # it judges by all epochs, though its answer counts from the next one on
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with progress_bar("training", learner.progress.planned_epochs, "epochs") as advance:

            def after_epoch(row: Any) -> None:
                clock.replan()
                tracker.metrics(
                    {name: value for name, value in row.items() if name != "epoch"},
                    step=int(row["epoch"]),
                )
                advance(1, learner.progress.planned_epochs)
                if is_enough(row):
                    learner.stop()

            learner.before_epoch, learner.after_epoch = rounds.catch_up, after_epoch
            with _quiet_lightning():
                self._trainer().fit(
                    learner, ckpt_path=str(last) if resumed else None, weights_only=True
                )
        return rounds

    def _trainer(self) -> L.Trainer:
        params = self.params
        checkpoint = ModelCheckpoint(
            dirpath=self.checkpoints,
            filename="last",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        return L.Trainer(
            accelerator="gpu" if self.on_gpu else "cpu",
            devices=self.processes,
            # a step may leave a part without a gradient: heads of which no picture tells, a trunk
            # that is frozen
            strategy=DDPStrategy(find_unused_parameters=True, timeout=PATIENCE)
            if self.processes > 1
            else "auto",
            precision=LIGHTNING_PRECISION[self.precision],
            max_epochs=self.learner.progress.planned_epochs,
            gradient_clip_val=params.gradient_clip_norm or None,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            limit_val_batches=None if len(self.material.data.validation) else 0,
            logger=False,
            callbacks=[checkpoint],
            enable_progress_bar=False,
            enable_model_summary=False,
            benchmark=False,
            deterministic=not self.on_gpu,
            use_distributed_sampler=False,
            plugins=[_WholeFiles()],
            default_root_dir=self.checkpoints,
        )


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints written aside, on the same file system, and renamed: a kill leaves the one
    before.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write one file, whole or not at all."""
        with atomic_file(path) as temporary:
            torch.save(checkpoint, temporary)


def chosen_precision(wanted: str, on_gpu: bool) -> str:
    """Return `fp32`, `bf16` or `fp16`; `auto` takes bf16 where the device computes in it, else
    `fp32` or a GPU's fp16.

    Raises:
        ParameterError: `fp16` without a GPU.
    """
    if wanted == "fp16" and not on_gpu:
        raise ParameterError(
            "`train.training_precision: fp16` needs a GPU, and there is none. Take auto, bf16 or fp32."
        )
    if wanted != "auto":
        return wanted
    if on_gpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if processor_offers("avx512_bf16", "amx_bf16") else "fp32"


def fingerprint(params: TrainParams, folders: Folders) -> str:
    """Return 16 digits of a hash over code, data and parameters: a checkpoint of other ones is
    never gone on from.
    """
    digest = hashlib.sha256(json.dumps(params.model_dump(mode="json"), sort_keys=True).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    models = [Path(model) for model in (params.start_from, params.teacher) if model is not None]
    files = [path for model in models for path in sorted(model.glob("*"))] + [
        Path(str(params.options.get("weights")))
    ]
    for path in (path for path in files if path.is_file()):  # one that is missing is said later
        digest.update(sha256_file(path).encode())
    for folder, names in (
        (folders.scenes, "*.parquet"),
        (folders.patches, "*"),
        (folders.augmented, "*"),
    ):
        for path in sorted(Path(folder).glob(names)):
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()[:16]


@contextmanager
def _untracked() -> Iterator[Tracker]:
    yield NoTracker()


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes off the terminal: what matters is said by us."""
    names = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
