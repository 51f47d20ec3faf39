"""The time budget: fewer epochs where they would not fit, planned anew by what they took."""

from __future__ import annotations

from pathlib import Path

import pytest

from toy_patches import learning_folders, train_params
from windhover.training import train
from windhover.training.callbacks import time_budget
from windhover.training.callbacks.time_budget import TimeBudget
from windhover.training.training_state import TrainingState


def test_it_plans_fewer_epochs_where_they_would_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time_budget, "measure_step", lambda *_, **__: 1.0)
    monkeypatch.setattr(TimeBudget, "plan", lambda *_, **__: None)
    params = train_params(epochs=50, max_minutes=0.15)
    trained = train.train_detector(params, learning_folders(tmp_path), track=False)
    assert 1 <= len(trained.history) < 10
    last_rate = trained.history[-1]["learning_rate"]
    assert last_rate < 0.003 * 0.5, "the schedule ends with the last epoch"


def test_a_part_of_the_first_epoch_is_planned_where_no_whole_one_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time_budget, "measure_step", lambda *_, **__: 60.0)
    shares = []

    def keep_share(budget: TimeBudget, state: TrainingState, *, wanted_epochs: int) -> None:
        shares.append((state.planned_epochs, state.last_epoch_share))

    monkeypatch.setattr(TimeBudget, "plan", keep_share)
    params = train_params(epochs=50, max_minutes=0.5)
    trained = train.train_detector(params, learning_folders(tmp_path), track=False)
    assert len(trained.history) == 1
    planned, share = shares[0]
    assert planned == 1
    assert share < 1


def test_training_goes_on_where_the_first_plan_was_far_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time_budget, "measure_step", lambda *_, **__: 60.0)
    params = train_params(epochs=3, max_minutes=5)
    trained = train.train_detector(params, learning_folders(tmp_path), track=False)
    rates = [row["learning_rate"] for row in trained.history]
    assert len(rates) == 3
    assert rates[1] > 10 * rates[2], "the learning rate began anew, and came to its end again"


def state_after(
    planned: int, seconds: list[float], mining: list[float], n_rounds: int
) -> TrainingState:
    """Return the state after epochs and rounds that took some seconds."""
    state = TrainingState(planned, seconds=sum(seconds) + sum(mining), n_mining_rounds=n_rounds)
    for number, took in enumerate(seconds):
        mined = mining[number] if number < len(mining) else 0.0
        state.history.append({"seconds": took, "mining_seconds": mined})
    return state


@pytest.mark.parametrize(
    ("wanted", "planned", "seconds", "mining", "held", "rounds", "then"),
    [
        pytest.param(50, 10, [6.0, 6.0], [], 0, 0, 10, id="48 s of a minute hold 8 more"),
        pytest.param(50, 10, [3.0, 3.0], [], 0, 0, 20, id="faster than planned"),
        pytest.param(12, 10, [3.0, 3.0], [], 0, 0, 12, id="never more than wanted"),
        pytest.param(50, 10, [12.0, 12.0], [], 0, 0, 5, id="slower than planned"),
        pytest.param(50, 10, [90.0], [], 0, 0, 2, id="no time left: a part of one epoch"),
        pytest.param(50, 10, [1.0, 6.0, 6.0, 6.0], [], 0, 0, 10, id="the last three count"),
        pytest.param(50, 10, [6.0, 6.0], [12.0], 1, 2, 6, id="a round is still to come"),
        pytest.param(50, 2, [6.0, 6.0], [], 0, 0, 2, id="the schedule has ended"),
        pytest.param(50, 10, [], [], 0, 0, 10, id="nothing is known yet"),
        pytest.param(50, 1, [12.0], [], 0, 0, 5, id="one epoch was planned at a bad moment"),
        pytest.param(50, 1, [40.0], [], 0, 0, 1, id="one epoch was right"),
        pytest.param(1, 1, [12.0], [], 0, 0, 1, id="one epoch is wanted"),
    ],
)
def test_epochs_are_planned_by_what_they_took(
    wanted: int,
    planned: int,
    seconds: list[float],
    mining: list[float],
    held: int,
    rounds: int,
    then: int,
) -> None:
    state = state_after(planned, seconds, mining, held)
    TimeBudget(1.0, rounds).plan(state, wanted_epochs=wanted)
    assert state.planned_epochs == then
    TimeBudget(None, rounds).plan(state, wanted_epochs=wanted)
    assert state.planned_epochs == then, "without a limit a plan stands"


@pytest.mark.parametrize(
    ("took", "share"), [(90.0, 0.1), (40.0, 0.5), (31.0, 29 / 31), (30.0, 1.0), (6.0, 1.0)]
)
def test_the_last_epoch_is_as_long_as_the_time_left(took: float, share: float) -> None:
    state = state_after(10, [took], [], 0)
    TimeBudget(1.0, 0).plan(state, wanted_epochs=50)
    assert state.last_epoch_share == pytest.approx(share)
    n_more = state.planned_epochs - 1
    assert state.steps_left(1, 0, 1000) == (n_more - 1) * 1000 + round(1000 * share)
    assert state.steps_left(n_more, round(1000 * share) - 1, 1000) == 1
    assert state.steps_left(n_more, 0, 5) == 5, "a few steps are not cut"


def test_a_part_of_an_epoch_that_took_little_is_followed_by_whole_ones() -> None:
    """A fifth of an epoch took 6 s: an epoch takes 30 s, and 54 s hold one."""
    state = state_after(1, [6.0], [], 0)
    state.last_epoch_share, state.schedule_progress = 0.2, 1.0
    TimeBudget(1.0, 0).plan(state, wanted_epochs=50)
    assert (state.planned_epochs, state.last_epoch_share) == (2, 1.0)
    assert state.schedule_progress == 0.0, "the learning rate begins anew"


def test_the_learning_rate_falls_to_its_end_where_the_time_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten planned epochs the first takes, by a clock that is set, one and a half times all."""
    plan = TimeBudget.plan

    def plan_by_set_clock(budget: TimeBudget, state: TrainingState, *, wanted_epochs: int) -> None:
        state.seconds = 0.0
        for row in state.history:
            row["seconds"] = 90.0
            state.seconds += 90.0
        plan(budget, state, wanted_epochs=wanted_epochs)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time_budget, "measure_step", lambda *_, **__: 0.0)
    monkeypatch.setattr(TimeBudget, "plan", plan_by_set_clock)
    params = train_params(epochs=10, max_minutes=1.0)
    trained = train.train_detector(params, learning_folders(tmp_path), track=False)
    rates = [row["learning_rate"] for row in trained.history]
    assert len(rates) == 2
    assert rates[-1] < 0.003 * 0.5, "it was at its highest after the first of ten epochs"


def test_calibration_leaves_the_module_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = learning_folders(tmp_path)
    weights = []
    for max_minutes in (None, 60.0):
        params = train_params(epochs=1, max_minutes=max_minutes)
        train.train_detector(params, folders, track=False)
        weights.append((Path(folders.out) / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
