"""The process that sends: what becomes of it, and of the journal, when somebody is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from energytune.config import Recipe
from energytune.errors import TrackingError
from energytune.tracking import (
    Sender,
    TrackingJournal,
    TrackingObserver,
    default_uri,
    journal_path,
    note_winner,
    sender_child,
    sync,
)
from energytune.tracking.sender_child import works_at_low_priority
from energytune.tracking.store import locked
from energytune.trial import TrialRecord
from tests.postgres import free_port
from tests.processes import is_gone, wait_until
from tests.tracking.test_replay import picture

Make = Callable[..., TrialRecord]
PATIENCE_S = 240.0

DRIVER = """
import os, signal, sys, time
from energytune.tracking import Sender, TrackingJournal, TrackingObserver, default_uri, journal_path

folder = sys.argv[1]
journal = TrackingJournal(journal_path(folder))
observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
sender = Sender(journal, default_uri(folder), interval_s=3600).start()
print(sender.pid, flush=True)
try:
    while True:
        time.sleep(0.05)
        if os.path.exists(folder + "/go"):
            observer.finish(metrics={"objective": 0.5})
            os.kill(os.getpid(), signal.SIGKILL)
except KeyboardInterrupt:
    observer.finish(metrics={"objective": 0.5})
    print(sender.stop(200), sender.problem, flush=True)
