"""All tasks of a plan run on several workers: the flow of `run --local` and `run --dask`.

A task that fails is tried again; one whose worker was killed is tried alone, so that it takes no
other with it. Parts are written here, whole or not at all, and a task that has its part is skipped.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from windhover.batch.engines import Engine, LocalEngine
from windhover.batch.model_files import check_model
from windhover.batch.part import Part, save_bytes
from windhover.batch.plan import Plan
from windhover.batch.run_task import TaskOutcome, earlier_part, outcome_of
from windhover.errors import DataError, ParameterError, WindhoverError
from windhover.files import check_writable, lock_output
from windhover.progress import Advance, counted, progress_bar

logger = logging.getLogger(__name__)

SPARE_TASKS = 2  # that wait for a worker, so that none waits for a task
MAX_LOST_IN_A_ROW = 10  # workers, before any task is done
REASON_CHARS = 200
KILLED = "its worker was killed each time, mostly for lack of memory"


@dataclass
class RunOutcome:
    """What became of the tasks of a plan.

    Attributes:
        folder: of the plan.
        tasks: outcome of each.
        mpx: searched in this run, in millions.
        seconds: that it took.
    """

    folder: Path
    tasks: list[TaskOutcome] = field(default_factory=list)
    mpx: float = 0.0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether everything was searched."""
        return not any(task.reasons for task in self.tasks)

    def lines(self) -> list[str]:
        """Return counts and rate, for the terminal."""
        n_new = sum(task.is_new and task.has_part for task in self.tasks)
        n_before = sum(not task.is_new for task in self.tasks)
        line = f"{counted(n_new, 'task')} searched in {self.seconds:.0f} s"
        if n_new:
            line += f", {self.mpx / max(self.seconds, 1e-9):.1f} Mpx/s"
        if n_before:
            line += f"; {counted(n_before, 'task')} had their part already"
        return [line]

    def failure_lines(self) -> list[str]:
        """Return a table of what failed, a line a reason; none where nothing did."""
        rows = [
            f"{task.task:>6}  {'written' if task.has_part else 'none':<8} {reason}"
            for task in self.tasks
            for reason in task.reasons
        ]
        return ["  task  part     reason", *rows] if rows else []


def run_plan_here(
    folder: Path, n_workers: int, *, model: Path | None = None, retries: int = 2
) -> RunOutcome:
    """Run all tasks of a plan that have no part yet in processes of this machine.

    Args:
        folder: of the plan.
        n_workers: processes, of one thread each.
        model: where the model is now; None for where it was when the plan was made.
        retries: how often a task is tried again.

    Raises:
        WindhoverError: a child that names the fault of the plan, or of workers that cannot start.
    """
    plan = _load(folder, retries)
    check_model(plan.record.model, Path(plan.record.model.folder) if model is None else model)
    return _run(plan, LocalEngine(plan, n_workers, model), retries)


def run_plan_on_dask(
    folder: Path, address: str, *, model: Path | None = None, retries: int = 2
) -> RunOutcome:
    """Run all tasks of a plan that have no part yet on a running dask cluster.

    Args:
        folder: of the plan.
        address: of the scheduler.
        model: where the model is now; None for where it was when the plan was made.
        retries: how often a task is tried again.

    Raises:
        ModuleNotFoundError: dask is not installed.
        WindhoverError: a child that names the fault of the plan or the cluster.
    """
    from windhover.batch.dask_engine import DaskEngine

    plan = _load(folder, retries)
    return _run(plan, DaskEngine(plan, address, model), retries)


def _load(folder: Path, retries: int) -> Plan:
    """Return a plan whose parts can be written."""
    if retries < 0:
        raise ParameterError(f"--retries must be 0 or more, got {retries}. Try 2.")
    plan = Plan.load(folder)
    check_writable(plan.part_path(0))
    return plan


def _run(plan: Plan, engine: Engine, retries: int) -> RunOutcome:
    """Run the tasks of a plan on the workers of an engine."""
    started = time.monotonic()
    with progress_bar("searching", plan.record.mpx, "Mpx") as advance:
        run = _Run(plan, engine, retries, advance)
        try:
            run.finish_all()
        finally:
            engine.close()
            run.release()
    run.outcome.tasks.sort(key=lambda task: task.task)
    run.outcome.seconds = time.monotonic() - started
    return run.outcome


@dataclass(frozen=True)
class _Begun:
    """A task that a worker has."""

    task: int
    lock: ExitStack


