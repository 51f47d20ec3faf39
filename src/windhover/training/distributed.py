"""The processes that share a training: each takes its part of every batch, the first speaks,
decides and writes.

Lightning starts the others by running the same command again, and tells each its number in
`LOCAL_RANK`. Knows nothing of what is learnt.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import torch

from windhover.errors import ParameterError, WindhoverError
from windhover.params.train import TrainParams

RANK = "LOCAL_RANK"


def count_processes(params: TrainParams) -> int:
    """Return how many processes share a training: one for each GPU, or as many as are asked for on
    a CPU.

    Raises:
        ParameterError: more than there are GPUs, or than a batch can be divided among.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    count = params.devices or max(gpus, 1)
    if gpus and count > gpus:
        raise ParameterError(
            f"`train.devices` is {count}, and there are {gpus} GPUs. Lower it, or take 0 for all."
        )
    shared = [params.batch_size] + [params.large_patches.per_batch] * (params.large_patches.per_batch > 0)
    if count > min(shared):
        raise ParameterError(
            f"`train.devices`: {count} processes cannot share {min(shared)} pictures of a step. Lower it, "
            "or raise `train.batch_size` and `train.large_patches.per_batch`."
        )
    return count


def refuse_to_share(params: TrainParams, who: str) -> None:
    """Refuse several processes where many trainings follow one another: they would all begin again
    in each.

    Raises:
        ParameterError: several are asked for.
    """
    if count_processes(params) > 1:
        raise ParameterError(
            f"`train.devices` must be 1 for {who}, got {params.devices}. Set train.devices=1."
        )


def this_process(count: int) -> int:
    """Return the number of this process, 0 for the first."""
    return int(os.environ.get(RANK, "0")) if count > 1 else 0


@contextlib.contextmanager
def speaking_for_all(rank: int) -> Iterator[None]:
    """Let the first process speak; another one tells errors alone, and ends with the block: the
    rest is the first's.

    An error ends it with 1, at which Lightning ends the others too.
    """
    if rank == 0:
        yield
        return
    try:
        with contextlib.ExitStack() as stack:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            yield
    except WindhoverError as error:
        print(f"process {rank}: {error.sentence()}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
