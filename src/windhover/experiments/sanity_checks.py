"""Short checks before a long training: overfitting a few patches, and the learning rate range test.

Neither writes a model nor an MLflow run.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from windhover.errors import DataError, ParameterError
from windhover.files import atomic_file, check_output, is_figure, lock_output
from windhover.models.input_normalization import Normalizer
from windhover.models.networks import build_network
from windhover.params import load_params
from windhover.params.train import TrainParams
from windhover.patches.patch_store import load_patches, read_summary
from windhover.training.losses import DetectionLoss
from windhover.training.object_table import CLASS, count_classes, table_of_patches
from windhover.training.optim import make_optimizer, set_learning_rate
from windhover.training.samplers import Sampler, make_batches
from windhover.training.targets import ObjectTensor, patch_targets

OVERFIT_LOSS = 0.01  # loss of the scores under which patches count as fitted
# weights of the smoothed loss so far, and of a new loss, in the next smoothed one
OLD_LOSS_WEIGHT = 0.8
NEW_LOSS_WEIGHT = 0.2
LOWEST_RATE = 1e-5
HIGHEST_RATE = 1.0
DIVERGED = 4.0  # the range test ends where the smoothed loss is this often the lowest one

Rows = NDArray[np.int64]


class StepLoss(NamedTuple):
    """The losses of one step."""

    total: float
    score: float


@dataclass(frozen=True)
class OverfitResult:
    """The outcome of training on a few patches alone."""

    patches: int
    steps: int
    loss: float

    @property
    def passed(self) -> bool:
        """Whether the loss of the scores fell below `OVERFIT_LOSS`."""
        return self.loss < OVERFIT_LOSS

    def summary(self) -> str:
        """Return one line for the terminal."""
        verdict = "ok"
        if not self.passed:
            verdict = f"not under {OVERFIT_LOSS}: check labels, normalization and network"
        return (
            f"{self.patches} patches fitted in {self.steps} steps: loss {self.loss:.5f}, {verdict}"
        )


@dataclass(frozen=True)
class LrRange:
    """Smoothed loss against learning rate, which rises by a factor at every step."""

    learning_rates: list[float]
    losses: list[float]

    @property
    def lowest(self) -> float:
        """The learning rate at which the loss is lowest."""
        return self.learning_rates[int(np.argmin(self.losses))]

    @property
    def suggested(self) -> float:
        """A third of that rate: high, and still below where training diverges (Smith 2017)."""
        return self.lowest / 3

    def summary(self) -> str:
        """Return one line for the terminal."""
        rates = self.learning_rates
        return (
            f"learning rates from {rates[0]:.1e} to {rates[-1]:.1e} in {len(rates)} steps: "
            f"the loss is lowest at {self.lowest:.1e}. "
            f"Suggested: train.learning_rate {self.suggested:.2g}"
        )


def overfit(
    params: TrainParams, patches: str | Path, count: int = 16, *, steps: int = 300
) -> OverfitResult:
    """Train on a few patches alone, half of them positive, without augmentation.

    Args:
        params: of the train stage.
        patches: folder of the patches.
        count: number of patches.
        steps: number of steps at most.

    Raises:
        ParameterError: fewer than two patches.
        DataError: there are too few patches of either kind.
    """
    if count < 2:
        raise ParameterError(
            f"--overfit needs 2 patches or more, got {count}. Write for example --overfit 16."
        )
    training = _ShortTraining(params, patches)
    rows = training.select_rows(count // 2, count - count // 2)
    class_counts = (1, *[1] * training.n_classes)
    loss = DetectionLoss("bce", class_counts, size_weight=0.0, offset_weight=0.0)
    optimizer = torch.optim.AdamW(training.network.parameters(), lr=params.learning_rate)
    value = math.inf
    step = 0
    while step < steps and value >= OVERFIT_LOSS / 2:
        step += 1
        value = training.step(rows, loss, optimizer).score
    return OverfitResult(count, step, value)


def lr_range_test(
    params: TrainParams,
    patches: str | Path,
    *,
    steps: int = 100,
) -> LrRange:
    """Raise the learning rate step by step, from 1e-5 to 1 or until training diverges.

    Each step sees a new batch, with the sampler, the optimizer and the loss of `params`.

    Args:
        params: of the train stage.
        patches: folder of the patches.
        steps: number of learning rates.

    Raises:
        DataError: there are too few patches.
    """
    training = _ShortTraining(params, patches)
    training.select_rows(1, 1)
    rows = _endless_batches(params, training)
    loss = DetectionLoss.from_params(params, count_classes(training.table, training.n_classes))
    optimizer = make_optimizer(training.network, params)
    learning_rates: list[float] = []
    losses: list[float] = []
    for learning_rate in np.geomspace(LOWEST_RATE, HIGHEST_RATE, steps).tolist():
        set_learning_rate(optimizer, learning_rate)
        value = training.step(next(rows), loss, optimizer).total
        smoothed = value
        if losses:
            smoothed = OLD_LOSS_WEIGHT * losses[-1] + NEW_LOSS_WEIGHT * value
        if not math.isfinite(value) or (losses and smoothed > DIVERGED * min(losses)):
            break
        learning_rates.append(learning_rate)
        losses.append(smoothed)
    return LrRange(learning_rates, losses)


def _endless_batches(params: TrainParams, training: _ShortTraining) -> Iterator[Rows]:
    """Yield the rows of batch after batch, as training would draw them."""
    sampler = Sampler.from_params(params)
    labels = training.table[:, CLASS].astype(np.int64)
    is_mined = np.zeros(len(labels), bool)
    for epoch in itertools.count():
        for batch in make_batches(sampler.epoch(labels, is_mined, epoch), params.batch_size):
            yield batch.numpy()


class _ShortTraining:
    """A new network in training mode, and the training patches of a folder."""

    def __init__(self, params: TrainParams, folder: str | Path) -> None:
        summary = read_summary(folder)
        patches = load_patches(folder, "train")
        classes = list(summary.classes)
        self._folder = folder
        self._seed = params.seed
        self._images = patches.images
        self.table = table_of_patches(patches.index, classes)
        self.n_classes = len(classes)
        torch.set_num_threads(params.threads or os.cpu_count() or 1)
        torch.manual_seed(params.seed)
        options = dict(params.options)
        if "dropout" in options:
            options["dropout"] = 0.0
        network = build_network(params.network, len(summary.bands), len(classes), **options)
        self.network = network.train()
        self._normalizer = Normalizer(summary.mean, summary.std)

    def select_rows(self, n_positives: int, n_negatives: int) -> Rows:
        """Return rows of some positive and some background patches, drawn by the seed.

        Raises:
            DataError: there are too few of either.
        """
        random = np.random.default_rng(self._seed)
        is_positive = self.table[:, CLASS] >= 0
        positives = np.flatnonzero(is_positive)
        negatives = np.flatnonzero(~is_positive)
        if len(positives) < n_positives or len(negatives) < n_negatives:
            raise DataError(
                f"{self._folder}: needs {n_positives} positives and {n_negatives} negatives, "
                f"got {len(positives)} and {len(negatives)}. Cut more patches."
            )
        return np.concatenate(
            [
                random.permutation(positives)[:n_positives],
                random.permutation(negatives)[:n_negatives],
            ]
        )

    def step(self, rows: Rows, loss: DetectionLoss, optimizer: torch.optim.Optimizer) -> StepLoss:
        """Train on the patches of `rows` once and return the losses before."""
        rows = np.sort(rows)
        images = torch.from_numpy(np.array(self._images[rows]))  # (B, S, S, C)
        pixels = images.permute(0, 3, 1, 2)  # (B, C, S, S)
        objects = ObjectTensor(torch.from_numpy(self.table[rows]))
        outputs = self.network(self._normalizer(pixels))
        terms = loss(outputs, patch_targets(objects, self.n_classes))
        optimizer.zero_grad()
        terms.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return StepLoss(float(terms.total.detach()), float(terms.score))


def run_sanity_checks(
    overfit_count: int | None, with_lr_range: bool, patches: Path, *, figure_path: Path
) -> tuple[list[str], bool]:
    """Run the selected checks with the parameters of `train` in params.yaml.

    Args:
        overfit_count: number of patches to overfit; None for no such check.
        with_lr_range: whether to run the learning rate range test.
        patches: folder of the patches stage.
        figure_path: PNG of the range test.

    Returns:
        Lines for the terminal, and whether every check was passed.

    Raises:
        ParameterError: no check is selected.
    """
    if overfit_count is None and not with_lr_range:
        raise ParameterError(
            "Name a check: --overfit 16 or --rate-range. The training itself is `dvc repro train`."
        )
    if with_lr_range:
        check_output(figure_path, inputs=[patches, "params.yaml"], is_own=is_figure)
    params = load_params("train", TrainParams)
    lines = []
    passed = True
    if overfit_count is not None:
        result = overfit(params, patches, overfit_count)
        lines.append(result.summary())
        passed = result.passed
    if with_lr_range:
        with lock_output(figure_path):
            lr_range = lr_range_test(params, patches)
            plot_lr_range(lr_range, figure_path)
        lines += [lr_range.summary(), f"curve -> {figure_path}"]
    return lines, passed


def plot_lr_range(lr_range: LrRange, path: Path) -> None:
    """Write the curve of loss against learning rate as a PNG, with the suggested rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(lr_range.learning_rates, lr_range.losses)
    label = f"suggested: {lr_range.suggested:.2g}"
    axes.axvline(lr_range.suggested, color="0.5", linestyle="--", label=label)
    axes.set(
        title="learning rate range test",
        xlabel="learning rate",
        ylabel="loss, smoothed",
        xscale="log",
    )
    axes.legend(fontsize=8)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", metadata={"Software": None})
