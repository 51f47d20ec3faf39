"""Short trials before a long training: can it learn sixteen patches by heart, and which learning
rate can it bear.

Neither writes a model nor a run.
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
from torch import Tensor

from windhover.errors import DataError, ParameterError
from windhover.models.networks import build_network
from windhover.models.normalize import Normalizer
from windhover.params import load_params
from windhover.params.train import TrainParams
from windhover.patches.patch_store import load_patches, read_summary
from windhover.training.losses import Objective, patch_targets
from windhover.training.optim import make_optimizer
from windhover.training.samplers import Sampler, batches, object_table
from windhover.training.training_curves import draw_rate_range

OVERFIT_LOSS = 0.01


class TrialLoss(NamedTuple):
    """The losses of one step."""

    total: float
    score: float


@dataclass(frozen=True)
class Overfit:
    """What learning a few patches by heart came to."""

    patches: int
    steps: int
    loss: float

    @property
    def passed(self) -> bool:
        """Whether the loss of the scores fell under the bar."""
        return self.loss < OVERFIT_LOSS

    def sentence(self) -> str:
        """Return it for the terminal."""
        verdict = (
            "ok"
            if self.passed
            else f"not under {OVERFIT_LOSS}: labels, normalisation or network are at fault"
        )
        return f"{self.patches} patches learnt by heart in {self.steps} steps: loss {self.loss:.5f}, {verdict}"


def overfit(params: TrainParams, patches: str | Path, count: int = 16, steps: int = 300) -> Overfit:
    """Train on a few patches alone, half of them positive, without any change of them.

    Raises:
        ParameterError: fewer than two patches.
        DataError: there are too few patches of either kind.
    """
    if count < 2:
        raise ParameterError(f"--overfit needs 2 patches or more, got {count}. Say --overfit 16.")
    trial = _Trial(params, patches)
    rows = trial.choose(count // 2, count - count // 2)
    objective = Objective("bce", (1, *[1] * trial.n_classes), size_weight=0.0, offset_weight=0.0)
    optimizer = torch.optim.AdamW(trial.network.parameters(), lr=params.learning_rate)
    loss, step = math.inf, 0
    while step < steps and loss >= OVERFIT_LOSS / 2:
        step += 1
        loss = trial.step(rows, objective, optimizer).score
    return Overfit(count, step, loss)


@dataclass(frozen=True)
class RateRange:
    """Loss against learning rate, the rate rising by a factor at every step."""

    rates: list[float]
    losses: list[float]  # smoothed

    @property
    def lowest(self) -> float:
        """The rate at which the loss is lowest."""
        return self.rates[int(np.argmin(self.losses))]

    @property
    def suggested(self) -> float:
        """A third of that rate: high, and still below where learning breaks (Smith 2017)."""
        return self.lowest / 3

    def sentence(self) -> str:
        """Return it for the terminal."""
        return (
            f"learning rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e} in {len(self.rates)} steps: the loss is "
            f"lowest at {self.lowest:.1e}. Suggested: train.learning_rate {self.suggested:.2g}"
        )


def rate_range(
    params: TrainParams, patches: str | Path, low: float = 1e-5, high: float = 1.0, steps: int = 100
) -> RateRange:
    """Raise the learning rate step by step over training patches, until the loss breaks or the
    highest is reached.

    Each step sees a batch of its own, with the sampler, the optimiser and the loss of `params`.

    Raises:
        DataError: there are too few patches.
    """
    trial = _Trial(params, patches)
    trial.choose(1, 1)
    shown = _endless(params, trial)
    counts = tuple(int((trial.table[:, 0] == k).sum()) for k in range(-1, trial.n_classes))
    objective = Objective(
        params.loss, counts, params.focal_alpha, params.focal_gamma, params.class_balanced_beta, params.logit_adjustment_tau,
        params.label_smoothing, params.offset_weight, params.size_weight,
    )  # fmt: skip
    optimizer = make_optimizer(trial.network, params)
    rates: list[float] = []
    losses: list[float] = []
    for rate in np.geomspace(low, high, steps).tolist():
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        value = trial.step(next(shown), objective, optimizer).total
        smooth = value if not losses else 0.8 * losses[-1] + 0.2 * value
        if not math.isfinite(value) or (losses and smooth > 4 * min(losses)):
            break
        rates.append(rate)
        losses.append(smooth)
    return RateRange(rates, losses)


def _endless(params: TrainParams, trial: _Trial) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of batch after batch, as training would show them."""
    sampler = Sampler(
        params.sampler, params.negatives_per_positive, params.balance_classes, 0.0, params.seed
    )
    labels = trial.table[:, 0].astype(np.int64)
    for epoch in itertools.count():
        for rows in batches(
            sampler.epoch(labels, np.zeros(len(labels), bool), epoch), params.batch_size
        ):
            yield rows.numpy()


