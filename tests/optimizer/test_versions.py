from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.study import Study

from energytune.errors import OutputError
from energytune.optimizer.study import load_study
from energytune.optimizer.versions import STUDY_VERSION, bring_up_to_date
from energytune.trial import run_inline
from tests.optimizer.fakes import journal_study, make_run_job, make_source

STAMP = "energytune_version"


def opened(storage: str, path: Path) -> tuple[Study, str]:
    """A study with trials of version 1, and its storage."""
    url = f"journal://{path / 's'}" if storage == "journal" else f"sqlite:///{path / 's.db'}"
    if storage == "journal":
        study = journal_study(path / "s")
    else:
        from energytune.optimizer import make_sampler, open_study
        from tests.optimizer.fakes import NO_PRUNER

        study = open_study(url, "search", sampler=make_sampler("random", 0), pruner=NO_PRUNER)
    run_inline(make_source(study, n_trials=3), make_run_job())
    assert STAMP not in study.user_attrs
    return study, url


def test_a_new_study_is_stamped_and_needs_no_copy(tmp_path: Path) -> None:
    study = journal_study(tmp_path / "s")
    for _ in range(2):
        assert bring_up_to_date(study, f"journal://{tmp_path / 's'}") == ""
    assert study.user_attrs[STAMP] == STUDY_VERSION
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_an_older_one_is_copied_and_then_stamped(tmp_path: Path, storage: str) -> None:
    study, url = opened(storage, tmp_path)
    before = study.trials
    told = bring_up_to_date(study, url)
    assert study.user_attrs[STAMP] == STUDY_VERSION
    assert study.trials == before
    if storage == "journal":
        assert told == str(tmp_path / "s.version1")
        copy = load_study(f"journal://{told}", "search")
    else:
        copy = load_study(url, "search-version1")
    assert STAMP not in copy.user_attrs
    assert [(t.number, t.values, t.params) for t in copy.trials] == [
        (t.number, t.values, t.params) for t in before
    ]
    assert bring_up_to_date(study, url) == ""


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_killed_while_copying_it_is_copied_anew(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, url = opened(storage, tmp_path)
    if storage == "journal":
        (tmp_path / "s.version1.part").write_text("half a")
    else:
        optuna.create_study(study_name="search-version1", storage=url)
    bring_up_to_date(study, url)
    name, where = ("search", f"journal://{tmp_path / 's.version1'}")
    if storage == "sqlite":
        name, where = ("search-version1", url)
    assert len(load_study(where, name).trials) == 3


@pytest.mark.parametrize("version", [STUDY_VERSION + 1, "2.0"])
def test_a_later_one_is_refused_and_left_as_it_is(tmp_path: Path, version: object) -> None:
    study, url = opened("journal", tmp_path)
    study.set_user_attr(STAMP, version)
    before = (tmp_path / "s").read_bytes()
    with pytest.raises(OutputError, match=r"written by a later energytune .*Update energytune"):
        bring_up_to_date(study, url)
    assert (tmp_path / "s").read_bytes() == before
