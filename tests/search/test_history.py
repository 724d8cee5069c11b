from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from energytune.config import MapHead, Recipe, SearchConfig
from energytune.optimizer import make_pruner, make_sampler, open_study
from energytune.optimizer.attrs import write_end, write_probe, write_start
from energytune.progress import NoProgress
from energytune.search.folder import RunFolder
from energytune.search.history import earlier_searches, warm_start_for
from energytune.search.records_log import RecordsLog
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, ProbeDone, TrialRecord
from energytune.trial.map_curve import MapCurve

MakeConfig = Callable[..., SearchConfig]
EPOCHS = (0, 1, 2, 3, 4, 6, 8, 11, 16)


class Notes(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def snapshots(far: float) -> tuple[ProbeSnapshot, ...]:
    return tuple(
        ProbeSnapshot(e, 0.9, 0.3, 0.5 + far, 0.6, 0.8 / (1 + e), 2.0, 0.4) for e in EPOCHS
    )


def trial(number: int, far: float, ended_ms: int) -> TrialRecord:
    value = 0.6 + 0.01 * number
    epochs = (FinetuneEpoch(1, 1.0, 0.5, 1.0, 0.1), FinetuneEpoch(2, 1.0, 0.5, 1.0, value))
    return TrialRecord(
        Job(f"t{number:03d}", number, Recipe(tau=16, ft_lr=0.01 * (1 + number)), 0),
        "COMPLETE",
        snapshots=snapshots(far),
        epochs=epochs,
        finished=Finished(value, 2, 0.4, {}),
        started_ms=ended_ms - 10,
        ended_ms=ended_ms,
    )


def write_search(
    config: SearchConfig, name: str, *, far: float = 0.0, ended_ms: int = 1000, n_trials: int = 10
) -> RunFolder:
    """Writes what a search of that name leaves beside the folder of ``config``."""
    folder = RunFolder(config.model_copy(update={"out": config.out.parent / name}))
    folder.claim({"data": name})
    log = RecordsLog(folder.records)
    for number in range(n_trials):
        log.job_ended(trial(number, far, ended_ms))
    os.utime(folder.records, (ended_ms, ended_ms))
    return folder


def store(config: SearchConfig, name: str, *, ended_ms: int) -> None:
    """Stores a search of that name in the database of ``config``."""
    study = open_study(
        config.storage or "",
        name,
        sampler=make_sampler("random", 0),
        pruner=make_pruner("none", 2),
    )
    for number in range(8):
        record, asked = trial(number, 0.0, ended_ms), study.ask()
        write_start(asked, record.job)
        write_probe(asked, ProbeDone(record.snapshots, 0.0, 0))
        write_end(asked, record)
        study.tell(asked, record.objective)


def names(config: SearchConfig, notes: Notes | None = None) -> list[str]:
    found = earlier_searches(config, RunFolder(config), notes or Notes())
    return [search.name for search in found]


CURVES = [MapCurve(MapHead(0, "linear", 0.0, 0.03, 0.0, 0), snapshots(0.0))]


def test_a_search_beside_this_one_comes_back_as_it_was(make_config: MakeConfig) -> None:
    config = make_config()
    write_search(config, "before")
    (past,) = earlier_searches(config, RunFolder(config))
    assert past.name == "before"
    assert past.features.shape == (10, 3)
    assert list(past.scores) == sorted(past.scores)
    assert len(past.energies) == len(EPOCHS) - 1


def test_the_latest_come_first_and_the_same_folder_is_no_history(make_config: MakeConfig) -> None:
    config = make_config()
    for name, ended_ms in (("old", 1000), ("new", 3000), ("middle", 2000)):
        write_search(config, name, ended_ms=ended_ms)
    write_search(config, config.out.name, ended_ms=9000)
    assert names(config) == ["new", "middle", "old"]


def test_at_most_20_searches_are_read(make_config: MakeConfig) -> None:
    config = make_config()
    for number in range(23):
        write_search(config, f"s{number:02d}", ended_ms=1000 + number, n_trials=8)
    assert names(config) == [f"s{number:02d}" for number in range(22, 2, -1)]


def test_what_is_no_search_is_passed_over(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "another-tool").mkdir()
    (tmp_path / "another-tool" / "records.jsonl").write_text("no search.json beside it\n")
    write_search(config, "too-few", n_trials=7)
    notes = Notes()
    assert names(config, notes) == []
    assert notes.notes == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("search.json", b"{"),
        ("search.json", b"[]"),
        ("search.json", b"\x80\x04\x95pickle"),
        ("records.jsonl", b"\x80\x04\x95pickle"),
        ("records.jsonl", b"[]\n"),
        ("records.jsonl", b'{"job": null, "epochs": [], "finished": null}\n'),
        ("records.jsonl", b'{"job": 3}\n'),
    ],
)
def test_a_damaged_search_is_told_in_one_line_and_the_others_are_read(
    make_config: MakeConfig, tmp_path: Path, file: str, content: bytes
) -> None:
    config = make_config()
    for name in ("damaged", "whole"):
        write_search(config, name)
    (tmp_path / "damaged" / file).write_bytes(content)
    notes = Notes()
    assert names(config, notes) == ["whole"]
    assert notes.notes == ["1 earlier search can't be read: damaged"]