"""


def start_driver(folder: Path, code: str = DRIVER) -> tuple[subprocess.Popen[str], int]:
    """Starts a driver as a shell would; returns it and the process that sends for it."""
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert driver.stdout is not None
    return driver, int(driver.stdout.readline())


def sent_to(folder: Path) -> int:
    """The number of bytes of the journal that are marked as sent."""
    mark = journal_path(folder).with_suffix(".sent")
    return int(json.loads(mark.read_text())["offset"]) if mark.exists() else 0


@pytest.mark.integration
def test_when_the_driver_is_killed_the_rest_is_sent_and_no_process_stays(tmp_path: Path) -> None:
    driver, pid = start_driver(tmp_path)
    wait_until(lambda: sent_to(tmp_path))  # it is at work, and its next round is in an hour
    (tmp_path / "go").touch()
    assert driver.wait(PATIENCE_S) == -signal.SIGKILL
    wait_until(lambda: is_gone(pid))
    (parent,) = picture(default_uri(tmp_path)).values()
    assert parent["info"][1] == "FINISHED"
    assert ("objective", 0.5) in {point[:2] for point in parent["points"]}


@pytest.mark.integration
def test_ctrl_c_ends_the_driver_and_not_the_process_that_sends(tmp_path: Path) -> None:
    driver, pid = start_driver(tmp_path)
    assert os.getpgid(pid) != os.getpgid(driver.pid)
    assert os.getsid(pid) == os.getsid(driver.pid)
    wait_until(lambda: sent_to(tmp_path))
    os.kill(pid, signal.SIGINT)
    os.killpg(driver.pid, signal.SIGINT)
    told, _ = driver.communicate(timeout=PATIENCE_S)
    assert told.strip() == "0 None"
    wait_until(lambda: is_gone(pid))
    (parent,) = picture(default_uri(tmp_path)).values()
    assert parent["info"][1] == "FINISHED"


@pytest.mark.integration
def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(
    tmp_path: Path, make_record: Make
) -> None:
    journal, uri = TrackingJournal(journal_path(tmp_path)), default_uri(tmp_path)
    observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
    sender = Sender(journal, uri, interval_s=0.05).start()
    for number in range(3):
        observer.job_ended(make_record(number))
        wait_until(lambda: sent_to(tmp_path) == journal.path.stat().st_size or sender.pid is None)
        if number == 1:  # the second one goes on where the first was killed, and says so
            wait_until(lambda: sender.problem is None)
        if number < 2:
            pid = sender.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: sender.pid not in (pid, None))  # type: ignore[misc]
    assert set(picture(uri)) == {"s1", "s1.t000", "s1.t001", "s1.t002"}
    pid = sender.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: sender.pid is None)
    observer.finish()
    assert sender.stop(20) > 0
    assert "has ended (status -9)" in str(sender.problem)
    assert sync(tmp_path).rejected == {}
    held = picture(uri)
    assert set(held) == {"s1", "s1.t000", "s1.t001", "s1.t002"}
    assert held["s1"]["info"][1] == "FINISHED"


NO_LOAD = "import os; os.getloadavg = lambda: (0.0, 0.0, 0.0); "
"""Before what a process runs: the machine is not busy, it says."""


def store_lock(folder: Path) -> Path:
    """Whoever makes a store waits for this file: a process stays where it is, as without time."""
    return folder / ".mlflow.db.lock"


@pytest.mark.integration
def test_a_driver_that_waits_takes_another_process_for_one_at_low_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_child, "_BOOT", NO_LOAD + sender_child._BOOT)
    journal, uri = TrackingJournal(journal_path(tmp_path)), default_uri(tmp_path)
    observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
    sender = Sender(journal, uri)
    n_left: list[int] = []
    with locked(store_lock(tmp_path)):
        starved = sender.start().pid
        assert starved is not None
        wait_until(lambda: works_at_low_priority(starved))
        observer.finish()
        waiting = threading.Thread(target=lambda: n_left.append(sender.drain(PATIENCE_S)))
        waiting.start()
        wait_until(lambda: sender.pid not in (starved, None))
        assert is_gone(starved)
    waiting.join()
    assert n_left == [0]
    assert sender.problem is None
    assert sender.pid is not None
    assert not works_at_low_priority(sender.pid)
    assert picture(uri)["s1"]["info"][1] == "FINISHED"
    sender.close()


@pytest.mark.integration
def test_without_a_driver_one_at_low_priority_begins_again_and_sends(tmp_path: Path) -> None:
    patched = f"import energytune.tracking.sender_child as c; c._BOOT = {NO_LOAD!r} + c._BOOT\n"
    with locked(store_lock(tmp_path)):
        driver, pid = start_driver(tmp_path, patched + DRIVER)
        wait_until(lambda: works_at_low_priority(pid))
        (tmp_path / "go").touch()
        assert driver.wait(PATIENCE_S) == -signal.SIGKILL
        wait_until(lambda: not works_at_low_priority(pid))
        assert not is_gone(pid), "the same process, which has begun again"
    wait_until(lambda: is_gone(pid))
    assert sent_to(tmp_path) == journal_path(tmp_path).stat().st_size
    (parent,) = picture(default_uri(tmp_path)).values()
    assert parent["info"][1] == "FINISHED"


@pytest.mark.integration
def test_the_winner_is_registered_there_without_loading_torch(
    tmp_path: Path, weights: tuple[Path, dict[str, Any]], make_record: Make
) -> None:
    journal, uri = TrackingJournal(journal_path(tmp_path)), default_uri(tmp_path)
    observer = TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
    observer.job_ended(make_record(0))
    sender = Sender(journal, uri).start()
    assert sender.drain(PATIENCE_S) == 0
    assert sender.register() is None
    path, spec = weights
    noted = note_winner(
        "digits",
        run_folder=tmp_path,
        weights=shutil.copy(path, tmp_path),  # as a search has it
        spec=spec,
        score=0.9,
        protocol="digits test",
        correct=[True] * 9 + [False],
        recipe=Recipe(tau=9, ft_lr=0.01),
        run_uid=observer.run_uid("t000"),
        search_id="s1",
    )
    model = sender.register()
    assert model is not None
    assert (model.name, model.version, model.is_champion) == ("energytune-digits", 1, True)
    assert model == sync(tmp_path).model
    link, run_id = sender.find_parent("digits", "s1")
    assert "s1" in str(link)
    assert run_id is not None
    maps = Path(f"/proc/{sender.pid}/maps")
    if maps.exists():  # on Linux
        assert "libtorch" not in maps.read_text()
    sender.close()
    assert sender.pid is None
    assert noted.run_uid == "s1.t000"


def test_a_password_is_on_no_command_line(tmp_path: Path) -> None:
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    journal = TrackingJournal(journal_path(tmp_path))
    TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
    sender = Sender(journal, uri).start()
    assert sender.pid is not None
    process = psutil.Process(sender.pid)
    wait_until(lambda: sender.problem)
    line = " ".join(process.cmdline())
    assert "sender_process" in line
    assert "secret" not in line
    assert "can't be reached" in str(sender.problem)
    assert "secret" not in str(sender.problem)
    sender.close()
    wait_until(lambda: is_gone(process.pid))


def test_where_no_process_can_be_started_the_journal_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    journal = TrackingJournal(journal_path(tmp_path))
    TrackingObserver(journal, "s1", "digits", "digits-mlp", {})
    sender = Sender(journal, default_uri(tmp_path)).start()
    sender.send_now()
    assert "could not be started" in str(sender.problem)
    assert sender.drain(20) == 1
    with pytest.raises(TrackingError, match="could not be started"):
        sender.register()
    assert sender.find_parent("digits", "s1") == (None, None)
    assert sender.stop() == 1
