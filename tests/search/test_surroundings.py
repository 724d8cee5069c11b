"""A full disk, a folder that becomes read-only and a clock that jumps back, in mid-search."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from energytune.config import SearchConfig
from energytune.errors import OutputError
from energytune.search.result import TuneResult
from energytune.search.run import run_search
from energytune.trial import Event as TrialEvent
from energytune.trial import Job, TrialRecord
from tests.not_run import not_run

pytestmark = pytest.mark.integration
MakeConfig = Callable[..., SearchConfig]
SEARCH: dict[str, Any] = {
    "n_trials": 5, "concurrency": 1, "sampler": "tpe", "n_confirm_seeds": 1, "n_confirm_recipes": 1
}  # fmt: skip


class At:
    """Does something once, when a trial has ended."""

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self.number, self.action = number, action

    def job_started(self, job: Job) -> None: ...

    def job_progress(self, job: Job, events: Sequence[TrialEvent]) -> None: ...

    def job_ended(self, record: TrialRecord) -> None:
        if record.job.number == self.number and record.job.is_trial:
            self.number = -1
            self.action()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        not_run("right to mount a file system", "run the tests as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def undisturbed(make_config: MakeConfig, ray_session: None, tmp_path: Path) -> TuneResult:
    return run_search(make_config(**SEARCH, out=tmp_path / "whole"))


def outcome(result: TuneResult) -> list[tuple[Any, ...]]:
    return [
        (r.job.id, r.state, r.reason, r.job.recipe, r.objective, [e.valid_acc for e in r.epochs])
        for r in [*result.records, *result.confirmations]
    ]


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_cannot_be_written_stops_the_search_and_loses_nothing(
    undisturbed: TuneResult,
    make_config: MakeConfig,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    trouble: str,
) -> None:
    disk: Path = request.getfixturevalue("small_disk") if trouble == "full" else tmp_path
    out = disk / "run"
    config = make_config(**SEARCH, out=out)
    with ExitStack() as until_it_stops:

        def begin() -> None:
            until_it_stops.enter_context(full(disk) if trouble == "full" else immutable(out))

        with pytest.raises(OutputError, match=r"can't be written: .*go on|continues the search"):
            run_search(config, observers=[At(2, begin)])
    assert outcome(run_search(config)) == outcome(undisturbed)
    lines = (out / "records.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines))


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leaves no room on a disk, and takes at once what a deleted file leaves."""
    ballast, is_over = disk / "ballast", Event()

    def fill() -> None:
        with suppress(OSError), ballast.open("ab", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass

    def stay_full() -> None:
        while not is_over.wait(0.001):
            fill()

    fill()
    filler = Thread(target=stay_full)
    filler.start()
    try:
        yield
    finally:
        is_over.set()
        filler.join()
        ballast.unlink()


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Makes a folder and all in it read-only even for root."""

    def change(how: str) -> bool:
        command = ["chattr", "-R", how, str(folder)]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    if not change("+i"):
        not_run("right to make files immutable", "run the tests as root, on ext4")
    try:
        yield
    finally:
        change("-i")


def test_a_clock_that_jumps_back_changes_nothing(
    undisturbed: TuneResult,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    real, real_ns, back = time.time, time.time_ns, [0]
    monkeypatch.setattr(time, "time", lambda: real() - back[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - back[0] * 10**9)
    config = make_config(**SEARCH, out=tmp_path / "run", time_budget_s=3600.0)
    result = run_search(config, observers=[At(2, lambda: back.__setitem__(0, 7200))])
    assert outcome(result) == outcome(undisturbed)
    assert result.seconds["total"] < 3600
    for record in [*result.records, *result.confirmations]:
        assert record.waited_ms >= 0
        assert record.started_ms <= record.ended_ms
    assert result.registered is not None
    assert os.path.getsize(tmp_path / "run" / "report.html")
