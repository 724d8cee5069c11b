"""What is done in idle time is done at the usual priority once somebody waits for it."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest

from energytune.tracking import sender_process


def _policy() -> int:
    return os.sched_getscheduler(threading.get_native_id())


def _policy_after_idle() -> int:
    """What the usual priority is for whoever had idle time: only root may go back."""
    seen: list[int] = []

    def there_and_back() -> None:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        seen.append(_policy())

    thread = threading.Thread(target=there_and_back)
    thread.start()
    thread.join()
    return seen[0]


def test_work_is_done_in_idle_time_while_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    seen: list[int] = []

    def work() -> bool:
        seen.append(_policy())
        return True

    assert sender_process._in_idle_time(work, lambda: False)
    assert seen == [os.SCHED_IDLE]
    assert _policy() == os.SCHED_OTHER


def test_a_machine_without_idle_time_gives_it_the_usual_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    seen: list[int] = []
    assert not sender_process._in_idle_time(lambda: bool(seen.append(_policy())), lambda: False)
    assert seen == [os.SCHED_OTHER]


def test_work_that_the_driver_waits_for_goes_on_at_the_usual_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    asked, lifted = threading.Event(), threading.Event()
    place, before = os.sched_setscheduler, []

    def placed(thread: int, policy: int, of: os.sched_param) -> None:
        try:
            place(thread, policy, of)
        finally:
            if policy == os.SCHED_OTHER:
                lifted.set()

    monkeypatch.setattr(os, "sched_setscheduler", placed)
    after: list[int] = []

    def work() -> bool:
        before.append(_policy())
        asked.set()
        assert lifted.wait(60)
        after.append(_policy())
        return True

    assert sender_process._in_idle_time(work, asked.is_set)
    assert before == [os.SCHED_IDLE]
    monkeypatch.undo()
    assert after == [_policy_after_idle()]
