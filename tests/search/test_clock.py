from contextlib import suppress
from dataclasses import replace

import pytest

from energytune.config import Recipe
from energytune.search import clock as clock_module
from energytune.search.clock import StageClock, TimeBudget, end_seconds
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


def test_a_workers_start_is_not_taken_for_a_trials_time(time: FakeTime) -> None:
    """The first trial of each worker waits until it has imported torch."""
    first = replace(lasting(30), seconds_hp=1.0, seconds_ft=3.0)
    others = [replace(lasting(5), started_ms=40_000, ended_ms=45_000) for _ in range(2)]
    named = [replace(r, job=replace(r.job, id=f"t{i}")) for i, r in enumerate([first, *others])]
    budget = TimeBudget(100.0, StageClock(), concurrency=1, n_confirm_runs=3)
    time.now += 79
    assert budget.allows_trial(named)  # 21 s are more than a trial and 3 rounds of 5 s
    time.now += 2
    assert not budget.allows_trial(named)


def test_time_for_the_report_and_the_registration_is_kept(time: FakeTime) -> None:
    assert end_seconds(None, 10**9) == 0.0
    assert end_seconds(60.0, 0) == 5.0
    assert end_seconds(20.0, 0) == 2.0
    assert end_seconds(600.0, 100_000_000) == 10.0
    budget = TimeBudget(100.0, StageClock(), concurrency=1, n_confirm_runs=0, end_s=5.0)
    time.now += 84
    assert budget.allows_trial([lasting(10)])
    time.now += 1
    assert not budget.allows_trial([lasting(10)])


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("budget_s", [300.0, 1000.0])
def test_trials_confirmation_and_end_are_within_the_budget(
    time: FakeTime, budget_s: float, concurrency: int
) -> None:
    """A search on a clock of its own, whose trials take 8 to 12 s and start after 20 s."""
    clock = StageClock()
    budget = TimeBudget(budget_s, clock, concurrency, 9, end_s=end_seconds(budget_s, 10**7))
    time.now += 20.0
    records: list[TrialRecord] = []
    free_s = [clock.elapsed_s] * concurrency
    while budget.allows_trial([r for r in records if r.ended_ms <= 1000 * clock.elapsed_s]):
        took_s = 8.0 + len(records) % 5
        job = Job(f"t{len(records)}", len(records), Recipe(tau=0, ft_lr=0.1), 0)
        worker = free_s.index(min(free_s))
        started_s = free_s[worker]
        free_s[worker] = started_s + took_s
        times = (round(1000 * started_s), round(1000 * free_s[worker]))
        records.append(TrialRecord(job, "COMPLETE", started_ms=times[0], ended_ms=times[1]))
        time.now = 100.0 + min(free_s)
    assert len(records) > concurrency
    race_s = -(-9 // concurrency) * 10.0  # on average, as the trials
    end_s = 3.0  # report and registration
    assert max(free_s) + race_s + end_s <= budget_s


def test_duplicates_do_not_make_trials_look_short(time: FakeTime) -> None:
    repeated = replace(lasting(0), duplicate_of=0)
    budget = TimeBudget(100.0, StageClock(), concurrency=1, n_confirm_runs=1)
    time.now += 70
    assert not budget.allows_trial([lasting(20), repeated, repeated])