def test_a_torn_line_costs_that_line_only(make_config: MakeConfig) -> None:
    config = make_config()
    log = write_search(config, "before").records
    text = log.read_text()
    lines = text.splitlines(keepends=True)
    log.write_text(text + lines[0][:40] + lines[1])  # killed while it wrote, then gone on
    (past,) = earlier_searches(config, RunFolder(config))
    assert len(past.scores) == 10


def test_a_continued_search_learns_what_it_learned_before(make_config: MakeConfig) -> None:
    config = make_config()
    write_search(config, "before", ended_ms=1000)
    write_search(config, config.out.name, ended_ms=2000)
    write_search(config, "meanwhile", ended_ms=3000)
    assert names(config) == ["before"]


def test_other_studies_of_the_database_are_history(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(storage=f"journal://{tmp_path}/shared.journal")
    store(config, "in-database", ended_ms=5000)
    store(config, config.out.name, ended_ms=9000)
    store(config, "in-both", ended_ms=1)
    write_search(config, "in-both", ended_ms=2000)
    store(make_config(storage=config.storage), "early", ended_ms=1000)
    assert names(config) == ["in-database", "in-both", "early"]


def test_a_foreign_study_of_the_database_is_passed_over_or_told(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(storage=f"journal://{tmp_path}/shared.journal")
    for name, attrs in (("foreign", {}), ("odd", {"recipe": {"flour": 500}})):
        study = open_study(
            config.storage or "",
            name,
            sampler=make_sampler("random", 0),
            pruner=make_pruner("none", 2),
        )
        asked = study.ask()
        for key, value in attrs.items():
            asked.set_user_attr(key, value)
        study.tell(asked, 1.0)
    notes = Notes()
    assert names(config, notes) == []
    assert len(notes.notes) == 1
    assert "odd" in notes.notes[0]


@pytest.mark.parametrize(
    ("far", "told"),
    [
        (0.02, "warm start from 1 earlier search: before (distance 0.01)"),
        (0.4, "no warm start: the nearest earlier search is at distance 0.20, 0.1 is near"),
    ],
)
def test_a_warm_start_is_made_of_near_searches_and_told(
    make_config: MakeConfig, far: float, told: str
) -> None:
    config = make_config(sampler="energy", warm_start=True)
    write_search(config, "before", far=far)
    notes = Notes()
    warm = warm_start_for(config, RunFolder(config), CURVES, notes)
    assert warm is not None
    assert len(warm.near) == (1 if far < 0.1 else 0)
    assert notes.notes == [told]


def test_without_being_asked_nothing_is_read(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(sampler="energy")
    write_search(config, "before")
    (tmp_path / "before" / "records.jsonl").write_bytes(b"damaged")
    notes = Notes()
    assert warm_start_for(config, RunFolder(config), CURVES, notes) is None
    assert notes.notes == []


def test_the_best_epoch_of_a_pruned_trial_is_read(make_config: MakeConfig) -> None:
    config = make_config()
    folder = write_search(config, "before", n_trials=8)
    last = trial(8, 0.0, 1000)
    pruned = replace(last, state="PRUNED", reason="halved", finished=None)
    RecordsLog(folder.records).job_ended(
        replace(pruned, epochs=(*last.epochs, FinetuneEpoch(3, 1.0, 0.5, 1.0, 0.2)))
    )
    (past,) = earlier_searches(config, RunFolder(config))
    assert past.scores[-1] == 1.0


def test_a_record_with_unknown_fields_is_passed_over(make_config: MakeConfig) -> None:
    config = make_config()
    folder = write_search(config, "before", n_trials=9)
    plain: list[dict[str, Any]] = [json.loads(x) for x in folder.records.read_text().splitlines()]
    plain[0]["of_a_later_version"] = 1
    folder.records.write_text("".join(json.dumps(line) + "\n" for line in plain))
    (past,) = earlier_searches(config, RunFolder(config))
    assert len(past.scores) == 8


def test_many_damaged_searches_are_one_line(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    for number in range(5):
        write_search(config, f"s{number}", ended_ms=1000 - number)
        (tmp_path / f"s{number}" / "search.json").write_text("{")
        os.utime(tmp_path / f"s{number}" / "records.jsonl", (1000 - number, 1000 - number))
    notes = Notes()
    assert names(config, notes) == []
    assert notes.notes == ["5 earlier searches can't be read: s0, s1, s2, ..."]
