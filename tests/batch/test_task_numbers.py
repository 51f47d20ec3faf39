"""Numbers of tasks: what is written is read back, and what is none is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windhover.batch.task_numbers import format_tasks, parse_tasks, task_of_variable
from windhover.errors import ParameterError


@given(st.sets(st.integers(0, 300), min_size=1))
def test_numbers_survive_being_written(tasks: set[int]) -> None:
    assert parse_tasks(format_tasks(sorted(tasks)), 301) == sorted(tasks)


def test_neighbours_are_one_stretch() -> None:
    assert format_tasks([3, 7, 8, 9, 12]) == "3,7-9,12"
    assert format_tasks([]) == ""


@pytest.mark.parametrize("text", ["", "a", "1;2", "-1", "1-", "2.0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="must be numbers of tasks with commas between"):
        parse_tasks(text, 9)


@pytest.mark.parametrize("text", ["9", "3-9", "5-2"])
def test_a_task_that_is_not_there_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="the plan has the tasks 0 to 8"):
        parse_tasks(text, 9)


def test_the_index_of_an_array_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "8")
    assert task_of_variable("SLURM_ARRAY_TASK_ID", 9) == 8
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "9")
    with pytest.raises(ParameterError, match="is '9', and the plan has the tasks 0 to 8"):
        task_of_variable("SLURM_ARRAY_TASK_ID", 9)
    with pytest.raises(ParameterError, match="NOT_THERE: this variable is not set"):
        task_of_variable("NOT_THERE", 9)
