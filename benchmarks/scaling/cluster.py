"""Workers with a virtual clock before one driver, whose work is really done and timed.

The driver answers one message at a time, in the order of their arrival. What it does is done by
the package's own code; the CPU time that it takes, with the disk's and Ray's share beside it, is
what the messages behind it wait for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from time import process_time
from typing import Any

from energytune.cluster.ledger import JobLedger
from energytune.cluster.worker import WorkerSettings
from energytune.trial import Job
from scaling.driver import Syncs
from scaling.workers import Report, Trials, reports

__all__ = ["Costs", "Outcome", "simulate"]


@dataclass(frozen=True)
class Costs:
    """What the simulation takes from measurements instead of doing it.

    Attributes:
        report_s: Seconds of Ray's controller for a report, in the driver's process.
        job_s: Seconds of it for the start and end of a job.
        latency_s: Seconds from a worker to the driver, and as many back, in which neither works.
        sync_s: Seconds of one wait for the disk.
    """

    report_s: float
    job_s: float
    latency_s: float
    sync_s: float


@dataclass
class Outcome:
    """What came of a simulated search.

    Two stretches are told apart: as long as there is a job for every worker, and the end, in which
    the last trials run and there are fewer jobs than workers.

    Attributes:
        seconds: From the start to the end of the last job.
        full_s: From the start to when a worker gets no job for the first time.
        work_s: Seconds that workers computed, in all.
        full_work_s: Those until ``full_s``.
        answer_wait_s: Seconds until ``full_s`` that workers waited for an answer to a report.
        job_wait_s: The same for their next job.
        n_reports: Messages of workers until ``full_s``.
        n_jobs: Jobs until then, continued ones counted again.
        busy_s: Seconds that the driver was busy until then.
        ray_s: Those of them that are Ray's.
        disk_s: Those in which it waited for the disk.
        suggest_s: Seconds of each call that began a new trial.
        answers_s: Seconds from each message to its answer, until then.
    """

    seconds: float = 0.0
    full_s: float = 0.0
    work_s: float = 0.0
    full_work_s: float = 0.0
    answer_wait_s: float = 0.0
    job_wait_s: float = 0.0
    n_reports: int = 0
    n_jobs: int = 0
    busy_s: float = 0.0
    ray_s: float = 0.0
    disk_s: float = 0.0
    suggest_s: list[float] = field(default_factory=list)
    answers_s: list[float] = field(default_factory=list)


def simulate(
    ledger: JobLedger,
    trials: Trials,
    settings: WorkerSettings,
    *,
    n_workers: int,
    costs: Costs,
    syncs: Syncs,
    clock: list[float],
) -> Outcome:
    """Runs a search to its end on simulated workers.

    Args:
        ledger: Of the search.
        trials: How they go.
        settings: How workers report.
        n_workers: Workers, >= 1, each of which computes one job at a time.
        costs: What is not done.
        syncs: Entered.
        clock: Its only element is set to the driver's second, for who asks for the time.

    Raises:
        Exception: What the source raised.
    """
    simulation = _Simulation(ledger, trials, settings, n_workers, costs, syncs, clock)
    simulation.run()
    return simulation.out


class _Simulation:
    def __init__(
        self,
        ledger: JobLedger,
        trials: Trials,
        settings: WorkerSettings,
        n_workers: int,
        costs: Costs,
        syncs: Syncs,
        clock: list[float],
    ) -> None:
        self.out = Outcome()
        self._ledger, self._trials, self._settings = ledger, trials, settings
        self._costs, self._syncs, self._clock = costs, syncs, clock
        self._now_s = 0.0  # of the driver
        self._arrivals: list[tuple[float, int, int, Report]] = []
        self._jobs: dict[int, tuple[str, Iterator[Report]]] = {}
        self._idle_since = dict.fromkeys(range(n_workers), 0.0)
        self._n_sent = self._n_named = 0

    def run(self) -> None:
        self._hand_out()
        while self._arrivals:
            arrive_s, _, worker, report = heapq.heappop(self._arrivals)
            self._now_s = max(self._now_s, arrive_s)
            self._take(worker, report, arrive_s)
            if self._ledger.failure:
                raise self._ledger.failure
        self.out.seconds = self._now_s

    def _take(self, worker: int, report: Report, arrive_s: float) -> None:
        """Answers a report."""
        name = self._jobs[worker][0]
        self._ray(self._costs.report_s)
        is_stopped, _ = self._call(partial(self._ledger.deliver, name, report.events))
        has_ended = is_stopped or report.ended
        if has_ended:
            self._call(partial(self._ledger.end, name))
        if not self.out.full_s:
            self.out.n_reports += 1
            self.out.answers_s.append(self._now_s - arrive_s)
            self.out.answer_wait_s += self._now_s - arrive_s
        if has_ended:
            self._idle_since[worker] = self._now_s
            self._hand_out()
        else:
            self._send(worker)

    def _hand_out(self) -> None:
        """Gives the idle workers jobs, as long as there are any."""
        for worker in list(self._idle_since):
            self._n_named += 1
            name = f"j{self._n_named}"
            job, took_s = self._call(partial(self._ledger.next_job, name))
            if not isinstance(job, Job):
                if not self.out.full_s:
                    self._note_full()
                return
            self._ray(self._costs.job_s)
            waited_s = self._now_s - self._idle_since.pop(worker)
            if not self.out.full_s:
                self.out.n_jobs += 1
                self.out.job_wait_s += waited_s
            if not job.resume_epoch:
                self.out.suggest_s.append(took_s)
            self._jobs[worker] = name, reports(self._trials.events(job), self._settings)
            self._send(worker)

    def _send(self, worker: int) -> None:
        """Lets a worker compute until its next report."""
        report = next(self._jobs[worker][1])
        self.out.work_s += report.seconds
        if not self.out.full_s:
            self.out.full_work_s += report.seconds
        self._n_sent += 1
        arrive_s = self._now_s + 2 * self._costs.latency_s + report.seconds
        heapq.heappush(self._arrivals, (arrive_s, self._n_sent, worker, report))

    def _note_full(self) -> None:
        """Ends the stretch in which there was a job for every worker."""
        self.out.full_s = self._now_s
        for arrive_s, *_ in self._arrivals:  # what is still to be computed is no part of it
            self.out.full_work_s -= max(0.0, arrive_s - self._costs.latency_s - self._now_s)

    def _call(self, do: Any) -> tuple[Any, float]:
        """Calls the driver; returns what it says and the seconds that it took."""
        self._clock[0] = self._now_s
        n_syncs, began = self._syncs.n, process_time()
        result = do()
        cpu_s = process_time() - began
        disk_s = (self._syncs.n - n_syncs) * self._costs.sync_s
        if not self.out.full_s:
            self.out.disk_s += disk_s
        self._spend(cpu_s + disk_s)
        return result, cpu_s + disk_s

    def _ray(self, seconds: float) -> None:
        if not self.out.full_s:
            self.out.ray_s += seconds
        self._spend(seconds)

    def _spend(self, seconds: float) -> None:
        self._now_s += seconds
        if not self.out.full_s:
            self.out.busy_s += seconds
