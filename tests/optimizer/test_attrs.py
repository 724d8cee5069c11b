from __future__ import annotations

import json
from pathlib import Path

from energytune.optimizer import records_from_study
from energytune.trial import Job, run_inline
from tests.optimizer.fakes import (
    N_EPOCHS,
    journal_study,
    make_run_job,
    make_source,
    make_space,
    memory_study,
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
