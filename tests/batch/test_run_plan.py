"""Tasks on several workers: retries, workers that are killed, and a real pool and cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from toy_plans import plan_world, write_world
from windhover.batch.plan import Plan
from windhover.batch.run_plan import _run, run_plan_here, run_plan_on_dask
from windhover.batch.search_task import TaskSearch
from windhover.errors import DataError
from windhover.files import lock_output


def wait_for(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


@contextmanager
def terminated(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


def distributed_client(address: str) -> Any:
    import distributed

    return distributed.Client(address, set_as_default=False)


class FaultyEngine:
    """Searches at once, in this process, except for the tasks that are to fail."""

    n_workers = 2

    def __init__(self, plan: Plan, raised: dict[int, list[Exception]]) -> None:
        self._search = TaskSearch(plan)
        self._raised = raised
        self.tasks: list[int] = []
        self.n_starts = 0

    def submit(self, task: int, earlier: bytes | None) -> Future[bytes]:
        self.tasks.append(task)
        future: Future[bytes] = Future()
        if self._raised.get(task):
            future.set_exception(self._raised[task].pop(0))
        else:
            future.set_result(self._search.search(task).to_bytes())
        return future

    def restart(self) -> None:
        self.n_starts += 1

    def close(self) -> None:
        pass


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    outcome = plan_world(tmp_path, write_world(tmp_path))
    return Plan.load(outcome.folder)


def test_a_fault_that_passes_is_tried_again(plan: Plan) -> None:
    engine = FaultyEngine(plan, {1: [OSError("a hiccup")] * 2})
    outcome = _run(plan, engine, 2)
    assert (outcome.is_complete, engine.tasks.count(1)) == (True, 3)
    assert outcome.failure_lines() == []


def test_a_fault_that_stays_is_one_line_and_the_others_are_done(plan: Plan) -> None:
    engine = FaultyEngine(plan, {1: [OSError("no route")] * 9, 0: [DataError("it changed.")]})
    outcome = _run(plan, engine, 2)
    assert (engine.tasks.count(0), engine.tasks.count(1)) == (1, 3)
    assert [line.split(maxsplit=2) for line in outcome.failure_lines()[1:]] == [
        ["0", "none", "it changed."],
        ["1", "none", "OSError: no route"],
    ]
    assert all(plan.part_path(task).is_file() for task in range(2, plan.record.tasks))


def test_a_task_that_kills_its_worker_takes_no_other_with_it(plan: Plan) -> None:
    engine = FaultyEngine(plan, {1: [BrokenProcessPool("killed")] * 9})
    outcome = _run(plan, engine, 2)
    failed = [task.task for task in outcome.tasks if task.reasons]
    assert (failed, engine.n_starts) == ([1], 3)
    assert "its worker was killed each time" in outcome.failure_lines()[1]


def test_workers_that_are_always_killed_end_the_run(plan: Plan) -> None:
    killed = {task: [BrokenProcessPool("killed")] * 99 for task in range(plan.record.tasks)}
    with pytest.raises(DataError, match="10 workers in a row were killed"):
        _run(plan, FaultyEngine(plan, killed), 99)


def test_a_task_of_another_run_is_left_to_it(plan: Plan) -> None:
    with lock_output(plan.part_path(1)):
        outcome = _run(plan, FaultyEngine(plan, {}), 2)
    assert [task.task for task in outcome.tasks if task.reasons] == [1]
    assert not plan.part_path(1).exists()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the worker processes: sums of one number of threads have the same last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_processes_of_this_machine_leave_the_parts_of_one(plan: Plan) -> None:
    assert run_plan_here(plan.folder, 2).is_complete
    search = TaskSearch(plan)
    for task in range(plan.record.tasks):
        assert plan.part_path(task).read_bytes() == search.search(task).to_bytes()


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.usefixtures("one_thread")
def test_a_dask_cluster_leaves_the_parts_of_one_process(plan: Plan) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        assert run_plan_on_dask(plan.folder, cluster.scheduler_address).is_complete
    search = TaskSearch(plan)
    for task in range(plan.record.tasks):
        assert plan.part_path(task).read_bytes() == search.search(task).to_bytes()


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.usefixtures("one_thread")
def test_a_scheduler_that_is_killed_is_one_sentence_and_a_rerun_completes(
    plan: Plan, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    address_file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [*start, "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(address_file)],
        **quiet,
    )
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1"]
    with terminated(scheduler):
        wait_for(lambda: address_file.is_file() and bool(address_file.read_text()))
        address = json.loads(address_file.read_text())["address"]
        searching = subprocess.Popen(
            [*worker, "--no-dashboard", "--local-directory", str(tmp_path), address], **quiet
        )
        with terminated(searching), ThreadPoolExecutor(1) as pool:
            with distributed_client(address) as client:
                wait_for(lambda: bool(client.nthreads()))
            running = pool.submit(run_plan_on_dask, plan.folder, address)
            wait_for(lambda: any(plan.part_path(task).is_file() for task in range(3)))
            searching.send_signal(signal.SIGSTOP)  # so that tasks are left
            scheduler.kill()
            with pytest.raises(DataError, match="the scheduler is gone"):
                running.result(timeout=120)
    assert not list(plan.folder.rglob("*.tmp*"))
    assert run_plan_here(plan.folder, 1).is_complete
    search = TaskSearch(plan)
    for task in range(plan.record.tasks):
        assert plan.part_path(task).read_bytes() == search.search(task).to_bytes()
