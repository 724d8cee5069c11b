from dataclasses import replace
from pathlib import Path

import pytest

from energytune.config import Recipe
from energytune.errors import OutputError
from energytune.search.records_log import RecordsLog
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, TestResult, TrialRecord

OTHER = Recipe(tau=3, ft_lr=0.1)


def record(role: str, state: str = "COMPLETE") -> TrialRecord:
    finished = Finished(0.5, 1, 0.25, {"feature_norm": 1.5}, TestResult(0.5, 0.7, (True, False)))
    return TrialRecord(
        Job("c0-s1000", 3, Recipe(tau=2, ft_lr=0.1), 1000, role),  # type: ignore[arg-type]
        state,  # type: ignore[arg-type]
        snapshots=(ProbeSnapshot(2, 0.1, 2.0, 0.2, 2.1, 0.9, 1.0, 0.5),),
        epochs=(FinetuneEpoch(1, 1.0, 0.5, 1.1, 0.4),),
        finished=finished if state == "COMPLETE" else None,
    )


def test_confirmations_come_back_as_they_were(tmp_path: Path) -> None:
    log = RecordsLog(tmp_path / "records.jsonl")
    assert log.confirmations() == []
    for each in (record("search"), record("confirm"), record("confirm", "FAIL")):
        log.job_ended(each)
    assert log.confirmations() == [record("confirm")]


def test_what_was_read_on_test_later_is_in_the_confirmation(tmp_path: Path) -> None:
    log = RecordsLog(tmp_path / "records.jsonl")
    read = record("confirm")
    assert read.finished is not None
    sealed = replace(read, finished=replace(read.finished, test=None))
    job = replace(read.job, id="c0-s1000-test", role="test", tested="c0-s1000")
    failed = TrialRecord(job, "FAIL", "crash")
    log.job_ended(replace(read, job=job))  # of another file: its confirmation is not here
    log.job_ended(sealed)
    log.job_ended(failed)
    assert log.confirmations() == [sealed]
    log.job_ended(replace(read, job=job))
    assert log.confirmations() == [read]


def test_confirmations_of_two_recipes_may_share_a_name(tmp_path: Path) -> None:
    """Names were places in a ranking once, which changed when a search went on."""
    log = RecordsLog(tmp_path / "records.jsonl")
    other = replace(record("confirm"), job=replace(record("confirm").job, recipe=OTHER))
    log.job_ended(record("confirm"))
    log.job_ended(other)
    assert log.confirmations() == [record("confirm"), other]


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    log = RecordsLog(path)
    log.job_ended(record("confirm"))
    whole = path.read_text()
    path.write_text(whole + whole[:50])
    assert log.confirmations() == [record("confirm")]


def test_a_folder_that_can_not_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"can't be written.*continues"):
        RecordsLog(tmp_path / "gone" / "records.jsonl").job_ended(record("search"))


def test_bytes_that_are_no_text_and_values_of_no_sense_are_passed_over(tmp_path: Path) -> None:
    log = RecordsLog(tmp_path / "records.jsonl")
    log.job_ended(record("confirm"))
    good = (tmp_path / "records.jsonl").read_bytes()
    odd = good.replace(b'"tested": ""', b'"tested": {"a": 1}')
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\n[]\n" + odd + b"[" * 50_000 + b"\n" + good)
    assert len(log.confirmations()) >= 1