class _Run:
    """A run of a plan's tasks.

    Attributes:
        outcome: of the tasks that are done.
    """

    def __init__(self, plan: Plan, engine: Engine, retries: int, advance: Advance) -> None:
        """Take what is needed; nothing begins yet."""
        self.outcome = RunOutcome(plan.folder)
        self._plan = plan
        self._engine = engine
        self._retries = retries
        self._advance = advance
        self._waiting = deque(range(plan.record.tasks))
        self._suspects: deque[int] = deque()  # in hand when a worker was killed: tried alone
        self._is_alone = False
        self._tries: Counter[int] = Counter()
        self._begun: dict[Future[bytes], _Begun] = {}
        self._n_lost_in_a_row = 0

    def finish_all(self) -> None:
        """Run until no task is left."""
        self._begin_tasks()
        while self._begun:
            done, _ = wait(self._begun, return_when=FIRST_COMPLETED)
            kept = [future for future in done if not _is_lost(future)]
            for future in kept:
                self._finish(self._begun.pop(future), future)
            if len(kept) < len(done):
                self._replace_workers()
            self._begin_tasks()

    def release(self) -> None:
        """Free the tasks that did not finish for other runs."""
        for begun in self._begun.values():
            begun.lock.close()
        self._begun.clear()

    def _begin_tasks(self) -> None:
        """Give the workers as many tasks as they need; one alone after a worker was killed."""
        while self._suspects and not self._begun:
            self._is_alone = True
            self._begin(self._suspects.popleft())
        if self._is_alone and self._begun:
            return
        self._is_alone = False
        while self._waiting and len(self._begun) < self._engine.n_workers + SPARE_TASKS:
            self._begin(self._waiting.popleft())

    def _begin(self, task: int) -> None:
        """Give a task to a worker, unless its part is there or another run searches it."""
        lock = ExitStack()
        try:
            lock.enter_context(lock_output(self._plan.part_path(task)))
        except ParameterError:
            self._record(TaskOutcome(task, ("another run is searching it",), has_part=False))
            return
        try:
            earlier = earlier_part(self._plan, task)
            if earlier is not None and earlier.is_complete:
                self._record(TaskOutcome(task, is_new=False))
                lock.close()
                return
            self._tries[task] += 1
            content = None if earlier is None else earlier.to_bytes()
            self._begun[self._engine.submit(task, content)] = _Begun(task, lock)
        except BrokenExecutor:  # a worker was killed since the last task
            lock.close()
            self._suspects.append(task)
            self._replace_workers()
        except BaseException:
            lock.close()
            raise

    def _finish(self, begun: _Begun, future: Future[bytes]) -> None:
        """Write the part of a task, or try the task again, or note why it failed."""
        self._n_lost_in_a_row = 0
        error = future.exception()
        may_retry = self._tries[begun.task] <= self._retries
        with begun.lock:
            if error is None:
                outcome = self._write(begun.task, future.result())
            else:
                outcome = TaskOutcome(begun.task, (_reason(error),), has_part=False)
                may_retry &= not isinstance(error, WindhoverError)
        if outcome.reasons and may_retry:
            logger.info("task %d is tried again: %s", begun.task, outcome.reasons[0])
            self._waiting.append(begun.task)
        else:
            self._record(outcome)

    def _write(self, task: int, content: bytes) -> TaskOutcome:
        """Write a part as it came from a worker."""
        path = self._plan.part_path(task)
        part = Part.from_bytes(content, path)
        save_bytes(content, path)
        return outcome_of(part)

    def _record(self, outcome: TaskOutcome) -> None:
        """Note that a task is done."""
        self.outcome.tasks.append(outcome)
        mpx = self._plan.mpx_of(outcome.task)
        if outcome.is_new and outcome.has_part:
            self.outcome.mpx += mpx
        self._advance(mpx)

    def _replace_workers(self) -> None:
        """Start workers anew after one was killed; the tasks in hand are tried alone.

        Raises:
            DataError: workers are killed again and again, or cannot be started here.
        """
        self._n_lost_in_a_row += 1
        if self._n_lost_in_a_row > MAX_LOST_IN_A_ROW:
            raise DataError(
                f"{self._plan.folder}: {MAX_LOST_IN_A_ROW} workers in a row were killed before a "
                "task was done, mostly for lack of memory. Start fewer, or lower --batch-px and "
                "--block-px in the plan; finished parts are kept."
            )
        self._engine.restart()
        begun = list(self._begun.values())
        self._begun.clear()
        for one in begun:
            one.lock.close()
            if self._tries[one.task] <= self._retries:
                self._suspects.append(one.task)
            else:
                self._record(TaskOutcome(one.task, (KILLED,), has_part=False))


def _is_lost(future: Future[bytes]) -> bool:
    """Return whether a task ended because its worker did."""
    return future.cancelled() or isinstance(future.exception(), BrokenExecutor | CancelledError)


def _reason(error: BaseException) -> str:
    """Return why a task failed, as one line."""
    if isinstance(error, WindhoverError):
        return error.sentence()
    text = " ".join(str(error).split())[:REASON_CHARS]
    return f"{type(error).__name__}: {text}"
