"""One driver at a time; a dead one is told from one that lives without trusting any clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from energytune.errors import OutputError, ResourceError
from energytune.optimizer.lease import StudyLease
from tests.optimizer.fakes import journal_study

HOLD = """
import sys, time
from pathlib import Path
from energytune.optimizer.lease import StudyLease
from tests.optimizer.fakes import journal_study
with StudyLease(journal_study(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def lease(path: Path, **changes: object) -> StudyLease:
    return StudyLease(journal_study(path), **({"beat_s": 0.05, "stale_s": 1.0} | changes))  # type: ignore[arg-type]


def test_a_second_driver_is_refused_while_the_first_lives_and_told_who_it_is(
    tmp_path: Path,
) -> None:
    with lease(tmp_path / "s") as first:
        with pytest.raises(ResourceError, match=rf"being run by process {os.getpid()} on .* since"):
            lease(tmp_path / "s").__enter__()
        first.raise_if_lost()
    with lease(tmp_path / "s"):
        pass


def test_it_is_given_back_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(tmp_path / "s"):
        raise ZeroDivisionError
    with lease(tmp_path / "s"):
        pass


def test_one_that_could_not_be_given_back_does_not_lock_its_own_process_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OutputError("the disk is full")

    first = lease(tmp_path / "s")
    with first:
        monkeypatch.setattr(first._study, "set_user_attr", full)
    assert journal_study(tmp_path / "s").user_attrs["driver"]["pid"] == os.getpid()
    with lease(tmp_path / "s"):
        pass


@pytest.mark.integration
def test_a_killed_driver_of_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        with pytest.raises(ResourceError, match=f"process {driver.pid} on"):
            lease(tmp_path / "s").__enter__()
        driver.send_signal(signal.SIGSTOP)  # it stands still, and may go on at any time
        with pytest.raises(ResourceError, match=f"process {driver.pid} on"):
            lease(tmp_path / "s").__enter__()
        driver.kill()
        driver.wait()
        waits: list[str] = []
        with lease(tmp_path / "s", on_wait=waits.append):
            assert waits == []
    finally:
        driver.kill()


def test_another_machine_s_driver_is_watched(tmp_path: Path) -> None:
    waits: list[str] = []
    with (
        lease(tmp_path / "s", machine="elsewhere"),
        pytest.raises(ResourceError, match="being run by"),
    ):
        lease(tmp_path / "s", on_wait=waits.append).__enter__()
    assert len(waits) == 1
    assert "waiting up to 1 s for a sign of life" in waits[0]


def test_a_silent_driver_elsewhere_is_replaced_and_stops_when_it_wakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energytune.optimizer.lease._FIRST_BEAT_S", 600.0)
    silent = lease(tmp_path / "s", machine="elsewhere", beat_s=600.0)
    with silent:
        with lease(tmp_path / "s") as second:
            silent._check()  # its next sign of life
            with pytest.raises(ResourceError, match="taken over by process"):
                silent.raise_if_lost()
            silent._ended.set()
        second.raise_if_lost()
    assert not journal_study(tmp_path / "s").user_attrs["driver"]


def test_one_that_ends_while_it_is_watched_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energytune.optimizer.lease._FIRST_BEAT_S", 600.0)
    first = lease(tmp_path / "s", machine="elsewhere", beat_s=600.0)
    first.__enter__()
    ending = threading.Timer(0.3, lambda: first.__exit__(None, None, None))
    ending.start()
    began = time.monotonic()
    with lease(tmp_path / "s", stale_s=60.0):
        assert time.monotonic() - began < 50.0
    ending.join()


def test_of_two_that_come_at_once_one_is_refused(tmp_path: Path) -> None:
    first, second = lease(tmp_path / "s"), lease(tmp_path / "s")
    second._check, checked = (lambda: None), second._check  # type: ignore[method-assign]
    first._lives = lambda found: False  # type: ignore[method-assign,assignment]
    with second, first:  # wrote last
        checked()
        with pytest.raises(ResourceError):
            second.raise_if_lost()
