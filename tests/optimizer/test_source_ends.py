"""When a search ends, and what it says of it."""

from __future__ import annotations

import pytest

from energytune.trial import EpochsDone, Idle, run_inline
from tests.optimizer.fakes import NO_PRUNER, ft_epoch, make_run_job, make_source, memory_study, take


def test_no_trial_begins_without_time_left() -> None:
    time_left = [True, True, False]
    source = make_source(
        memory_study(), n_trials=20, limits=[lambda: "" if time_left.pop(0) else "no time"]
    )
    run_inline(source, make_run_job())
    assert len(source.records) == 2
    assert not source.exhausted


@pytest.mark.parametrize(
    ("changes", "reason", "n_begun"),
    [
        ({"n_trials": 3}, "3 trials", 3),
        ({"n_trials": 1}, "1 trial", 1),
        ({"n_trials": 3, "n_ft_epochs": 151}, "3 trials", 3),
        ({"n_trials": 20, "n_ft_epochs": 100}, "100 finetuning epochs", 2),
        ({"n_trials": 20, "n_ft_epochs": 101}, "101 finetuning epochs", 3),
        ({"n_trials": 20, "n_ft_epochs": 1}, "1 finetuning epoch", 1),
        ({"n_trials": 20, "limits": [lambda: "", lambda: "no time"]}, "no time", 0),
    ],
)
def test_the_first_limit_ends_the_search_and_the_end_says_which(
    changes: dict[str, object], reason: str, n_begun: int
) -> None:
    study = memory_study(NO_PRUNER)
    source = make_source(study, **changes)
    run_inline(source, make_run_job())
    assert (source.end_reason, len(source.records)) == (reason, n_begun)
    assert source.has_ended()
    assert study.user_attrs["end_reason"] == reason


def test_epochs_of_running_trials_count() -> None:
    source = make_source(memory_study(NO_PRUNER), n_ft_epochs=4)
    job = take(source.next_job())
    source.on_events(job.id, [EpochsDone(tuple(ft_epoch(e, 0.5) for e in (1, 2, 3)), 0.1)])
    other = take(source.next_job())
    source.on_events(other.id, [EpochsDone((ft_epoch(1, 0.5),), 0.1)])
    assert source.next_job() is Idle.WAIT
    assert source.end_reason == "4 finetuning epochs"


def test_an_end_is_final_though_its_limit_would_change_its_mind() -> None:
    told = ["", "enough", ""]
    source = make_source(memory_study(), limits=[lambda: told.pop(0)])
    run_inline(source, make_run_job())
    assert source.end_reason == "enough"
    assert source.next_job() is Idle.DONE
    assert told == [""]


def test_a_search_that_ended_by_its_epochs_goes_on_with_more() -> None:
    study = memory_study(NO_PRUNER)
    run_inline(make_source(study, n_ft_epochs=100), make_run_job())
    again = make_source(study, n_ft_epochs=100)
    assert again.next_job() is Idle.DONE
    more = make_source(study, n_ft_epochs=150)
    assert more.end_reason == ""
    run_inline(more, make_run_job())
    assert len(more.records) == 3
