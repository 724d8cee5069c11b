from __future__ import annotations

import math
import statistics
from collections.abc import Generator
from dataclasses import replace

import pytest

from energytune.optimizer import BaselineRepeats, ConfirmSource
from energytune.optimizer.candidates import pick_candidates
from energytune.trial import EpochsDone, Event, Finished, Idle, Job, run_inline
from energytune.trial.builder import INTERRUPTED
from tests.optimizer.fakes import (
    FINISHED,
    NO_PRUNER,
    ft_epoch,
    make_run_job,
    make_source,
    memory_study,
    take,
)
from tests.optimizer.racing import Watcher

SEEDS = (1000, 1001)
LUCK = {(0, 1000): 0.02, (0, 1001): -0.01, (1, 1000): 0.005, (1, 1001): 0.03}
IDS = ["c000-s1000", "c001-s1000", "c000-s1001", "c001-s1001"]


def lucky(job: Job) -> Generator[Event, None, None]:
    """A run whose result depends on its seed."""
    for event in make_run_job()(job):
        if isinstance(event, Finished):
            event = replace(event, objective=event.objective + LUCK.get((job.number, job.seed), 0))
        yield event


def test_baselines_then_their_repeats_then_the_rest() -> None:
    ran: list[Job] = []
    study = memory_study()
    source = make_source(study, n_trials=5)
    run_inline(BaselineRepeats(source, SEEDS), make_run_job(ran=ran))
    assert [job.id for job in ran] == ["t000", "t001", *IDS, "t002", "t003", "t004"]
    assert [(job.number, job.role) for job in ran[2:6]] == 2 * [(0, "confirm"), (1, "confirm")]
    assert len(study.trials) == 5  # the repeats are none of them
    assert source.end_reason == "5 trials"


def test_trials_run_beside_repeats_and_each_end_is_told_its_owner() -> None:
    source = make_source(memory_study(NO_PRUNER), n_trials=4)
    both = BaselineRepeats(source, (1000,))
    jobs = [take(both.next_job()) for _ in range(3)]
    assert [job.id for job in jobs] == ["t000", "t001", "t002"]
    for job in jobs[:2]:
        assert not both.on_events(job.id, [FINISHED])
        both.on_end(job.id)
    repeats = [take(both.next_job()), take(both.next_job())]
    last = take(both.next_job())
    assert [job.id for job in (*repeats, last)] == ["c000-s1000", "c001-s1000", "t003"]
    for job in (jobs[2], last):
        both.on_events(job.id, [FINISHED])
        both.on_end(job.id)
    assert both.next_job() is Idle.WAIT
    assert source.next_job() is Idle.DONE
    for job in repeats:
        assert both.deviation() is None
        both.on_events(job.id, [FINISHED])
        both.on_end(job.id)
    assert both.next_job() is Idle.DONE
    assert both.deviation() == 0.0
    assert [r.job.id for r in source.records] == ["t000", "t001", "t002", "t003"]


def test_the_deviation_is_pooled_over_both_baselines_with_their_trials() -> None:
    source = make_source(memory_study(NO_PRUNER), n_trials=3)
    repeats = BaselineRepeats(source, SEEDS)
    assert repeats.deviation() is None
    run_inline(repeats, lucky)
    variances = [statistics.variance([0, 0.02, -0.01]), statistics.variance([0, 0.005, 0.03])]
    assert repeats.deviation() == pytest.approx(math.sqrt(statistics.mean(variances)))
    assert len(repeats.complete) == 4


def test_the_confirmation_finds_them_done() -> None:
    watcher, ran = Watcher(), list[Job]()
    source = make_source(memory_study(NO_PRUNER), n_trials=6)
    run_inline(BaselineRepeats(source, SEEDS, observers=[watcher]), lucky)
    repeated = watcher.ended
    assert [record.job.id for record in repeated] == IDS
    zero, largest = source.baselines()
    assert zero is not None
    assert largest is not None
    candidates = pick_candidates(
        source.records, {"baseline_tau_0": zero, "baseline_tau_max": largest}, 1
    )
    run_inline(
        ConfirmSource(candidates, (*SEEDS, 1002), done=repeated),
        make_run_job(ran=ran),
    )
    of_baselines = [job.id for job in ran if job.number in (0, 1)]
    assert sorted(of_baselines) == ["c000-s1002", "c001-s1002"]


def test_what_an_earlier_start_has_done_is_not_run_again() -> None:
    watcher, ran = Watcher(), list[Job]()
    study = memory_study(NO_PRUNER)
    first = BaselineRepeats(make_source(study, n_trials=3), SEEDS, observers=[watcher])
    run_inline(first, lucky)
    stranger = replace(watcher.ended[0], job=replace(watcher.ended[0].job, seed=7))
    again = BaselineRepeats(
        make_source(study, n_trials=4), SEEDS, earlier=[*watcher.ended[:3], stranger]
    )
    run_inline(again, make_run_job(ran=ran))
    assert [job.id for job in ran] == ["c001-s1001", "t003"]
    whole = BaselineRepeats(make_source(study, n_trials=5), SEEDS, earlier=watcher.ended)
    run_inline(whole, make_run_job())
    assert whole.deviation() == first.deviation()
    assert len(whole.complete) == 4


def test_a_search_that_has_ended_repeats_nothing() -> None:
    ran: list[Job] = []
    source = make_source(memory_study(), n_trials=2)
    repeats = BaselineRepeats(source, SEEDS)
    run_inline(repeats, make_run_job(ran=ran))
    assert [job.id for job in ran] == ["t000", "t001"]
    assert repeats.deviation() is None


def test_a_failed_baseline_and_failed_repeats_are_left_out() -> None:
    def run_job(job: Job) -> Generator[Event, None, None]:
        if job.id in ("t000", "c001-s1001"):
            raise RuntimeError("out of memory")
        yield from lucky(job)

    watcher = Watcher()
    source = make_source(memory_study(NO_PRUNER), n_trials=3)
    repeats = BaselineRepeats(source, SEEDS, observers=[watcher])
    run_inline(repeats, run_job)
    assert [(r.job.id, r.state) for r in watcher.ended] == [
        ("c001-s1000", "COMPLETE"),
        ("c001-s1001", "FAIL"),
    ]
    assert repeats.deviation() == pytest.approx(statistics.stdev([0, 0.005]))
    assert len(repeats.complete) == 1


def test_without_a_repeat_there_is_no_deviation() -> None:
    source = make_source(memory_study(), n_trials=3)
    repeats = BaselineRepeats(source, SEEDS)
    for error in (None, None, *(4 * [INTERRUPTED])):
        job = take(repeats.next_job())
        repeats.on_events(job.id, [FINISHED] if error is None else [])
        repeats.on_end(job.id, error)
    assert take(repeats.next_job()).id == "t002"
    assert repeats.deviation() is None
    assert len(repeats.complete) == 0


def test_a_repeat_is_stopped_by_a_number_that_is_not_finite() -> None:
    source = make_source(memory_study(), n_trials=3)
    repeats = BaselineRepeats(source, (1000,))
    for _ in range(2):
        job = take(repeats.next_job())
        repeats.on_events(job.id, [FINISHED])
        repeats.on_end(job.id)
    job = take(repeats.next_job())
    assert repeats.on_events(job.id, [EpochsDone((ft_epoch(1, math.nan),), 0.1)])
    repeats.on_end(job.id)
    assert len(repeats.complete) == 0
