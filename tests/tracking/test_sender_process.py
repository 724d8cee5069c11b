"""What is not asked for is done at a low priority, and what gets no time there begins again."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from energytune.tracking import sender_process
from energytune.tracking.sender_process import SenderProcess, _Line

LAST = _Line(None)


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SenderProcess]:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    settings = {
        "journal": str(tmp_path / "tracking.jsonl"),
        "uri": f"sqlite:///{tmp_path}/mlflow.db",
        "artifact_root": None,
        "interval_s": 1.0,
        "at_low_priority": True,
    }
    with open(os.devnull, "wb") as said:
        yield SenderProcess(settings, said.fileno(), os.getppid())


@pytest.fixture
def lines() -> queue.Queue[_Line]:
    return queue.Queue()


def niceness_of_work(process: SenderProcess, lines: queue.Queue[_Line]) -> int:
    seen: list[int] = []

    def work() -> bool:
        seen.append(_niceness())
        return True

    assert process._at_low_priority(work, lines)
    return seen[0]


def test_work_that_nobody_asked_for_has_a_low_priority(
    process: SenderProcess, lines: queue.Queue[_Line]
) -> None:
    usual = os.nice(0)
    assert niceness_of_work(process, lines) == usual + 10
    assert _niceness() == usual
    lines.put(_Line({"do": "send"}))
    lines.put(LAST)
    assert niceness_of_work(process, lines) == usual + 10, "what ends in time is not cut off"


def test_failed_work_is_told(process: SenderProcess, lines: queue.Queue[_Line]) -> None:
    assert not process._at_low_priority(lambda: False, lines)


def test_a_busy_machine_gives_it_the_usual_priority(
    process: SenderProcess, lines: queue.Queue[_Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert niceness_of_work(process, lines) == os.nice(0)


def test_one_that_was_put_in_place_of_another_has_the_usual_priority(
    process: SenderProcess, lines: queue.Queue[_Line]
) -> None:
    process._settings["at_low_priority"] = False
    assert niceness_of_work(process, lines) == os.nice(0)


@pytest.mark.parametrize("why", ["no more orders", "another parent"])
def test_work_that_gets_no_time_begins_again_once_the_driver_has_gone(
    process: SenderProcess,
    lines: queue.Queue[_Line],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender_process, "_LOOK_S", 0.01)
    monkeypatch.setattr(sender_process, "_LAST_LOW_S", 0.01)
    starved, has_begun_again = threading.Event(), threading.Event()

    def begin_again(self: SenderProcess) -> None:
        assert starved.is_set(), "it had a driver"
        has_begun_again.set()

    monkeypatch.setattr(SenderProcess, "_begin_again", begin_again)

    def go_away() -> None:
        starved.set()
        if why == "no more orders":
            lines.put(LAST)
        else:
            process._driver = -1

    def work() -> bool:
        threading.Timer(0.2, go_away).start()
        return has_begun_again.wait(240)

    lines.put(_Line({"do": "drain"}))
    assert not process._at_low_priority(work, lines)
    assert has_begun_again.is_set()


def test_a_round_says_what_went_wrong(
    process: SenderProcess, lines: queue.Queue[_Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(process, "_drain", fails)
    assert not process._at_low_priority(process._round, lines)
    assert process._problem == "no space left"
