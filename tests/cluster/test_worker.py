"""The worker's loop, without Ray's processes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_fakes import PROBED, epoch, job, job_factory

from energytune.cluster.run import report_interval_s
from energytune.cluster.worker import ENDED, ERROR, EVENTS, JobWorker, WorkerSettings
from energytune.trial import Finished


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAY_CHDIR_TO_TRIAL_DIR"):
        monkeypatch.setenv(name, "1")
    yield
    gc.unfreeze()


def worker(
    first: str, make_run_job: Any, *, flush: frozenset[int] = frozenset(), min_report_s: float = 9.0
) -> JobWorker:
    made: JobWorker = object.__new__(JobWorker)
    made.setup({"job": job(first)}, make_run_job, WorkerSettings(flush, min_report_s, 1))
    return made


def steps(of: JobWorker) -> list[tuple[list[Any], bool, str | None]]:
    reports = []
    while not reports or not reports[-1][1]:
        report = of.step()
        reports.append((report[EVENTS], report[ENDED], report[ERROR]))
    return reports


def test_reports_after_probing_at_flush_epochs_and_at_the_end(tmp_path: Path) -> None:
    reports = steps(worker("ok-1", job_factory(tmp_path, tell_pid=False), flush=frozenset({2})))
    finished = Finished(0.5, 1, 1.0, {"pid": 0.0})
    assert reports == [
        ([PROBED], False, None),
        ([epoch(1), epoch(2)], False, None),
        ([epoch(3), finished], True, None),
    ]


def test_reports_every_event_when_no_time_may_pass(tmp_path: Path) -> None:
    reports = steps(worker("ok-1", job_factory(tmp_path), min_report_s=0.0))
    assert [len(events) for events, _, _ in reports] == [1, 1, 1, 1, 1]


def test_a_crash_is_reported_with_the_events_before_it(tmp_path: Path) -> None:
    reports = steps(worker("boom-1", job_factory(tmp_path)))
    assert reports[-1] == ([epoch(1)], True, "ValueError: no such thing")


def test_the_factory_is_called_once_and_its_failure_is_the_jobs(tmp_path: Path) -> None:
    attempts = []

    def make_run_job() -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise FileNotFoundError("weights")
        return job_factory(tmp_path)()

    reused = worker("ok-1", make_run_job)
    assert steps(reused) == [([], True, "FileNotFoundError: weights")]
    for name in ("ok-2", "ok-3"):
        assert reused.reset_config({"job": job(name)}) is True
        assert steps(reused)[-1][2] is None
    assert len(attempts) == 2


def test_a_stopped_job_is_closed_before_the_next_one_begins(tmp_path: Path) -> None:
    reused = worker("ok-1", job_factory(tmp_path))
    reused.step()
    reused.reset_config({"job": job("ok-2")})
    assert not (tmp_path / "closed-ok-1").exists()
    reused.step()
    assert (tmp_path / "closed-ok-1").exists()
    assert not (tmp_path / "closed-ok-2").exists()
    reused.cleanup()
    assert (tmp_path / "closed-ok-2").exists()


def test_memory_is_freed_between_jobs(tmp_path: Path) -> None:
    """What a job holds, also in a cycle, is gone when the next one runs."""
    alive: list[int] = []

    class Held:
        n = 0

        def __init__(self) -> None:
            Held.n += 1
            self.cycle = self

        def __del__(self) -> None:
            Held.n -= 1

    def make_run_job() -> Any:
        def run_job(job: Any) -> Any:
            held = Held()
            yield PROBED
            alive.append(held.n)
            yield epoch(1)

        return run_job

    reused = worker("j-0", make_run_job)
    for number in range(1, 51):
        steps(reused)
        reused.reset_config({"job": job(f"j-{number}")})
    assert alive == [1] * 50


def test_threads_are_limited(tmp_path: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "64"
    worker("ok-1", job_factory(tmp_path))
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("n_workers", "seconds"), [(1, 0.5), (25, 0.5), (256, 5.12), (1000, 20)])
def test_workers_report_twice_a_second_and_no_more_than_50_times_all_together(
    n_workers: int, seconds: float
) -> None:
    assert report_interval_s(n_workers) == pytest.approx(seconds)
