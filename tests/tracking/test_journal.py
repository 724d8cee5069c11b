from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from energytune.tracking.journal import TrackingJournal, log_entry

RUN = {
    "kind": "run",
    "uid": "a",
    "parent": None,
    "experiment": "e",
    "name": "n",
    "start_ms": 1,
    "tags": {},
    "params": {},
}
END = {"kind": "end", "uid": "a", "status": "FINISHED", "end_ms": 2, "tags": {}}


def test_entries_come_back_in_order_from_any_offset(tmp_path: Path) -> None:
    journal = TrackingJournal(tmp_path / "deep" / "j.jsonl")
    assert journal.read().entries == []
    journal.append(RUN)
    between = journal.read().offset
    journal.append(END, RUN)
    assert journal.read().entries == [RUN, END, RUN]
    assert journal.read(between).entries == [END, RUN]
    assert journal.read(0, between).entries == [RUN]


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    TrackingJournal(tmp_path / "j").append(RUN)
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("n_torn", range(1, 25))
def test_a_line_torn_anywhere_costs_itself_only(tmp_path: Path, n_torn: int) -> None:
    path = tmp_path / "j"
    TrackingJournal(path).append(RUN)
    whole = json.dumps({"kind": "log", "uid": "aa", "metrics": [], "tags": {}})
    with open(path, "a") as file:
        file.write(whole[:n_torn])
    assert TrackingJournal(path).read().entries == [RUN]
    TrackingJournal(path).append(END)
    read = TrackingJournal(path).read()
    assert read.entries == [RUN, END]
    assert read.n_unreadable == 1


def test_a_line_still_being_written_is_read_later(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = TrackingJournal(path)
    journal.append(RUN)
    with open(path, "a") as file:
        file.write(json.dumps(END)[:20])
    first = journal.read()
    with open(path, "a") as file:
        file.write(json.dumps(END)[20:] + "\n")
    assert first.n_unreadable == 0
    assert journal.read(first.offset).entries == [END]


@pytest.mark.parametrize(
    "line", ["[]", "7", '{"kind":"later","uid":"a"}', '{"kind":"run"}', "\x00"]
)
def test_foreign_lines_are_counted_not_raised(tmp_path: Path, line: str) -> None:
    path = tmp_path / "j"
    path.write_text(f"{line}\n{json.dumps(RUN)}\n")
    read = TrackingJournal(path).read()
    assert (read.entries, read.n_unreadable) == ([RUN], 1)


def test_non_finite_metrics_are_left_out() -> None:
    points = [("a", math.nan, 1, 1), ("b", math.inf, 1, 1), ("c", 0.5, 1, 1)]
    assert log_entry("u", points)["metrics"] == [["c", 0.5, 1, 1]]


def test_a_full_disk_is_told_to_the_writer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    journal = TrackingJournal(tmp_path / "j")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.append(RUN)
    journal.append(END)
    assert journal.read().entries == [END]


def test_what_was_appended_reaches_the_disk(tmp_path: Path) -> None:
    journal = TrackingJournal(tmp_path / "j")
    assert journal.wait_for_disk(0)  # nothing to wait for
    for _ in range(50):
        journal.append(RUN)
    assert journal.wait_for_disk(60)
    assert len(journal.read().entries) == 50


def test_nobody_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    may_go_on, callers = threading.Event(), set()

    def slow(_: int) -> None:
        callers.add(threading.get_ident())
        may_go_on.wait(240)

    monkeypatch.setattr("os.fsync", slow)
    journal = TrackingJournal(tmp_path / "j")
    for _ in range(50):
        journal.append(RUN)
    assert not journal.wait_for_disk(0.01)
    may_go_on.set()
    assert journal.wait_for_disk(60)
    assert threading.get_ident() not in callers


def test_a_disk_that_fails_later_is_told_by_the_next_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journal = TrackingJournal(tmp_path / "j")

    def broken(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", broken)
        journal.append(RUN)
        assert not journal.wait_for_disk(60)
    with pytest.raises(OSError, match="No space left"):
        journal.append(END)
    journal.append(RUN)
    assert journal.wait_for_disk(60)
    assert journal.read().entries == [RUN, END, RUN]
