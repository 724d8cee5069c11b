"""How long a search waits, on a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import energytune.tracking.patience as module
from energytune.tracking.patience import Patience

URI = "http://me:secret@host:5000"


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class Work:
    """A thread that ends at a time."""

    def __init__(self, clock: Clock, lasts_s: float) -> None:
        self._clock, self._ends_at = clock, clock.now_s + lasts_s

    def is_alive(self) -> bool:
        return self._clock.now_s < self._ends_at

    def join(self, timeout_s: float) -> None:
        assert timeout_s >= 0
        self._clock.now_s = min(
            self._clock.now_s + timeout_s, max(self._ends_at, self._clock.now_s)
        )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[..., None]:
    """Sets when the server answers, and how long a question takes that it answers."""

    def make(is_up: Callable[[float], bool], takes_s: float = 0.01) -> None:
        def answers(uri: str, timeout_s: float) -> bool:
            assert timeout_s > 0
            up = is_up(clock.now_s - 100.0) and takes_s < timeout_s
            clock.now_s += takes_s if up else timeout_s
            return up

        monkeypatch.setattr(module, "answers", answers)

    return make


def test_work_is_waited_for_while_the_server_answers(clock: Clock, server: Any) -> None:
    server(lambda _: True)
    patience = Patience(URI, 1.5)
    assert patience.wait(Work(clock, 300.0))
    assert patience.spent_s == 0.0
    assert not patience.is_over


@pytest.mark.parametrize("lasts_s", [1.6, 60.0, float("inf")])
def test_a_silent_server_is_waited_for_as_long_as_was_said(
    clock: Clock, server: Any, lasts_s: float
) -> None:
    server(lambda _: False)
    patience = Patience(URI, 1.5)
    assert not patience.wait(Work(clock, lasts_s))
    assert clock.now_s == pytest.approx(101.5)
    assert patience.is_over
    assert not patience.wait(Work(clock, lasts_s))
    assert clock.now_s == pytest.approx(101.5)


def test_silences_are_added_up_over_all_waits(
    clock: Clock, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(URI, 1.5)

    def silent_at_first(uri: str, timeout_s: float) -> bool:
        up = clock.now_s >= 101.0
        clock.now_s += 0.01 if up else min(0.2, timeout_s)
        return up

    monkeypatch.setattr(module, "answers", silent_at_first)
    assert patience.wait(Work(clock, 50.0))
    assert 0.7 < patience.spent_s < 1.5
    first_s, began_s = patience.spent_s, clock.now_s
    server(lambda _: False)
    assert not patience.wait(Work(clock, 50.0))
    assert clock.now_s - began_s == pytest.approx(1.5 - first_s)


def test_a_time_limit_holds_also_for_a_server_that_answers(clock: Clock, server: Any) -> None:
    server(lambda _: True)
    patience = Patience(URI, 1.5)
    assert not patience.wait(Work(clock, 300.0), 30.0)
    assert 130.0 <= clock.now_s < 130.5
    assert not patience.is_over


def test_a_machine_that_stalls_is_not_taken_for_a_silent_server(clock: Clock, server: Any) -> None:
    class Stalled(Work):
        def join(self, timeout_s: float) -> None:
            super().join(max(timeout_s, 7.0))

    server(lambda _: True)
    patience = Patience(URI, 1.5)
    assert patience.wait(Stalled(clock, 60.0))
    assert patience.spent_s == 0.0
    server(lambda _: False, takes_s=0.0)
    assert not patience.wait(Stalled(clock, 60.0))
