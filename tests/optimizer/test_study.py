from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from energytune.errors import (
    ConfigError,
    MissingDataError,
    OutputError,
    ResourceError,
    UnknownNameError,
)
from energytune.optimizer import load_study, open_study, other_studies
from tests.optimizer.fakes import journal_study


def open_it(storage: str) -> optuna.Study:
    return open_study(
        storage,
        "search",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )


def test_a_journal_is_made_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "study.journal"
    study = open_it(f"journal://{path}")
    study.tell(study.ask(), 0.5)
    again = open_it(f"journal://{path}")
    assert again.direction == optuna.study.StudyDirection.MAXIMIZE
    assert [trial.value for trial in again.trials] == [0.5]


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_an_earlier_study_is_loaded(tmp_path: Path, kind: str) -> None:
    url = f"{kind}:///{tmp_path}/study".replace("////", "///" if kind == "journal" else "////")
    study = open_it(url)
    study.tell(study.ask(), 0.5)
    assert load_study(url, "search").best_value == 0.5
    with pytest.raises(UnknownNameError, match=r"study 'sarch'.*'search'"):
        load_study(url, "sarch")


@pytest.mark.parametrize("scheme", ["journal", "sqlite"])
def test_the_latest_other_studies_come_first(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}://{'' if scheme == 'journal' else '/'}{tmp_path}/study"
    settings = {"sampler": optuna.samplers.RandomSampler(seed=0), "pruner": None}
    for number, name in enumerate(("first", "own", "second", "third")):
        study = open_study(url, name, **settings)  # type: ignore[arg-type]
        study.tell(study.ask(), float(number))
    found = other_studies(url, but={"own"}, n_latest=2)
    assert [(study.study_name, study.best_value) for study in found] == [
        ("third", 3.0),
        ("second", 2.0),
    ]
    assert other_studies(url, but={"first", "own", "second", "third"}, n_latest=2) == []


def test_loading_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no study at"):
        load_study(f"journal://{tmp_path}/none", "search")
    assert list(tmp_path.iterdir()) == []


def test_sqlite_by_url(tmp_path: Path) -> None:
    study = open_it(f"sqlite:///{tmp_path}/study.db")
    study.tell(study.ask(), 0.5)
    assert open_it(f"sqlite:///{tmp_path}/study.db").best_value == 0.5


def test_nothing_is_printed_and_the_log_level_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = optuna.logging.get_verbosity()
    open_it(f"journal://{tmp_path}/study.journal")
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("storage", "error", "said"),
    [
        ("journal://study.journal", ConfigError, "absolute path"),
        ("study.db", ConfigError, "'study.db'"),
        ("postgress://me:hidden@localhost/db", ConfigError, r"//\*\*\*@localhost"),
        ("sqlite:////no/such/folder/study.db", ResourceError, "does not answer"),
    ],
)
def test_bad_urls(storage: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        open_it(storage)
    assert "hidden" not in str(raised.value)


def test_a_missing_driver_is_named() -> None:
    with pytest.raises(ConfigError, match="driver"):
        open_it("oracle://me:hidden@localhost/db")


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        open_it(f"journal://{tmp_path}/file/study.journal")
    with pytest.raises(OutputError, match="can't be written"):
        open_it(f"journal://{tmp_path}")


def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("not a journal\nat all\n")
    with pytest.raises(OutputError, match="damaged"):
        open_it(f"journal://{tmp_path}/study.journal")


def test_a_study_that_minimises_is_not_ours(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="search", direction="minimize")
    with pytest.raises(OutputError, match="another search"):
        open_it(url)


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_it(f"journal://{path}")
    study.tell(study.ask(), 0.5)
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    again = open_it(f"journal://{path}")
    again.tell(again.ask(), 0.6)
    assert [trial.value for trial in open_it(f"journal://{path}").trials] == [0.5, 0.6]


def test_a_full_disk_is_told_and_damages_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.journal"
    study = journal_study(path)
    trial = study.ask()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*go on"):
            study.tell(trial, 0.4)
    study.tell(trial, 0.5)
    (stored,) = journal_study(path).trials
    assert stored.value == 0.5


def test_half_a_write_is_taken_back(tmp_path: Path) -> None:
    """The file may grow by 10 bytes only, as on a disk that fills in the middle of a line."""
    path = tmp_path / "study.journal"
    study = journal_study(path)
    trial = study.ask()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    content = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 10, hard))
    try:
        with pytest.raises(OutputError, match=r"File too large.*go on"):
            trial.set_user_attr("curve", [0.1] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == content
    study.tell(trial, 0.5)
    (stored,) = journal_study(path).trials
    assert (stored.value, stored.user_attrs) == (0.5, {})


def test_only_ends_and_queue_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    study = journal_study(tmp_path / "study.journal")
    trial = study.ask()
    for epoch in range(20):
        trial.report(0.5, epoch)
    assert synced == []
    study.tell(trial, 0.5)
    assert len(synced) == 1
    study.enqueue_trial({})
    assert len(synced) == 2


def test_two_writers_of_one_journal(tmp_path: Path) -> None:
    one, two = journal_study(tmp_path / "s"), journal_study(tmp_path / "s")
    for i in range(3):
        one.tell(one.ask(), i)
        two.tell(two.ask(), 10 + i)
    assert [trial.value for trial in one.trials] == [0, 10, 1, 11, 2, 12]
    assert [trial.value for trial in two.trials] == [0, 10, 1, 11, 2, 12]


@pytest.mark.integration
def test_importing_the_room_sets_nothing_global() -> None:
    code = (
        "import logging, optuna; level = optuna.logging.get_verbosity();"
        "handlers = list(logging.getLogger().handlers);"
        "import energytune.optimizer;"
        "assert optuna.logging.get_verbosity() == level;"
        "assert logging.getLogger().handlers == handlers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_study_with_endless_values_is_told_as_damage(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    open_it(f"journal://{journal}")
    deep = "[" * 500 + "]" * 500
    with journal.open("a") as file:
        file.write(f'{{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{{"a":{deep}}}}}\n')
    with pytest.raises(OutputError, match="nested too deep"):
        load_study(f"journal://{journal}", "s")


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"op_code": 99}',
        '{"op_code": 8, "worker_id": "w", "trial_id": [], "user_attr": {"a": 1}}',
        "[" * 100_000,
    ],
)
def test_lines_that_optuna_breaks_on_are_told_as_damage(tmp_path: Path, line: str) -> None:
    journal = tmp_path / "study.journal"
    journal.write_text(f"{line}\n")
    with pytest.raises(OutputError, match="damaged or is no journal"):
        load_study(f"journal://{journal}", "s")
