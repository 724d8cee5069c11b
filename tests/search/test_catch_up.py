"""A search that was killed between two of its books tells the later one when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from energytune.search.catch_up import catch_up
from energytune.search.records_log import RecordsLog
from energytune.tracking import TrackingJournal, TrackingObserver
from energytune.trial import TestResult, TrialRecord
from tests.search.test_records_log import record


def trial(number: int, state: str = "COMPLETE") -> TrialRecord:
    made = record("search", state)
    finished = made.finished and replace(made.finished, test=None)
    job = replace(made.job, id=f"t{number:03d}", number=number)
    return replace(made, job=job, finished=finished)


def confirmation() -> TrialRecord:
    made = record("confirm")
    assert made.finished is not None
    return replace(made, finished=replace(made.finished, test=None))


def of_test() -> TrialRecord:
    made = confirmation()
    assert made.finished is not None
    finished = replace(made.finished, test=TestResult(0.5, 0.7, (True, False)))
    job = replace(made.job, id="c0-s1000-test", role="test", tested="c0-s1000")
    return replace(made, job=job, finished=finished)


def observer(folder: Path) -> TrackingObserver:
    journal = TrackingJournal(folder / "tracking.jsonl")
    return TrackingObserver(journal, "s", "digits", "mlp", {"ft_epochs": 1})


def books(folder: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    """What the records and the journal hold, without clocks."""
    lines = sorted(f"{job} {state}" for job, state in RecordsLog(folder / "records.jsonl").ended())
    entries = TrackingJournal(folder / "tracking.jsonl").read().entries
    told = [
        (e["kind"], e["uid"], sorted((m[0], m[1], m[3]) for m in e.get("metrics", ())))
        for e in entries
        if e["uid"] != "s"
    ]
    return lines, sorted(told)


Tell = Callable[[RecordsLog, TrackingObserver], None]
STEPS: list[Tell] = []
for each, book in product((trial(0), trial(1, "PRUNED"), confirmation(), of_test()), (0, 1)):
    STEPS.append(lambda log, seen, each=each, book=book: (log, seen)[book].job_ended(each))  # type: ignore[misc]


@pytest.mark.parametrize("n_steps", range(len(STEPS) + 1))
def test_whenever_it_was_killed_both_books_end_whole(tmp_path: Path, n_steps: int) -> None:
    for folder, n_told in ((tmp_path / "whole", len(STEPS)), (tmp_path / "killed", n_steps)):
        folder.mkdir()
        log, seen = RecordsLog(folder / "records.jsonl"), observer(folder)
        for step in STEPS[:n_told]:
            step(log, seen)
    folder = tmp_path / "killed"
    in_study = [trial(0), trial(1, "PRUNED")]
    log = RecordsLog(folder / "records.jsonl")
    catch_up(in_study, log, observer(folder))
    assert catch_up(in_study, log, observer(folder)) == 0
    seen = observer(folder)
    if not log.confirmations():  # it is run again
        log.job_ended(confirmation())
        seen.job_ended(confirmation())
    (confirmed,) = log.confirmations()
    assert confirmed.finished is not None
    if confirmed.finished.test is None:
        log.job_ended(of_test())
        seen.job_ended(of_test())
    assert books(folder) == books(tmp_path / "whole")


def test_a_torn_line_does_not_swallow_the_next_record(tmp_path: Path) -> None:
    log = RecordsLog(tmp_path / "records.jsonl")
    log.job_ended(trial(0))
    path = tmp_path / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert log.ended() == set()
    assert catch_up([trial(0)], log, observer(tmp_path)) == 2
    assert log.ended() == {("t000", "COMPLETE")}
