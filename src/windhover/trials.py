"""Short trials before a long training: can it learn sixteen patches by heart, and which learning rate can it bear.

Neither writes a model nor a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from windhover.datasets import Batch, object_table
from windhover.errors import DataError
from windhover.learner import parameter_groups
from windhover.networks import build_network
from windhover.normalize import Normalizer
from windhover.objective import Objective, patch_targets
from windhover.params.train import TrainParams
from windhover.patches import load_patches, read_summary

OVERFIT_LOSS = 0.01


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
        verdict = "ok" if self.passed else f"not under {OVERFIT_LOSS}: labels, normalisation or network are at fault"
        return f"{self.patches} patches learnt by heart in {self.steps} steps: loss {self.loss:.5f}, {verdict}"


def overfit(params: TrainParams, patches: str, count: int = 16, steps: int = 300) -> Overfit:
    """Train on a few patches alone, half of them positive, without any change of them.

    Raises:
        DataError: there are too few patches of either kind.
    """
    network, normalizer, batch, n_classes = _trial(params, patches, count)
    targets = patch_targets(batch.objects, n_classes)
    objective = Objective("bce", (count - count // 2, *[count // 2] * n_classes), size_weight=0.0, offset_weight=0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=params.learning_rate)
    inputs = normalizer(batch.pixels)
    loss, step = math.inf, 0
    while step < steps and loss >= OVERFIT_LOSS / 2:
        step += 1
        losses = objective(network(inputs), targets)
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss = float(losses.score)
    return Overfit(count, step, loss)


@dataclass(frozen=True)
class RateRange:
    """Loss against learning rate, the rate rising by a factor at every step."""

    rates: list[float]
    losses: list[float]  # smoothed

    @property
    def suggested(self) -> float:
        """A third of the rate at which the loss is lowest: high, and still below where learning breaks (Smith 2017)."""
        return self.rates[int(np.argmin(self.losses))] / 3


def rate_range(params: TrainParams, patches: str, low: float = 1e-5, high: float = 1.0, steps: int = 60) -> RateRange:
    """Raise the learning rate step by step over training patches, until the loss breaks or the highest is reached.

    Raises:
        DataError: there are too few patches.
    """
    network, normalizer, batch, n_classes = _trial(params, patches, params.batch_size)
    objective = Objective("bce", (1, *[1] * n_classes))
    optimizer = torch.optim.AdamW(parameter_groups(network, params), lr=low)
    rates: list[float] = []
    losses: list[float] = []
    targets = patch_targets(batch.objects, n_classes)
    inputs = normalizer(batch.pixels)
    for rate in np.geomspace(low, high, steps).tolist():
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = objective(network(inputs), targets).total
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = float(loss.detach())
        smooth = value if not losses else 0.7 * losses[-1] + 0.3 * value
        if not math.isfinite(value) or (losses and smooth > 4 * min(losses)):
            break
        rates.append(rate)
        losses.append(smooth)
    return RateRange(rates, losses)


def _trial(params: TrainParams, folder: str, count: int) -> tuple[nn.Module, Normalizer, Batch, int]:
    """Return a fresh network in training mode and a batch of training patches, half of them positive."""
    summary, train = read_summary(folder), load_patches(folder, "train")
    classes = list(summary["classes"])
    table = object_table(train.index, classes)
    random = np.random.default_rng(params.seed)
    positives, others = np.flatnonzero(table[:, 0] >= 0), np.flatnonzero(table[:, 0] < 0)
    half = count // 2
    if len(positives) < half or len(others) < count - half:
        raise DataError(
            f"{folder}: a trial needs {half} positives and as many negatives, got {len(positives)} and {len(others)}."
        )
    rows = np.concatenate([random.permutation(positives)[:half], random.permutation(others)[: count - half]])
    torch.manual_seed(params.seed)
    options = {**params.options, "dropout": 0.0} if "dropout" in params.options else params.options
    network = build_network(params.network, len(summary["bands"]), len(classes), **options).train()
    pixels: Tensor = torch.from_numpy(np.array(train.images[rows])).permute(0, 3, 1, 2)  # (B, C, S, S)
    return (
        network,
        Normalizer(summary["mean"], summary["std"]),
        Batch(pixels, torch.from_numpy(table[rows])),
        len(classes),
    )
