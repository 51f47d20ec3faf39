"""Numbers of tasks as text: `3,7,10-12`, and from the variables that schedulers set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from windhover.errors import ParameterError

STRETCH = re.compile(r"(\d+)(?:-(\d+))?")


def parse_tasks(text: str, n_tasks: int) -> list[int]:
    """Return the numbers that a text names, each once, in order.

    Args:
        text: numbers and stretches of them with commas between, such as `3,7,10-12`.
        n_tasks: of the plan; its tasks are 0 to one less.

    Raises:
        ParameterError: the text is none, or names a task that the plan has not.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        found = STRETCH.fullmatch(part.strip())
        if found is None:
            raise ParameterError(
                f"--task must be numbers of tasks with commas between, got {text!r}. Try 0 or "
                "3,7,10-12."
            )
        first = int(found.group(1))
        last = int(found.group(2) or first)
        if not first <= last < n_tasks:
            raise ParameterError(
                f"--task {part.strip()}: the plan has the tasks 0 to {n_tasks - 1}. Name some of "
                "them."
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def format_tasks(tasks: Sequence[int]) -> str:
    """Return rising numbers as `parse_tasks` reads them, neighbours as stretches."""
    parts: list[str] = []
    start = 0
    for number in range(1, len(tasks) + 1):
        if number < len(tasks) and tasks[number] == tasks[number - 1] + 1:
            continue
        first = tasks[start]
        last = tasks[number - 1]
        parts.append(str(first) if first == last else f"{first}-{last}")
        start = number
    return ",".join(parts)


def task_of_variable(name: str, n_tasks: int) -> int:
    """Return the number of the task in an environment variable.

    Args:
        name: of the variable, such as SLURM_ARRAY_TASK_ID.
        n_tasks: of the plan.

    Raises:
        ParameterError: it is not set, no whole number, or no task of the plan.
    """
    text = os.environ.get(name)
    if text is None:
        raise ParameterError(
            f"--index-from {name}: this variable is not set. Name the one that the scheduler sets, "
            "such as SLURM_ARRAY_TASK_ID, AWS_BATCH_JOB_ARRAY_INDEX or JOB_COMPLETION_INDEX."
        )
    if not text.strip().isdecimal() or int(text) >= n_tasks:
        raise ParameterError(
            f"--index-from {name}: is {text!r}, and the plan has the tasks 0 to {n_tasks - 1}. "
            f"Let the array run from 0 to {n_tasks - 1}."
        )
    return int(text)
