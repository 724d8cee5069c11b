from __future__ import annotations

import math

import pytest

from energytune.optimizer import ConfirmSource
from energytune.trial import Finished, Idle, Job, run_inline
from tests.optimizer.fakes import make_run_job, make_space, probe_done

SPACE = make_space()
ZERO, LARGEST, WINNER = SPACE.baseline(0), SPACE.baseline(4096), SPACE.baseline(64)


def test_every_recipe_on_every_seed() -> None:
    ran: list[Job] = []
    source = ConfirmSource(
        [("winner", 7, WINNER), ("baseline_tau_0", 0, ZERO), ("baseline_tau_max", 1, LARGEST)],
        [1000, 1001],
    )
    assert source.n_jobs == 6
    run_inline(source, make_run_job(ran=ran))
    assert [(job.id, job.number, job.seed) for job in ran] == [
        ("c0-s1000", 7, 1000),
        ("c1-s1000", 0, 1000),
        ("c2-s1000", 1, 1000),
        ("c0-s1001", 7, 1001),
        ("c1-s1001", 0, 1001),
        ("c2-s1001", 1, 1001),
    ]
    assert {job.role for job in ran} == {"confirm"}
    assert [r.job.id for r in source.by_role()["winner"]] == ["c0-s1000", "c0-s1001"]
    assert {r.state for r in source.records} == {"COMPLETE"}
    assert source.records[0].extra == {"roles": ["winner"]}
    assert len(source.records[0].epochs) == 50


def test_a_winner_that_is_a_baseline_is_confirmed_once() -> None:
    ran: list[Job] = []
    source = ConfirmSource(
        [("winner", 0, ZERO), ("baseline_tau_0", 0, ZERO), ("baseline_tau_max", 1, LARGEST)],
        [5, 5, 6],
    )
    run_inline(source, make_run_job(ran=ran))
    assert [job.id for job in ran] == ["c0-s5", "c2-s5", "c0-s6", "c2-s6"]
    roles = source.by_role()
    assert roles["winner"] == roles["baseline_tau_0"]
    assert len(roles["winner"]) == 2
    assert roles["winner"][0].extra == {"roles": ["winner", "baseline_tau_0"]}


@pytest.mark.parametrize("failure", ["crash", "nan", "no end"])
def test_a_failure_is_kept_with_its_reason(failure: str) -> None:
    source = ConfirmSource([("winner", 3, WINNER)], [1])
    job = source.next_job()
    assert isinstance(job, Job)
    assert source.next_job() is Idle.WAIT
    reasons = {
        "crash": "ValueError: no",
        "nan": "non-finite at end: objective = nan",
        "no end": "the job ended before it had finished",
    }
    assert not source.on_events(job.id, [probe_done(job.recipe)])
    if failure == "nan":
        assert source.on_events(job.id, [Finished(math.nan, 1, 0.1, {}), probe_done(job.recipe)])
    source.on_end(job.id, "ValueError: no" if failure == "crash" else None)
    assert source.next_job() is Idle.DONE
    (record,) = source.records
    assert (record.state, record.reason) == ("FAIL", reasons[failure])
    assert record.finished is None
