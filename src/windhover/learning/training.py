"""The train stage's flow: data in, Lightning's loop with mining between epochs, the weights and their card out.

Fits the time it is given by planning fewer epochs, goes on after a kill from the last finished epoch, and ends with the
weights that were best on validation. What a step does is the learner's; what a round of mining does is `mining`'s.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from windhover.catalogue.tables import Catalogue, load_catalogue
from windhover.errors import DataError, ParameterError
from windhover.files import atomic_folder, sha256_file, write_json
from windhover.learning.crops import Crops, cut_crops
from windhover.learning.datasets import PictureSet, batches, object_table
from windhover.learning.jitter import value_range
from windhover.learning.learner import LabelRule, Learner, TrainingData
from windhover.learning.mined_rounds import MinedRounds
from windhover.learning.objective import Objective
from windhover.learning.pacing import Clock
from windhover.learning.teacher import load_teacher
from windhover.learning.training_curves import draw_curves
from windhover.models.bundles import WEIGHTS, Card, NetworkCard, load_bundle, save_bundle
from windhover.models.networks import build_network, lasting_options
from windhover.models.normalize import Normalizer
from windhover.models.quantizing import Ranges, measure_ranges, processor_offers
from windhover.params.train import TrainParams
from windhover.patches.augmenting import declared_augmentation
from windhover.patches.contact_sheet import crop_sheet
from windhover.patches.store import load_patches, read_summary
from windhover.progress import progress_bar
from windhover.tracking.runs import KEY_TAG, NoTracker, Tracker, dvc_hashes, run_name, start_run

CHECKPOINTS = Path(".windhover/checkpoints")
LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
PICTURES_FOR_RANGES, PX_AT_ONCE = 256, 1 << 19  # of the patches, and of the crops; what memory holds in fp32
GPU_SHARE = 0.6  # of the free memory of a GPU that pictures may take; beyond it they stay on the CPU


@dataclass(frozen=True)
class Folders:
    """What the stage reads and writes."""

    scenes: str
    patches: str
    augmented: str
    out: str


@dataclass(frozen=True)
class Trained:
    """What training came to."""

    card: Card
    history: list[dict[str, float]]
    best_epoch: int
    best_ap: float
    seconds: float

    def lines(self) -> list[str]:
        """Return it for the terminal."""
        network = self.card.network
        return [
            f"  {network.name} trained for {len(self.history)} epochs in {self.seconds / 60:.1f} min",
            f"  kept epoch {self.best_epoch + 1}, AP of windows on validation {max(self.best_ap, 0):.4f}",
            f"  model {self.card.name}",
        ]


def train_detector(
    params: TrainParams,
    folders: Folders,
    track: bool = True,
    name: str | None = None,
    is_enough: Callable[[Mapping[str, float]], bool] = lambda _: False,
) -> Trained:
    """Train and write `weights.pt`, `model.json`, `mined.npy`, `mined.parquet`, `history.json` and pictures.

    Args:
        params: of the stage.
        folders: what is read and written.
        track: whether it is a run in MLflow.
        name: of the run; by default that of the network. The model's key follows it when training ends.
        is_enough: told each epoch's row of history; training ends where it says so.

    Raises:
        MissingFileError: an earlier stage's output is missing.
        DataError: there is no positive to learn from.
    """
    torch.set_num_threads(params.threads or os.cpu_count() or 1)
    L.seed_everything(params.seed, workers=False, verbose=False)
    session = _Session(params, folders, name or params.network)
    context = start_run(name or "train") if track else _untracked()
    with context as tracker:
        session.describe(tracker)
        trained = session.run(tracker, is_enough)
    shutil.rmtree(session.checkpoints, ignore_errors=True)
    return trained


class _Session:
    """One training from its folders to its outputs."""

    def __init__(self, params: TrainParams, folders: Folders, name: str) -> None:
        self.params, self.folders, self.name = params, folders, name
        self.summary = read_summary(folders.patches)
        self.classes: list[str] = list(self.summary["classes"])
        self.catalogue: Catalogue | None = None
        if params.mining.after or params.crops.per_batch:
            self.params, self.catalogue = _scenes_to_learn_from(params, folders)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.precision = chosen_precision(params.precision, self.device)
        self.key = fingerprint(params, folders)
        self.checkpoints = CHECKPOINTS / self.key
        self.sheet: Image.Image | None = None  # of crops, where there are any
        self.data, self.counts, self.example = self._read()
        self.learner = self._learner()

    # -- what is learnt from --------------------------------------------------------------------------------------

    def _read(self) -> tuple[TrainingData, tuple[int, ...], Any]:
        train, val = load_patches(self.folders.augmented, "train"), load_patches(self.folders.patches, "val")
        table = object_table(train.index, self.classes)
        counts = tuple(int((table[:, 0] == k).sum()) for k in range(-1, len(self.classes)))
        if not sum(counts[1:]):
            raise DataError("The training patches hold no object. Bring more labelled scenes, or change `scenes.seed`.")
        place = self._place(train.images.nbytes)
        crops = None
        if self.params.crops.per_batch:
            cut = self._cut_crops()
            crops, self.sheet = PictureSet(cut.images, cut.objects, place), crop_sheet(cut.images, cut.objects)
        data = TrainingData(
            PictureSet(train.images, table, place),
            np.zeros(len(table), bool),
            crops,
            PictureSet(val.images, object_table(val.index, self.classes), self.device),
            LabelRule(
                self.summary["positive_radius_px"],
                self.summary["ignore_radius_px"],
                self.summary["radius_shape"] == "circle",
            ),
        )
        return data, counts, np.asarray(train.images[:4])

    def _place(self, size_bytes: int) -> str:
        """Return where pictures are held: on the GPU when they fit."""
        if self.device == "cuda" and size_bytes > GPU_SHARE * torch.cuda.mem_get_info()[0]:
            print("  the training pictures do not fit on the GPU and stay in main memory")
            return "cpu"
        return self.device

    def _cut_crops(self) -> Crops:
        assert_dense(self.params)
        if self.catalogue is None:
            raise RuntimeError("crops are wanted and there is no catalogue")
        catalogue = self.catalogue
        with progress_bar("cutting crops", self.params.crops.count, "crops") as advance:
            cut = cut_crops(
                catalogue, self.classes, self.params.crops, self.params.seed, advance, self.summary["ignore_radius_px"]
            )
        if cut.crowded < cut.chosen:
            print(f"  {cut.chosen - cut.crowded} of {cut.chosen} crops were not crowded: no room, or sizes not known")
        return cut

    # -- what learns ----------------------------------------------------------------------------------------------

    def _learner(self) -> Learner:
        params, summary = self.params, self.summary
        torch.manual_seed(params.seed)
        network = build_network(params.network, len(summary["bands"]), len(self.classes), **params.options)
        if params.start_from is not None:
            start = load_bundle(params.start_from)
            try:
                network.load_state_dict(dict(start.weights))
            except RuntimeError:
                raise ParameterError(
                    f"`train.start_from`: the network of {params.start_from} is another one. Train the same."
                ) from None
        places, sizes = self.data.tells()
        network.heads.silence(offsets=not places, sizes=not sizes)  # type: ignore[union-attr, operator]
        objective = Objective(
            params.loss, self.counts, params.focal_alpha, params.focal_gamma, params.balance_beta, params.adjust_tau,
            params.label_smoothing, params.offset_weight, params.size_weight,
            negatives_per_positive=params.crops.negatives_per_positive, distil_weight=params.distil_weight,
        )  # fmt: skip
        between = value_range(summary["dtype"], summary["mean"], summary["std"])
        return Learner(
            network,
            Normalizer(summary["mean"], summary["std"]),
            objective,
            self.data,
            params,
            between,
            len(self.classes),
            load_teacher(params.teacher, summary) if params.teacher is not None and params.distil_weight else None,
        )

    # -- the loop -------------------------------------------------------------------------------------------------

    def describe(self, tracker: Tracker) -> None:
        """Write what this run is into the tracker."""
        tracker.params(self.params.model_dump(mode="json"))
        weights = sum(parameter.numel() for parameter in self.learner.network.parameters())
        hashes = dvc_hashes([self.folders.scenes, self.folders.patches, self.folders.augmented])
        machine = {"device": self.device, "precision": self.precision, "network.parameters": weights}
        tracker.tags(machine | {f"dvc.{k}": v for k, v in hashes.items()})
        digest = hashes.get(self.folders.augmented, self.key)
        profile = {
            f"patches.{name}": count for name, count in zip(["background", *self.classes], self.counts, strict=True)
        }
        tracker.dataset("training patches", self.folders.augmented, digest, profile)

    def run(self, tracker: Tracker, is_enough: Callable[[Mapping[str, float]], bool]) -> Trained:
        """Train, write the outputs, and log them."""
        learner, params = self.learner, self.params
        last = self.checkpoints / "last.ckpt"
        resumed = last.is_file()
        rounds = MinedRounds(
            params,
            self.summary,
            self.catalogue,
            self.checkpoints / "mined",
            tracker,
            declared_augmentation(Path(self.folders.augmented)),
        )
        clock = Clock(learner, params.max_minutes, len(params.mining.after), self.precision)
        if not resumed:
            clock.rehearse()
        else:
            print(f"  going on from the last finished epoch ({last})")
            kept = torch.load(last, map_location="cpu", weights_only=True)["windhover"]["progress"]
            learner.progress.planned_epochs = kept["planned_epochs"]
            for row in kept["history"]:  # the run that was killed stays unfinished; this one tells the whole story
                tracker.metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
                is_enough(row)  # it judges by all epochs, though its answer counts from the next one on
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        with progress_bar("training", learner.progress.planned_epochs, "epochs") as advance:

            def after_epoch(row: Any) -> None:
                clock.replan()
                tracker.metrics({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))
                advance(1, learner.progress.planned_epochs)
                if is_enough(row):
                    learner.stop()

            learner.before_epoch, learner.after_epoch = rounds.catch_up, after_epoch
            with _quiet_lightning():
                trainer = clock.trainer = self._trainer()
                trainer.fit(learner, ckpt_path=str(last) if resumed else None, weights_only=True)
        return self._write(tracker, rounds)

    def _trainer(self) -> L.Trainer:
        params = self.params
        # written aside and renamed by Lightning, one file in all
        checkpoint = ModelCheckpoint(
            dirpath=self.checkpoints, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
        )
        return L.Trainer(
            accelerator="gpu" if self.device == "cuda" else "cpu",
            devices="auto" if self.device == "cuda" else 1,
            precision=LIGHTNING_PRECISION[self.precision],
            max_epochs=self.learner.progress.planned_epochs,
            gradient_clip_val=params.clip_norm or None,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            limit_val_batches=None if len(self.data.validation) else 0,
            logger=False,
            callbacks=[checkpoint],
            enable_progress_bar=False,
            enable_model_summary=False,
            benchmark=False,
            deterministic=self.device == "cpu",
            use_distributed_sampler=False,
            default_root_dir=self.checkpoints,
        )

    # -- the outputs ----------------------------------------------------------------------------------------------

    def card(self) -> Card:
        """Return the model's card; its name comes with the weights."""
        params, summary, learner = self.params, self.summary, self.learner
        labels = self.data.patches.labels()
        rows = learner.sampler.epoch(labels, self.data.mined, 0)
        progress = learner.progress
        n_bands, n_classes = len(summary["bands"]), len(self.classes)
        network = NetworkCard(
            name=params.network, n_bands=n_bands, n_classes=n_classes, options=lasting_options(params.options)
        )
        return Card(
            network=network,
            classes=tuple(self.classes),
            window_px=summary["window_px"],
            stride_px=int(learner.network.stride_px),  # type: ignore[arg-type]
            gsd_m=summary["gsd_m"],
            bands=tuple(summary["bands"]),
            dtype=summary["dtype"],
            mean=tuple(summary["mean"]),
            std=tuple(summary["std"]),
            sampled_prior=float((labels[rows] >= 0).mean()),
            true_prior=summary["prior"]["train"]["true"],
            sized=self.data.tells()[1],
            ranges=self._ranges(),
            training={
                "epochs": len(progress.history), "best_epoch": progress.best_epoch + 1,
                "window_ap_val": round(max(progress.best_ap, 0.0), 6),
                "loss": params.loss, "seed": params.seed, "mined": int(self.data.mined.sum()),
            },
        )  # fmt: skip

    def _ranges(self) -> Ranges | None:
        """Return how far the numbers of the kept network go, over some of the patches and crops."""
        network = copy.deepcopy(self.learner.network).cpu().eval()
        network.load_state_dict(self.learner.best)
        sets = [pictures for pictures in (self.data.patches, self.data.crops) if pictures is not None]
        pictures = []
        for part in sets:
            rows = np.linspace(0, len(part) - 1, min(len(part), PICTURES_FOR_RANGES)).astype(np.int64)
            at_once = max(PX_AT_ONCE // part.side_px**2, 1)
            pictures += [part.take(some).pixels.cpu() for some in batches(rows, at_once)]
        return measure_ranges(network, Normalizer(self.summary["mean"], self.summary["std"]), pictures)

    def _write(self, tracker: Tracker, rounds: MinedRounds) -> Trained:
        progress = self.learner.progress
        with atomic_folder(self.folders.out) as folder:
            card = save_bundle(folder, self.card(), self.learner.best)
            rounds.write(folder)
            write_json(folder / "history.json", {"epochs": progress.history, "rounds": rounds.log})
            draw_curves(progress.history, rounds.log, folder / "curves.png")
            if self.sheet is not None:
                self.sheet.save(folder / "crops.png")
        tracker.tags({KEY_TAG: card.name, **run_name(self.name, card.name), "epochs": len(progress.history)})
        tracker.metrics(
            {"best_val_ap": progress.best_ap, "best_epoch": progress.best_epoch + 1, "minutes": progress.seconds / 60}
        )
        out = Path(self.folders.out)
        for picture in sorted(out.glob("*.png")):
            tracker.file(picture, "pictures")
        sheet = Path(self.folders.augmented) / "contact_sheet.png"
        if sheet.is_file():
            tracker.file(sheet, "pictures")
        with tempfile.TemporaryDirectory() as temporary:
            for name in ("weights.pt", "model.json"):
                shutil.copy(out / name, temporary)
            tracker.model(Path(temporary), self.example)
        return Trained(card, progress.history, progress.best_epoch, progress.best_ap, progress.seconds)


def chosen_precision(wanted: str, device: str) -> str:
    """Return `fp32`, `bf16` or `fp16`; `auto` takes bf16 where the device computes in it, else `fp32`."""
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if processor_offers("avx512_bf16", "amx_bf16") else "fp32"


def _scenes_to_learn_from(params: TrainParams, folders: Folders) -> tuple[TrainParams, Catalogue | None]:
    """Return the training scenes for crops and mining; without a labelled one, parameters that do without both."""
    catalogue = load_catalogue(folders.scenes).split("train")
    if any(row.labelled for row in catalogue):
        return params, catalogue
    print("  no training scene is labelled: nothing is mined and no crops are cut, the patches are all there is")
    mining, crops = params.mining.model_copy(update={"after": ()}), params.crops.model_copy(update={"per_batch": 0})
    return params.model_copy(update={"mining": mining, "crops": crops}), None


def assert_dense(params: TrainParams) -> None:
    """Refuse crops for a network that takes one window at a time.

    Raises:
        ParameterError: it is one.
    """
    if not build_network(params.network, 1, 1, **lasting_options(params.options)).dense:
        raise ParameterError(
            f"`train.crops` needs an unpadded network, {params.network} is padded. Set crops.per_batch to 0."
        )


def fingerprint(params: TrainParams, folders: Folders) -> str:
    """Return 16 digits of a hash over code, data and parameters: a checkpoint of other ones is never gone on from."""
    digest = hashlib.sha256(json.dumps(params.model_dump(mode="json"), sort_keys=True).encode())
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    for path in (Path(model) / WEIGHTS for model in (params.start_from, params.teacher) if model is not None):
        digest.update(sha256_file(path).encode() if path.is_file() else b"")  # one that is missing is said later
    for folder, names in ((folders.scenes, "*.parquet"), (folders.patches, "*"), (folders.augmented, "*")):
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
