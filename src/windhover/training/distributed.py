"""Several processes that share a training: each takes its part of every batch, rank 0 writes.

Lightning starts the others by running the same command again, and gives each its number in
`LOCAL_RANK`. Knows nothing of what is learnt.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from windhover.errors import ParameterError, WindhoverError

if TYPE_CHECKING:
    from windhover.params.train import TrainParams

RANK_VARIABLE = "LOCAL_RANK"


def count_processes(params: TrainParams) -> int:
    """Return how many processes share a training: as many as asked for, or one for each GPU.

    Raises:
        ParameterError: more than there are GPUs, or than a batch can be divided among.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    count = params.devices or max(n_gpus, 1)
    if n_gpus and count > n_gpus:
        raise ParameterError(
            f"`train.devices` is {count}, and there are {n_gpus} GPUs. Lower it, or take 0 for all."
        )
    images_per_step = [params.batch_size]
    if params.large_patches.per_batch > 0:
        images_per_step.append(params.large_patches.per_batch)
    if count > min(images_per_step):
        raise ParameterError(
            f"`train.devices`: {count} processes cannot share {min(images_per_step)} images of a "
            "step. Lower it, or raise `train.batch_size` and `train.large_patches.per_batch`."
        )
    return count


def require_one_process(params: TrainParams, command: str) -> None:
    """Check that one process trains, where a command runs many trainings one after another.

    Others would run the whole command again in each training.

    Raises:
        ParameterError: several are asked for.
    """
    if count_processes(params) > 1:
        raise ParameterError(
            f"`train.devices` must be 1 for {command}, got {params.devices}. Set train.devices=1."
        )


def process_rank(n_processes: int) -> int:
    """Return the rank of this process, 0 for the first."""
    if n_processes == 1:
        return 0
    return int(os.environ.get(RANK_VARIABLE, "0"))


@contextlib.contextmanager
def rank_zero_output(rank: int) -> Iterator[None]:
    """Let rank 0 write to the terminal; another process prints errors alone and exits with 0.

    What follows the block is done by rank 0. An error ends another process with 1, at which
    Lightning ends all.
    """
    if rank == 0:
        yield
        return
    try:
        with contextlib.ExitStack() as stack:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
            yield
    except WindhoverError as error:
        print(f"process {rank}: {error.sentence()}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
