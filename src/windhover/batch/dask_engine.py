"""Workers of a running dask cluster; imported only where one is used.

Plan and model go to each worker once, as bytes: it needs Windhover and a way to the rasters. A
worker that joins later gets them as it comes.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import distributed
from distributed import WorkerPlugin

from windhover.batch.model_files import check_model
from windhover.batch.plan import Plan
from windhover.batch.worker import WorkerFiles, load_on_worker, search_on_worker
from windhover.errors import DataError, ParameterError

CONNECT_S = 20


class ModelOnWorker(WorkerPlugin):
    """Loads plan and model when a worker starts, or joins."""

    idempotent = True

    def __init__(self, digest: str, files: WorkerFiles) -> None:
        """Keep what is sent.

        Args:
            digest: of the plan.
            files: of plan and model.
        """
        self.name = f"windhover-{digest}"
        self._digest = digest
        self._files = files

    def setup(self, worker: Any) -> None:
        """Load the model."""
        load_on_worker(self._digest, self._files)


class DaskEngine:
    """Workers of a cluster that is there already; it is left running.

    Attributes:
        n_workers: threads of all workers at the start.
    """

    def __init__(self, plan: Plan, address: str, model: Path | None) -> None:
        """Connect, and send plan and model to every worker.

        Args:
            plan: whose tasks.
            address: of the scheduler, such as tcp://10.0.0.1:8786.
            model: where the model is now; None for where it was when the plan was made.

        Raises:
            ParameterError: no scheduler answers, or it has no worker.
        """
        folder = Path(plan.record.model.folder) if model is None else model
        check_model(plan.record.model, folder)
        self._address = address
        self._digest = plan.record.digest
        try:
            connect: Any = distributed.Client  # which has no types
            self._client = connect(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            reason = " ".join(str(error).split())[:120].rstrip(". ")
            raise ParameterError(
                f"--dask {address}: no scheduler answers ({reason}). Start one, or correct the "
                "address, such as tcp://10.0.0.1:8786."
            ) from None
        self.n_workers = sum(self._client.nthreads().values())
        if not self.n_workers:
            self._client.close()
            raise ParameterError(f"--dask {address}: has no worker. Start some: dask worker.")
        files = WorkerFiles.read(plan.folder, folder, plan.record.model.files)
        self._client.register_plugin(ModelOnWorker(self._digest, files))
        self._pool = self._client.get_executor()

    def submit(self, task: int, earlier: bytes | None) -> Future[bytes]:
        """Begin a task; return the future of its part."""
        future: Future[bytes] = self._pool.submit(search_on_worker, self._digest, task, earlier)
        return future

    def restart(self) -> None:
        """Raise, since a scheduler that is gone takes its workers with it.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"--dask {self._address}: the scheduler is gone. The parts that were finished are "
            "kept: start a cluster and run the same again."
        )

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()
