from contextlib import suppress
from dataclasses import replace

import pytest

from energytune.config import Recipe
from energytune.search import clock as clock_module
from energytune.search.clock import StageClock, TimeBudget
from energytune.trial import Job, TrialRecord


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock_module, "perf_counter", fake)
    return fake


def lasting(seconds: float, state: str = "COMPLETE") -> TrialRecord:
    job = Job("t000", 0, Recipe(tau=0, ft_lr=0.1), 0)
    return TrialRecord(job, state, started_ms=1000, ended_ms=1000 + round(1000 * seconds))  # type: ignore[arg-type]


def test_stages_add_up_also_when_they_raise(time: FakeTime) -> None:
    clock = StageClock()
    with clock.stage("a"):
        time.now += 2
    with suppress(ZeroDivisionError), clock.stage("a"):
        time.now += 3
        raise ZeroDivisionError
    clock.add("b", 7.0)
    assert clock.seconds() == {"total": 5.0, "a": 5.0, "b": 7.0}


def test_without_a_budget_there_is_always_time(time: FakeTime) -> None:
    budget = TimeBudget(None, StageClock(), concurrency=1, n_confirm_runs=9)
    time.now += 1e9
    assert budget.allows_trial([])
    assert not budget.is_over()


@pytest.mark.parametrize(
    ("elapsed_s", "allowed"),
    [(0.0, True), (49.0, True), (50.0, False), (99.0, False), (100.0, False)],
)
def test_time_for_the_confirmation_is_kept(time: FakeTime, elapsed_s: float, allowed: bool) -> None:
    # left must exceed the longest trial (10 s) and 5 rounds of the median (8 s)
    records = [lasting(6), lasting(8), lasting(10), lasting(500, state="FAIL")]
    budget = TimeBudget(100.0, StageClock(), concurrency=2, n_confirm_runs=9)
    time.now += elapsed_s
    assert budget.allows_trial(records) is allowed


def test_runs_of_the_confirmation_that_are_done_need_no_time(time: FakeTime) -> None:
    budget = TimeBudget(600.0, StageClock(), concurrency=2, n_confirm_runs=9)
    time.now += 550  # left: 50 s; a trial and 5 rounds of 10 s need more, with 4 rounds less
    records = [lasting(9), lasting(9)]
    assert budget.reason(records) == "time budget of 600 s"
    assert budget.reason(records, n_confirmed=1) == ""
    assert budget.reason(records, n_confirmed=20) == ""


def test_before_the_first_complete_trial_any_time_left_is_enough(time: FakeTime) -> None:
    budget = TimeBudget(10.0, StageClock(), concurrency=2, n_confirm_runs=9)
    time.now += 9.9
    assert budget.allows_trial([lasting(1, state="PRUNED")])
    time.now += 0.1
    assert not budget.allows_trial([])
    assert budget.is_over()


def test_duplicates_do_not_make_trials_look_short(time: FakeTime) -> None:
    repeated = replace(lasting(0), duplicate_of=0)
    budget = TimeBudget(100.0, StageClock(), concurrency=1, n_confirm_runs=1)
    time.now += 70
    assert not budget.allows_trial([lasting(20), repeated, repeated])
