"""A task run as often as wanted: its part is written once, and whole; the flow of `run --task`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windhover.batch.part import Part
from windhover.batch.plan import Plan
from windhover.batch.search_task import TaskSearch
from windhover.errors import DataError, FormatError, ParameterError
from windhover.files import check_writable, lock_output
from windhover.progress import progress_bar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskOutcome:
    """What became of a task.

    Attributes:
        task: its number.
        reasons: what could not be read of its scenes, or why it did not finish; none where all is
            searched.
        has_part: whether its part is there.
        is_new: whether it was searched now; else its part was there already.
    """

    task: int
    reasons: tuple[str, ...] = ()
    has_part: bool = True
    is_new: bool = True


def run_tasks_here(
    folder: Path, tasks: Sequence[int], *, model: Path | None = None
) -> list[TaskOutcome]:
    """Search tasks of a plan in this process, one after another.

    Args:
        folder: of the plan.
        tasks: their numbers.
        model: where the model is now; None for where it was when the plan was made.

    Returns:
        What became of each; one of several that cannot be searched is there with its reason.

    Raises:
        ParameterError: another run searches the only task, or the model is not the plan's.
        WindhoverError: another child that names the fault.
    """
    plan = Plan.load(folder)
    runner = _TaskRunner(plan, model)
    outcomes = []
    for task in tasks:
        check_writable(plan.part_path(task))
        try:
            outcomes.append(runner.run(task))
        except (DataError, ParameterError) as error:
            if len(tasks) == 1 or not runner.has_model:
                raise
            outcomes.append(TaskOutcome(task, (error.sentence(),), has_part=False))
    return outcomes


class _TaskRunner:
    """Runs tasks of a plan in this process; the model is loaded for the first that needs it."""

    def __init__(self, plan: Plan, model: Path | None) -> None:
        """Take what is needed; nothing is loaded yet.

        Args:
            plan: whose tasks.
            model: where the model is now; None for where it was when the plan was made.
        """
        self.has_model = True
        self._plan = plan
        self._model = model
        self._search: TaskSearch | None = None

    def run(self, task: int) -> TaskOutcome:
        """Search a task, unless its part is there, and write its part.

        Raises:
            ParameterError: another run searches it, or the model is not the plan's.
        """
        path = self._plan.part_path(task)
        with lock_output(path):
            earlier = earlier_part(self._plan, task)
            if earlier is not None and earlier.is_complete:
                return TaskOutcome(task, is_new=False)
            search = self._loaded_search()
            with progress_bar(f"task {task}", self._plan.mpx_of(task), "Mpx") as advance:
                part = search.search(task, earlier=earlier, progress=advance)
            part.save(path)
            return outcome_of(part)

    def _loaded_search(self) -> TaskSearch:
        """Return the search of the plan, its model loaded once.

        Raises:
            ParameterError: the model is not the plan's.
        """
        if self._search is None:
            self.has_model = False
            self._search = TaskSearch(self._plan, self._model)
            self.has_model = True
        return self._search


def earlier_part(plan: Plan, task: int) -> Part | None:
    """Return the part of a task that is there; None where it is missing, damaged or another's."""
    path = plan.part_path(task)
    if not path.is_file():
        return None
    try:
        part = Part.load(path)
    except FormatError as error:
        logger.warning("%s It is made again.", error.sentence())
        return None
    is_own = part.header.plan == plan.record.digest and part.header.task == task
    return part if is_own and part.covers(plan.rows_of(task)) else None


def outcome_of(part: Part) -> TaskOutcome:
    """Return what became of the task of a part that was just made."""
    reasons: list[str] = []
    for failure in part.header.failures:
        lost = [*failure.failed_blocks(), *failure.missing_parts()]
        reasons += [failure.reason] if failure.reason else [block.reason for block in lost]
    return TaskOutcome(part.header.task, tuple(reasons))