class _Trial:
    """A fresh network in training mode, and the training patches of a folder."""

    def __init__(self, params: TrainParams, folder: str | Path) -> None:
        summary, train = read_summary(folder), load_patches(folder, "train")
        classes = list(summary["classes"])
        self._folder, self._seed, self._images = folder, params.seed, train.images
        self.table, self.n_classes = object_table(train.index, classes), len(classes)
        torch.set_num_threads(params.threads or os.cpu_count() or 1)
        torch.manual_seed(params.seed)
        options = (
            {**params.options, "dropout": 0.0} if "dropout" in params.options else params.options
        )
        self.network = build_network(
            params.network, len(summary["bands"]), len(classes), **options
        ).train()
        self._normalizer = Normalizer(summary["mean"], summary["std"])

    def choose(self, positives: int, others: int) -> NDArray[np.int64]:
        """Return rows of so many patches of either kind, drawn by the seed.

        Raises:
            DataError: there are too few of either.
        """
        random = np.random.default_rng(self._seed)
        found = [np.flatnonzero(chosen) for chosen in (self.table[:, 0] >= 0, self.table[:, 0] < 0)]
        if len(found[0]) < positives or len(found[1]) < others:
            raise DataError(
                f"{self._folder}: a trial needs {positives} positives and {others} negatives, got {len(found[0])} and "
                f"{len(found[1])}. Cut more patches."
            )
        return np.concatenate(
            [random.permutation(found[0])[:positives], random.permutation(found[1])[:others]]
        )

    def step(
        self, rows: NDArray[np.int64], objective: Objective, optimizer: torch.optim.Optimizer
    ) -> TrialLoss:
        """Learn from the patches of `rows` once; return the losses before."""
        pixels: Tensor = torch.from_numpy(np.array(self._images[np.sort(rows)])).permute(
            0, 3, 1, 2
        )  # (B, C, S, S)
        objects = torch.from_numpy(self.table[np.sort(rows)])  # (B, 5)
        losses = objective(
            self.network(self._normalizer(pixels)), patch_targets(objects, self.n_classes)
        )
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return TrialLoss(float(losses.total.detach()), float(losses.score))


def try_training(
    wanted: int | None, ranged: bool, patches: Path, picture: Path
) -> tuple[list[str], bool]:
    """Make the trials that are asked for with the parameters of `train` in params.yaml.

    Args:
        wanted: so many patches are learnt by heart; None for no such trial.
        ranged: whether learning rates are tried.
        patches: folder of the patches stage.
        picture: PNG of the range test.

    Returns:
        Lines for the terminal, and whether every trial was passed.

    Raises:
        ParameterError: no trial is asked for.
    """
    if wanted is None and not ranged:
        raise ParameterError(
            "Name a trial: --overfit 16 or --rate-range. The training itself is `dvc repro train`."
        )
    params, lines, passed = load_params("train", TrainParams), [], True
    if wanted is not None:
        learnt = overfit(params, patches, wanted)
        lines, passed = [learnt.sentence()], learnt.passed
    if ranged:
        found = rate_range(params, patches)
        draw_rate_range(found.rates, found.losses, found.suggested, picture)
        lines += [found.sentence(), f"curve -> {picture}"]
    return lines, passed
