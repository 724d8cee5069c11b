from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from energytune.config import Recipe
from energytune.trial import (
    EpochsDone,
    Event,
    Finished,
    Idle,
    Job,
    TrialRecord,
    run_inline,
)
from tests.optimizer.fakes import (
    FINISHED,
    N_EPOCHS,
    NO_PRUNER,
    ft_epoch,
    make_run_job,
    make_source,
    make_space,
    memory_study,
    probe_done,
    take,
)


def test_the_first_two_are_the_baselines() -> None:
    source = make_source(memory_study(), n_trials=4)
    jobs = [take(source.next_job()) for _ in range(3)]
    assert [(job.id, job.number, job.role, job.recipe.tau) for job in jobs] == [
        ("t000", 0, "baseline_tau_0", 0),
        ("t001", 1, "baseline_tau_max", 4096),
        ("t002", 2, "search", jobs[2].recipe.tau),
    ]
    assert jobs[0].recipe == make_space().baseline(0)
    assert jobs[1].recipe == make_space().baseline(4096)


@pytest.mark.parametrize(
    ("space", "taus", "roles"),
    [
        ({"tau": 8}, (0, 4096), [("baseline_tau_0", 0), ("baseline_tau_max", 4096)]),
        ({"tau": {"low": 2, "high": 64}}, (64,), [("baseline_tau_max", 64), ("search", None)]),
        ({"tau": 0}, (0, 0), [("baseline_tau_0", 0), ("search", 0)]),
        ({"head_arch": "mlp"}, (0, 64), [("baseline_tau_0", 0), ("baseline_tau_max", 64)]),
    ],
)
def test_baselines_of_fixed_and_bounded_spaces(
    space: dict[str, Any],
    taus: tuple[int, ...],
    roles: list[tuple[str, int | None]],
    recwarn: pytest.WarningsRecorder,
) -> None:
    source = make_source(memory_study(), make_space(**space), baseline_taus=taus)
    jobs = [take(source.next_job()) for _ in range(3)]
    for job, (role, tau) in zip(jobs, roles, strict=False):
        assert job.role == role
        assert tau is None or job.recipe.tau == tau
    if space == {"tau": 8}:
        assert jobs[2].recipe.tau == 8
    assert not recwarn.list


def test_states_step_by_step() -> None:
    """COMPLETE only if finished, PRUNED only by the pruner, FAIL for all else."""
    study = memory_study()
    source = make_source(study, n_trials=20)
    good: list[Event] = [EpochsDone((ft_epoch(e, 0.5),), 0.1) for e in range(1, N_EPOCHS + 1)]
    slow: list[Event] = [EpochsDone((ft_epoch(e, 0.1),), 0.1) for e in range(1, N_EPOCHS + 1)]
    nan = math.nan
    table: list[tuple[list[Event], str | None, str, str]] = [
        ([*good, FINISHED], None, "COMPLETE", ""),
        ([*slow, FINISHED], None, "COMPLETE", ""),  # a baseline is not pruned
        ([*slow, FINISHED], None, "PRUNED", "SuccessiveHalvingPruner: FT-valid-acc 0.1000 at"),
        ([*good, FINISHED], "the actor died", "COMPLETE", ""),  # after it had finished
        (good[:3], None, "FAIL", "the job ended before it had finished"),
        (good[:3], "ValueError: out of memory", "FAIL", "ValueError: out of memory"),
        ([EpochsDone((ft_epoch(1, nan),), 0)], None, "FAIL", "non-finite at FT epoch 1: valid_acc"),
        (
            [EpochsDone((ft_epoch(1, 0.1, math.inf),), 0), FINISHED],
            None,
            "FAIL",
            "non-finite at FT epoch 1: valid_loss = inf",
        ),
        ([Finished(nan, 1, 0.4, {})], None, "FAIL", "non-finite at end: objective = nan"),
        ([Finished(0.7, 1, 0.4, {"feature_cosine": nan})], None, "COMPLETE", ""),
    ]
    for number, (events, error, state, reason) in enumerate(table):
        job = take(source.next_job())
        for event in events:
            if source.on_events(job.id, [event]):
                break
        source.on_end(job.id, error)
        trial = study.trials[number]
        assert trial.state.name == state, reason
        assert trial.user_attrs.get("reason", "").startswith(reason)
        assert (trial.value is not None) == (state in ("COMPLETE", "PRUNED"))
        record = source.records[-1]
        assert (record.state, record.reason) == (state, trial.user_attrs.get("reason", ""))
        assert (record.finished is not None) == (state == "COMPLETE")
        assert (record.reason == "") == (state == "COMPLETE")
    assert study.trials[0].value == 0.8
    assert study.trials[2].value == 0.1


