"""A source that records every call, and jobs that end in every way. Loads no torch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from energytune.config import Recipe
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import EpochsDone, Event, Finished, Idle, Job, ProbeDone


def job(job_id: str) -> Job:
    return Job(id=job_id, number=0, recipe=Recipe(tau=4, ft_lr=0.01), seed=0)


def epoch(number: int) -> EpochsDone:
    return EpochsDone((FinetuneEpoch(number, 1.0, 0.5, 1.0, 0.5),), seconds=0.0)


PROBED = ProbeDone(
    (ProbeSnapshot(4, 0.5, 1.0, 0.5, 1.0, 0.8, 2.0, 0.5),), seconds=0.0, n_epochs_run=4
)


class RecordingSource:
    """Gives out jobs in order; ``"|"`` among them waits until all running jobs have ended."""

    def __init__(self, ids: Sequence[str], stop_at: dict[str, int] | None = None) -> None:
        self.todo = list(ids)
        self.stop_at = stop_at or {}
        self.calls: list[tuple[Any, ...]] = []
        self.running: set[str] = set()
        self.most_running = 0

    def next_job(self) -> Job | Idle:
        if self.todo and self.todo[0] == "|" and not self.running:
            self.todo.pop(0)
        if not self.todo:
            self.calls.append(("next", "done"))
            return Idle.DONE
        if self.todo[0] == "|":
            self.calls.append(("next", "wait"))
            return Idle.WAIT
        job_id = self.todo.pop(0)
        self.running.add(job_id)
        self.most_running = max(self.most_running, len(self.running))
        self.calls.append(("next", job_id))
        return job(job_id)

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        self.calls.append(("events", job_id, tuple(events)))
        last = [e.epochs[-1].epoch for e in events if isinstance(e, EpochsDone)]
        return bool(last) and last[-1] >= self.stop_at.get(job_id, 10**9)

    def on_end(self, job_id: str, error: str | None = None) -> None:
        self.running.discard(job_id)
        self.calls.append(("end", job_id, error))

    @property
    def ends(self) -> dict[str, str | None]:
        """Reasons by job; fails if a job ended twice."""
        told = [call for call in self.calls if call[0] == "end"]
        assert len({call[1] for call in told}) == len(told), told
        return {call[1]: call[2] for call in told}

    def events(self, job_id: str) -> list[Event]:
        return [e for c in self.calls if c[:2] == ("events", job_id) for e in c[2]]

    def pid(self, job_id: str) -> int:
        finished = self.events(job_id)[-1]
        assert isinstance(finished, Finished)
        return int(finished.adaptation["pid"])


def job_factory(folder: Path, *, tell_pid: bool = True, n_epochs: int = 3) -> Callable[[], Any]:
    """Returns a ``make_run_job``; how a job ends is the part of its id before the dash."""

    def make_run_job() -> Callable[[Job], Generator[Event, None, None]]:
        with (folder / "made").open("a") as made:
            made.write(f"{os.getpid()}\n")

        def run_job(job: Job) -> Generator[Event, None, None]:
            kind = job.id.split("-")[0]
            try:
                yield PROBED
                if kind == "meet":  # goes on when the other one runs, in another worker
                    (folder / f"here-{job.id}").touch()
                    while len(list(folder.glob("here-meet-*"))) < 2:
                        time.sleep(0.02)
                for number in range(1, n_epochs + 1):
                    if kind in ("slow", "stuck"):
                        time.sleep(0.05 if kind == "slow" else 0.2)
                    yield epoch(number)
                    if number == 1 and kind == "boom":
                        raise ValueError("no such thing")
                    if number == 2 and kind in ("die", "dieonce"):
                        mark = folder / f"died-{job.id}"
                        if kind == "die" or not mark.exists():
                            mark.touch()
                            os.kill(os.getpid(), signal.SIGKILL)
                told = {"pid": float(os.getpid()), "niceness": float(os.nice(0))}
                yield Finished(0.5, 1, 1.0, told if tell_pid else {"pid": 0.0})
            finally:
                (folder / f"closed-{job.id}").touch()

        return run_job

    return make_run_job
