"""What Ray Tune itself takes of the driver's process, a report and a job, measured with it.

Jobs that compute nothing run through :func:`energytune.cluster.run_jobs`, many short ones and few
with many reports; the CPU time of this process, Ray's threads included, is a sum of both.

    python benchmarks/scaling/ray_cost.py 8     # 8 workers; prints one JSON document
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

import numpy as np

from energytune.cluster import ClusterConfig, RayCluster, run_jobs
from energytune.config import Recipe
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import EpochsDone, Event, Finished, Idle, Job, ProbeDone

RUNS = ((400, 1), (1200, 1), (40, 40), (40, 120))
"""Jobs, and finetuning epochs of each; every epoch is a report, the end of probing is another."""


class Jobs:
    """A source of jobs that stops none."""

    def __init__(self, n_jobs: int) -> None:
        self._n_jobs, self._n_begun = n_jobs, 0
        self.n_reports = 0

    def next_job(self) -> Job | Idle:
        """Returns the next job."""
        if self._n_begun == self._n_jobs:
            return Idle.DONE
        self._n_begun += 1
        return Job(f"t{self._n_begun:05d}", self._n_begun, Recipe(tau=4, ft_lr=0.01), seed=0)

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Counts a report."""
        self.n_reports += 1
        return False

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Takes note of nothing."""


def make_factory(n_epochs: int) -> Callable[[], Any]:
    """Returns what makes the jobs in a worker; pickled by value, so nothing of this file."""

    def make_run_job() -> Callable[[Job], Generator[Event, None, None]]:
        def run_job(job: Job) -> Generator[Event, None, None]:
            snapshot = ProbeSnapshot(4, 0.5, 1.0, 0.5, 1.0, 0.8, 2.0, 0.5)
            yield ProbeDone((snapshot,), seconds=0.0, n_epochs_run=4)
            for number in range(1, n_epochs + 1):
                yield EpochsDone((FinetuneEpoch(number, 1.0, 0.5, 1.0, 0.5),), seconds=0.0)
            yield Finished(0.5, 1, 1.0, {})

        return run_job

    return make_run_job


def measured(cluster: RayCluster, n_jobs: int, n_epochs: int) -> dict[str, float]:
    """Runs jobs and returns the times of this process."""
    source = Jobs(n_jobs)
    wall, cpu, thread = perf_counter(), process_time(), thread_time()
    run_jobs(cluster, source, make_factory(n_epochs), min_report_s=0.0)
    return {
        "n_jobs": n_jobs,
        "n_reports": source.n_reports,
        "wall_s": perf_counter() - wall,
        "cpu_s": process_time() - cpu,
        "thread_s": thread_time() - thread,
    }


def measure(n_workers: int) -> dict[str, Any]:
    """Returns the runs, and seconds a report and a job from a least-squares fit of them."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-cost-") as folder,
        RayCluster(ClusterConfig(None, n_workers, 1, 0.0, Path(folder), preload=())) as cluster,
    ):
        measured(cluster, 2 * n_workers, 1)  # starts the workers
        runs = [measured(cluster, *run) for run in RUNS]
    counts = np.array([[run["n_reports"], run["n_jobs"], 1.0] for run in runs])
    costs: dict[str, Any] = {"n_workers": n_workers, "runs": runs}
    for clock in ("cpu_s", "thread_s"):
        fitted = np.linalg.lstsq(counts, np.array([run[clock] for run in runs]), rcond=None)[0]
        costs[clock] = dict(zip(("report", "job", "start"), fitted.tolist(), strict=True))
    return costs


if __name__ == "__main__":
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules["__main__"])
    print(json.dumps(measure(int(sys.argv[1]))))