def test_a_probe_that_is_not_finite_fails() -> None:
    study = memory_study()
    source = make_source(study)
    job = take(source.next_job())
    assert source.on_events(job.id, [probe_done(job.recipe, valid_loss=math.nan), FINISHED])
    source.on_end(job.id)
    assert study.trials[0].state == TrialState.FAIL
    assert source.records[0].reason == "non-finite at HP epoch 0: valid_loss = nan"


def test_epochs_after_a_stop_are_dropped() -> None:
    study = memory_study()
    source = make_source(study, n_trials=5)
    jobs = [take(source.next_job()) for _ in range(3)]
    whole = tuple(ft_epoch(e, 0.5) for e in range(1, N_EPOCHS + 1))
    worse = tuple(ft_epoch(e, 0.4) for e in range(1, N_EPOCHS + 1))
    for job in jobs[:2]:
        assert not source.on_events(job.id, [EpochsDone(whole, 1.0), FINISHED])
        source.on_end(job.id)
    assert source.on_events(jobs[2].id, [EpochsDone(worse, 1.0), FINISHED])
    assert source.on_events(jobs[2].id, [EpochsDone(worse, 1.0)])  # came in late
    source.on_end(jobs[2].id)
    record = source.records[2]
    assert (record.state, len(record.epochs)) == ("PRUNED", 4)
    assert list(study.trials[2].intermediate_values) == [4]


def test_a_redundant_recipe_is_not_finetuned() -> None:
    space = make_space(head_arch="linear", reinit_depth=0, ft_lr=0.01, label_smoothing=0.0)
    source = make_source(memory_study(NO_PRUNER), space, n_trials=20)
    run_inline(source, make_run_job())
    late = [r for r in source.records if r.job.role == "search" and r.job.recipe.tau >= 512]
    assert late
    for record in late:
        assert record.state == "PRUNED"
        assert record.reason.startswith("redundant: ")
        assert record.epochs == ()
    early = [r for r in source.records if 0 < r.job.recipe.tau <= 64]
    assert early
    assert {r.state for r in early} == {"COMPLETE"}


class StopAt(optuna.pruners.BasePruner):
    def __init__(self, epoch: int) -> None:
        self.seen: list[int | None] = []
        self.epoch = epoch

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.seen.append(trial.last_step)
        return trial.last_step is not None and trial.last_step >= self.epoch


def test_any_pruner_is_asked_after_probing_and_after_every_epoch_but_the_last() -> None:
    pruner = StopAt(7)
    study = memory_study(pruner)
    source = make_source(study, n_trials=3)
    run_inline(source, make_run_job())
    assert [record.state for record in source.records] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert pruner.seen[:N_EPOCHS] == [None, *range(1, N_EPOCHS)]
    assert pruner.seen[-8:] == [None, 1, 2, 3, 4, 5, 6, 7]
    assert len(source.records[2].epochs) == 7
    assert source.records[2].reason.startswith("StopAt: FT-valid-acc")


def test_rungs_best_and_last_epoch_are_reported() -> None:
    study = memory_study()
    run_inline(make_source(study, n_trials=1), make_run_job())
    assert list(study.trials[0].intermediate_values) == [4, 16, 50]


def test_tau_0_is_one_run_whatever_the_smoothing() -> None:
    space = make_space(tau={"low": 0, "high": 1}, head_arch="linear", reinit_depth=0, ft_lr=0.01)
    ran: list[Job] = []
    study = memory_study(NO_PRUNER, name="random")
    source = make_source(study, space, n_trials=30, baseline_taus=(0, 1))
    run_inline(source, make_run_job(ran=ran))
    keys = [job.recipe.key() for job in ran]
    assert len(keys) == len(set(keys))
    assert sum(job.recipe.tau == 0 for job in ran) == 1
    duplicates = [t for t in study.trials if "duplicate_of" in t.user_attrs]
    at_tau_0 = [t for t in duplicates if t.user_attrs["duplicate_of"] == 0]
    assert len({t.params["label_smoothing"] for t in at_tau_0}) > 1
    assert source.n_duplicates == len(duplicates)
    for trial in duplicates:
        original = study.trials[trial.user_attrs["duplicate_of"]]
        assert (trial.state, trial.value) == (original.state, original.value)


