from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

from energytune.optimizer import records_from_study
from energytune.optimizer.attrs import record_of
from energytune.trial import Event, Finished, Job, run_inline
from tests.optimizer.fakes import (
    N_EPOCHS,
    STOP_REASON,
    journal_study,
    make_run_job,
    make_source,
    make_space,
    memory_study,
    stopping,
)


def test_records_are_rebuilt_from_the_study_alone(tmp_path: Path) -> None:
    source = make_source(journal_study(tmp_path / "s"), n_trials=9, seed=5)
    run_inline(source, make_run_job())
    rebuilt = records_from_study(journal_study(tmp_path / "s"))
    assert rebuilt == source.records
    assert {record.state for record in rebuilt} == {"COMPLETE", "PRUNED"}
    first = rebuilt[0]
    assert first.job == Job("t000", 0, make_space().baseline(0), 5, "baseline_tau_0")
    assert len(first.epochs) == N_EPOCHS
    assert first.finished is not None
    assert first.finished.adaptation == {"feature_distance": 1.5}
    assert first.seconds_hp == 0.5
    assert abs(first.seconds_ft - 0.01 * N_EPOCHS) < 1e-9
    assert 0 < first.started_ms <= first.ended_ms
    assert json.loads(json.dumps(first.to_dict()))["job"]["recipe"]["tau"] == 0


def test_a_stop_a_prune_and_a_failure_come_back_apart(tmp_path: Path) -> None:
    def some_crash(job: Job) -> Generator[Event, None, None]:
        for event in stopping(job):
            if job.number == 1 and isinstance(event, Finished):
                raise RuntimeError("crash")
            yield event

    source = make_source(journal_study(tmp_path / "s"), n_trials=8)
    run_inline(source, some_crash)
    rebuilt = records_from_study(journal_study(tmp_path / "s"))
    assert rebuilt == source.records
    told = {(r.state, bool(r.reason), r.stop_reason) for r in rebuilt}
    assert told == {
        ("COMPLETE", False, ""),
        ("COMPLETE", False, STOP_REASON),
        ("PRUNED", True, ""),
        ("FAIL", True, ""),
    }


def test_a_trial_stored_without_a_stop_reason_is_read() -> None:
    study = memory_study()
    run_inline(make_source(study, n_trials=1), make_run_job())
    trial = study.get_trials(deepcopy=True)[0]
    del trial.user_attrs["finished"]["stop_reason"]
    record = record_of(trial)
    assert record is not None
    assert (record.state, record.stop_reason) == ("COMPLETE", "")


def test_what_is_stored_with_a_trial() -> None:
    study = memory_study()
    run_inline(make_source(study, n_trials=3), make_run_job())
    attrs = study.trials[1].user_attrs
    assert list(attrs) == [
        "recipe",
        "role",
        "seed",
        "snapshots",
        "hp",
        "curve",
        "times",
        "finished",
    ]
    assert attrs["hp"] == attrs["snapshots"][-1]
    assert attrs["hp"]["epoch"] == 4096
    json.dumps(attrs)


def test_few_writes_a_trial(tmp_path: Path) -> None:
    """A write is an fsync, so a trial of 50 epochs must not cost 50 of them."""
    path = tmp_path / "s"
    run_inline(make_source(journal_study(path), n_trials=1), make_run_job())
    before = len(path.read_bytes().splitlines())
    run_inline(make_source(journal_study(path), n_trials=6), make_run_job())
    assert (len(path.read_bytes().splitlines()) - before) / 5 <= 24


def test_running_trials_and_strangers_are_no_records() -> None:
    study = memory_study()
    study.tell(study.ask(), 0.5)
    source = make_source(study, n_trials=3)
    assert isinstance(source.next_job(), Job)
    assert records_from_study(study, everything=True) == []
    assert source.records == []


def test_duplicates_only_on_request() -> None:
    space = make_space(tau=4, head_arch="linear", reinit_depth=0, ft_lr=0.01, label_smoothing=0.1)
    study = memory_study()
    run_inline(make_source(study, space, baseline_taus=()), make_run_job())
    assert [r.job.number for r in records_from_study(study)] == [0]
    everything = records_from_study(study, everything=True)
    assert [r.duplicate_of for r in everything] == [None] + [0] * 25
