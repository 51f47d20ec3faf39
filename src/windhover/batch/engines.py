"""Where tasks run: processes of this machine, or workers of a dask cluster; one interface.

Both give futures of the parts as bytes. Knows neither retries nor files of parts.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from windhover.batch.plan import Plan
from windhover.batch.worker import search_on_worker, start_process
from windhover.errors import ParameterError

MAX_PROCESSES = 256
# each process is one thread: N of them share the cores of the machine
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Engine(Protocol):
    """Runs tasks of one plan.

    Attributes:
        n_workers: that search at the same time.
    """

    n_workers: int

    def submit(self, task: int, earlier: bytes | None) -> Future[bytes]:
        """Begin a task; return the future of its part."""

    def restart(self) -> None:
        """Replace workers that are gone, or raise where that cannot be done."""

    def close(self) -> None:
        """End the workers that this run started."""


class LocalEngine:
    """Processes of this machine, of one thread each."""

    def __init__(self, plan: Plan, n_workers: int, model: Path | None) -> None:
        """Keep what a process needs; the first task starts them.

        Args:
            plan: whose tasks.
            n_workers: processes.
            model: where the model is now; None for where it was when the plan was made.

        Raises:
            ParameterError: a number of processes that cannot be.
        """
        if not 1 <= n_workers <= MAX_PROCESSES:
            raise ParameterError(
                f"--local must be in 1..{MAX_PROCESSES} processes, got {n_workers}. Name about as "
                "many as the machine has cores."
            )
        self.n_workers = n_workers
        self._plan = plan
        self._model = model
        self._pool = self._start()

    def _start(self) -> Executor:
        return ProcessPoolExecutor(
            self.n_workers,
            # a forked copy of loaded runtimes and of GDAL would not be safe
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_process,
            initargs=(self._plan.folder.absolute(), self._model),
        )

    def submit(self, task: int, earlier: bytes | None) -> Future[bytes]:
        """Begin a task; return the future of its part."""
        with _environment(ONE_THREAD):  # processes are started by the first tasks
            return self._pool.submit(search_on_worker, self._plan.record.digest, task, earlier)

    def restart(self) -> None:
        """Start processes anew, after one of them was killed."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._start()

    def close(self) -> None:
        """End the processes; a task in hand is given up."""
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that new processes inherit, until the block ends."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
