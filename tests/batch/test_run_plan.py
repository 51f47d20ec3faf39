"""Tasks on several workers: retries, workers that are killed, and a real pool and cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from toy_plans import plan_world, write_world
from windhover.batch.plan import Plan
from windhover.batch.run_plan import _run, run_plan_here, run_plan_on_dask
from windhover.batch.search_task import TaskSearch
from windhover.errors import DataError
from windhover.files import lock_output


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
