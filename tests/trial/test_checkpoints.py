"""A job whose process was lost goes on from its last checkpoint, and tells all of it again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from energytune.config import FinetuneConfig
from energytune.trial import EpochsDone, Job, ProbeDone, Probing, TrialRecord
from energytune.trial.checkpoints import CheckpointKeeper, Checkpoints, CheckpointTimer
from energytune.trial.model_files import ModelFiles
from energytune.trial.run import run_trial

EVERY_EPOCH = {"finetune": FinetuneConfig(epochs=5, patience=None), "checkpoint_s": 0.0}


def timeless(events) -> list:
    return [replace(event, seconds=0.0) for event in events if not isinstance(event, Probing)]


def epochs_of(events) -> list[int]:
    return [e.epoch for event in events if isinstance(event, EpochsDone) for e in event.epochs]


def lost_at(bench, job: Job, epoch: int) -> list:
    """The events up to an epoch, at which the process is lost: nothing of it is run any more."""
    told = []
    with closing(run_trial(bench, job)) as events:
        for event in events:
            told.append(event)
            if epochs_of([event])[-1:] == [epoch]:
                break
    return told


@pytest.mark.parametrize("role", ["search", "confirm"])
def test_no_epoch_is_trained_twice_and_all_are_told(
    make_spec, make_job, trained, tmp_path: Path, role: str
) -> None:
    job = make_job(role=role)
    whole = list(run_trial(make_spec(**EVERY_EPOCH).build(), job))
    Checkpoints(ModelFiles(tmp_path / "models")).drop(job)
    trained.clear()
    for epoch in (2, 3):  # and lost again
        lost_at(make_spec(**EVERY_EPOCH).build(), job, epoch)
    again = list(run_trial(make_spec(**EVERY_EPOCH).build(), job))
    assert trained == [1, 2, 3, 4, 5]
    assert epochs_of(again) == [1, 2, 3, 4, 5]
    assert [len(e.epochs) for e in again if isinstance(e, EpochsDone)] == [3, 1, 1]
    first, last = timeless(again)[0], timeless(again)[-1]
    assert isinstance(first, ProbeDone)
    assert first.snapshots == timeless(whole)[0].snapshots
    assert last == timeless(whole)[-1]
    told = [e for event in again if isinstance(event, EpochsDone) for e in event.epochs]
    assert told == [e for event in whole if isinstance(event, EpochsDone) for e in event.epochs]


def test_the_seconds_before_a_loss_are_told_once(make_spec, make_job) -> None:
    job = make_job()
    before = lost_at(make_spec(**EVERY_EPOCH).build(), job, 3)
    again = list(run_trial(make_spec(**EVERY_EPOCH).build(), job))
    seconds = sum(e.seconds for e in before if isinstance(e, EpochsDone))
    resumed = next(e for e in again if isinstance(e, EpochsDone))
    assert resumed.seconds == pytest.approx(seconds)


def test_another_seed_or_recipe_has_a_checkpoint_of_its_own(make_spec, make_job, trained) -> None:
    job = make_job()
    lost_at(make_spec(**EVERY_EPOCH).build(), job, 3)
    for other in (replace(job, seed=7), make_job(ft_lr=0.02)):
        trained.clear()
        list(run_trial(make_spec(**EVERY_EPOCH).build(), other))
        assert trained == [1, 2, 3, 4, 5]


def test_a_trial_that_is_begun_anew_under_another_number_goes_on_too(
    make_spec, make_job, trained
) -> None:
    job = make_job()
    lost_at(make_spec(**EVERY_EPOCH).build(), job, 3)
    trained.clear()
    list(run_trial(make_spec(**EVERY_EPOCH).build(), replace(job, id="t031", number=31)))
    assert trained == [4, 5]


def test_a_checkpoint_whose_curve_is_not_its_epoch_s_is_not_taken(
    make_spec, make_job, tmp_path: Path
) -> None:
    job = make_job()
    lost_at(make_spec(**EVERY_EPOCH).build(), job, 3)
    kept = Checkpoints(ModelFiles(tmp_path / "models"))
    found = kept.load(job)
    assert found is not None
    kept.save(job, replace(found, epochs=found.epochs[:2]))
    assert kept.load(job) is None


def test_an_end_that_was_lost_on_its_way_trains_nothing_again(make_spec, make_job, trained) -> None:
    job = make_job()
    whole = timeless(run_trial(make_spec(**EVERY_EPOCH).build(), job))
    trained.clear()
    again = timeless(run_trial(make_spec(**EVERY_EPOCH).build(), job))
    assert trained == []
    assert again[-1] == whole[-1]


@pytest.mark.parametrize(("reason", "is_kept"), [("", False), ("interrupted", True)])
def test_the_keeper_deletes_what_has_ended(
    make_spec, make_job, tmp_path: Path, reason: str, is_kept: bool
) -> None:
    job = make_job()
    lost_at(make_spec(**EVERY_EPOCH).build(), job, 2)
    kept = Checkpoints(ModelFiles(tmp_path / "models"))
    keeper = CheckpointKeeper(kept)
    keeper.job_started(job)
    keeper.job_progress(job, [])
    assert kept.load(job) is not None
    keeper.job_ended(TrialRecord(job, "FAIL" if reason else "PRUNED", reason))
    assert (kept.load(job) is not None) == is_kept


def test_a_timer_waits_and_spends_one_part_in_twenty() -> None:
    now = [0.0]

    def clock() -> float:
        return now[0]

    def write() -> None:
        now[0] += 3.0

    timer = CheckpointTimer(10.0, clock)
    now[0] = 9.9
    assert not timer.is_due()
    now[0] = 10.0
    assert timer.is_due()
    timer.write(write)
    now[0] = 13.0 + 59.9
    assert not timer.is_due()
    now[0] = 13.0 + 60.0
    assert timer.is_due()


def test_a_timer_of_zero_seconds_is_always_due() -> None:
    now = [0.0]

    def write() -> None:
        now[0] += 3.0

    timer = CheckpointTimer(0.0, lambda: now[0])
    timer.write(write)
    assert timer.is_due()