def test_an_exhausted_space_ends_the_search() -> None:
    space = make_space(tau={"low": 0, "high": 4}, head_arch="linear", reinit_depth=0, ft_lr=0.01)
    space = space.model_copy(
        update={"label_smoothing": make_space(label_smoothing=0).label_smoothing}
    )
    study = memory_study(NO_PRUNER, name="random")
    source = make_source(study, space, n_trials=30, baseline_taus=(0, 4))
    assert not source.exhausted
    run_inline(source, make_run_job())
    assert source.exhausted
    assert sorted(r.job.recipe.tau for r in source.records) == [0, 1, 2, 3, 4]
    assert source.next_job() is Idle.DONE


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETE", "PRUNED", "FAIL"])
def test_a_duplicate_is_told_what_the_original_was_told(state: str) -> None:
    study = memory_study(StopAt(2))
    space = make_space(tau=8, head_arch="linear", reinit_depth=0, ft_lr=0.01, label_smoothing=0.1)
    source = make_source(study, space, n_trials=30, baseline_taus=())
    job = take(source.next_job())
    if state == "COMPLETE":
        source.on_events(job.id, [FINISHED])
    elif state == "PRUNED":
        epochs = [EpochsDone((ft_epoch(1, 0.3), ft_epoch(2, 0.31)), 0.1)]
        assert source.on_events(job.id, epochs)
    if state != "RUNNING":
        source.on_end(job.id)
    assert source.next_job() is (Idle.WAIT if state == "RUNNING" else Idle.DONE)
    original, *duplicates = study.trials
    assert original.state.name == state
    assert len(duplicates) == 25
    for trial in duplicates:
        assert trial.state.name == ("FAIL" if state == "RUNNING" else state)
        assert trial.value == original.value
        assert trial.user_attrs["duplicate_of"] == 0
    assert duplicates[0].user_attrs["reason"].startswith("duplicate of ")
    if state == "RUNNING":
        source.on_end(job.id)
        assert source.next_job() is Idle.DONE
    assert len(source.records) == 1


def test_it_waits_for_running_jobs_and_then_is_done() -> None:
    source = make_source(memory_study(), n_trials=2)
    jobs = [take(source.next_job()), take(source.next_job())]
    assert source.next_job() is Idle.WAIT
    source.on_end(jobs[1].id)
    assert source.next_job() is Idle.WAIT
    source.on_end(jobs[0].id)
    assert source.next_job() is Idle.DONE


def test_baselines_have_ended_when_both_have() -> None:
    source = make_source(memory_study())
    seen = [source.baselines_ended]
    for error in (None, "ValueError: no"):
        job = take(source.next_job())
        source.on_events(job.id, [FINISHED] if error is None else [])
        source.on_end(job.id, error)
        seen.append(source.baselines_ended)
    assert seen == [False, False, True]
    assert make_source(memory_study(), baseline_taus=()).baselines_ended


@pytest.mark.parametrize(("n_valid", "number"), [(None, 2), (4000, 2), (400, 0)])
def test_best_by_objective_then_loss_then_number(n_valid: int | None, number: int) -> None:
    """0.795 is as good as 0.8 within half a standard error of 400 images, which is 0.01."""
    source = make_source(memory_study(NO_PRUNER), n_trials=6, n_valid=n_valid)
    ends = [(0.795, 0.1), (0.8, 0.5), (0.8, 0.4), (0.8, 0.4), (math.nan, 0.0), (0.1, 0.0)]
    assert source.best() is None
    for objective, loss in ends:
        job = take(source.next_job())
        source.on_events(job.id, [Finished(objective, 1, loss, {})])
        source.on_end(job.id)
    best = source.best()
    assert best is not None
    assert best.job.number == number


def test_baselines_are_found() -> None:
    source = make_source(memory_study(), n_trials=2)
    assert source.baselines() == (None, None)
    run_inline(source, make_run_job())
    zero, largest = source.baselines()
    assert zero is not None
    assert largest is not None
    assert (zero.job.recipe.tau, largest.job.recipe.tau) == (0, 4096)


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def job_started(self, job: Job) -> None:
        self.seen.append(("started", job.id))

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        self.seen.append((type(events[0]).__name__, job.id))

    def job_ended(self, record: TrialRecord) -> None:
        self.seen.append((record.state, record.job.id))


def test_observers_see_what_was_taken() -> None:
    watcher = Watcher()
    source = make_source(memory_study(), n_trials=1, observers=[watcher])
    run_inline(source, make_run_job(n_epochs=2))
    assert watcher.seen == [
        ("started", "t000"),
        ("ProbeDone", "t000"),
        ("EpochsDone", "t000"),
        ("EpochsDone", "t000"),
        ("Finished", "t000"),
        ("COMPLETE", "t000"),
    ]


def test_a_crash_is_a_failed_trial_and_the_search_goes_on() -> None:
    def run_job(job: Job) -> Generator[Event, None, None]:
        if job.number == 2:
            raise RuntimeError("head exploded")
        yield from make_run_job()(job)

    source = make_source(memory_study(), n_trials=5)
    run_inline(source, run_job)
    assert [r.job.number for r in source.records] == [0, 1, 2, 3, 4]
    assert source.records[2].state == "FAIL"
    assert source.records[2].reason == "RuntimeError: head exploded"


def test_concurrent_jobs_differ() -> None:
    source = make_source(memory_study(name="random"), n_trials=30)
    jobs = [take(source.next_job()) for _ in range(30)]
    assert len({job.recipe.key() for job in jobs}) == 30
    assert isinstance(jobs[0].recipe, Recipe)
