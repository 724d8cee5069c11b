"""A simulated worker: what it tells of a trial, and after how many of its own seconds.

It reports as :class:`energytune.cluster.worker.JobWorker` does: at the end of probing, at rungs,
at the end, and else at the first event after ``min_report_s``. After a report it waits for the
driver's answer, as Ray's workers do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from search_scale import curve, final_accuracy, snapshots

from energytune.cluster.worker import WorkerSettings
from energytune.trial import EpochsDone, Event, Finished, Job, ProbeDone, Probing

__all__ = ["Report", "Trials", "reports"]

_SPREAD = 0.25
"""Standard deviation of the logarithm of a trial's seconds: batch size, depth and node differ."""
_PROBE_SHARE = 0.05
"""Of a whole trial's seconds, for a probe to the largest tau; half the epochs take half of it."""
_END_SHARE = 0.01
"""For the adaptation metrics at the end."""


@dataclass(frozen=True)
class Report:
    """What a worker sends at once.

    Attributes:
        seconds: Seconds of its own work since the answer to its last report.
        events: What it tells.
        ended: Whether the job has ended.
    """

    seconds: float
    events: list[Event]
    ended: bool


@dataclass(frozen=True)
class Trials:
    """How trials go.

    Attributes:
        n_epochs: Finetuning epochs of a whole trial.
        tau_max: Probing epochs of the longest probe.
        whole_s: Median seconds of a whole trial, probe and end included.
        seed: Of durations and accuracies; a trial's depend on its number alone.
    """

    n_epochs: int
    tau_max: int
    whole_s: float
    seed: int

    def events(self, job: Job) -> Iterator[tuple[float, Event]]:
        """Yields the events of a job, each with the seconds that it took."""
        rng = random.Random(self.seed * 1_000_003 + job.number)
        whole_s = self.whole_s * math.exp(rng.gauss(0.0, _SPREAD))
        curve_of_trial = curve(final_accuracy(job.recipe, rng), self.n_epochs)
        if not job.resume_epoch:
            seen = snapshots(job.recipe, rng)
            probe_s = _PROBE_SHARE * whole_s / self.tau_max
            before = 0
            for snapshot in seen:
                yield probe_s * (snapshot.epoch - before), Probing(snapshot, job.recipe.tau)
                before = snapshot.epoch
            yield 0.0, ProbeDone(tuple(seen), probe_s * job.recipe.tau, job.recipe.tau)
        epoch_s = (1 - _PROBE_SHARE - _END_SHARE) * whole_s / self.n_epochs
        for epoch in curve_of_trial[job.resume_epoch :]:
            yield epoch_s, EpochsDone((epoch,), epoch_s)
        last = curve_of_trial[-1]
        yield (
            _END_SHARE * whole_s,
            Finished(last.valid_acc, last.epoch, last.valid_loss, {"feature_distance": 1.5}),
        )


def reports(events: Iterator[tuple[float, Event]], settings: WorkerSettings) -> Iterator[Report]:
    """Groups events as a worker does."""
    seconds, told = 0.0, list[Event]()
    for took_s, event in events:
        seconds += took_s
        told.append(event)
        if isinstance(event, Finished):
            continue
        if settings.flushes(event) or seconds >= settings.min_report_s:
            yield Report(seconds, told, ended=False)
            seconds, told = 0.0, []
    yield Report(seconds, told, ended=True)
