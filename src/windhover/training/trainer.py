"""The Lightning trainer: devices, precision, and what is switched off."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

from windhover.errors import ParameterError
from windhover.params.train import TrainParams
from windhover.training.callbacks.last_checkpoint import AtomicCheckpointIO

# with which processes wait for one that mines or cuts large patches
PROCESS_TIMEOUT = timedelta(days=7)
LIGHTNING_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_trainer(
    params: TrainParams,
    callbacks: Sequence[L.Callback],
    *,
    n_processes: int,
    training_precision: str,
    has_validation: bool,
    root: Path,
) -> L.Trainer:
    """Return a trainer without Lightning's own logger, progress bar, summary and checkpoints.

    Args:
        params: of the train stage.
        callbacks: called in this order.
        n_processes: that share the training.
        training_precision: `fp32`, `bf16` or `fp16`.
        has_validation: whether there are validation patches.
        root: folder that Lightning may write to.
    """
    on_gpu = torch.cuda.is_available()
    strategy: str | Strategy = "auto"
    if n_processes > 1:
        # a step may leave a part without a gradient: heads without targets, a frozen trunk
        strategy = DDPStrategy(find_unused_parameters=True, timeout=PROCESS_TIMEOUT)
    return L.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=n_processes,
        strategy=strategy,
        precision=LIGHTNING_PRECISION[training_precision],
        max_epochs=params.epochs,
        gradient_clip_val=params.gradient_clip_norm or None,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=None if has_validation else 0,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        benchmark=False,
        deterministic=not on_gpu,
        use_distributed_sampler=False,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=root,
    )


def select_precision(wanted: str, on_gpu: bool) -> str:
    """Return `fp32`, `bf16` or `fp16`.

    `auto` takes bf16 where the device computes in it, else `fp32`, or a GPU's fp16.

    Raises:
        ParameterError: `fp16` without a GPU.
    """
    if wanted == "fp16" and not on_gpu:
        raise ParameterError(
            "`train.training_precision: fp16` needs a GPU, and there is none. "
            "Take auto, bf16 or fp32."
        )
    if wanted != "auto":
        return wanted
    if on_gpu:
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp16"
    return "bf16" if _cpu_computes_bf16() else "fp32"


def _cpu_computes_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16, by torch's names for its instruction sets."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's own messages and warnings off the terminal."""
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
