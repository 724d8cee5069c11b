"""The trials that wait at rungs: RUNNING in the study, but no job of theirs runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from energytune.optimizer.attrs import curve_of, frozen, job_of, write_pause
from energytune.optimizer.live_trial import LiveTrial
from energytune.optimizer.promotion import Rungs
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import EpochsDone, Job, ProbeDone, TrialRecord
from energytune.trial.builder import RecordBuilder, now_ms

__all__ = ["PausedTrials"]


class PausedTrials:
    """Pauses trials and lets them go on; all it knows can be read from the study again.

    A trial that is paused is RUNNING, with its curve so far and the epoch as user attributes. One
    that was lost while it went on waits again where it was paused last.

    Args:
        study: The search's.
        rungs: Empty; they are filled from the study.
        records: The trials of the study that have ended.
    """

    def __init__(self, study: Study, rungs: Rungs, records: Iterable[TrialRecord]) -> None:
        self._study, self._rungs = study, rungs
        self._waiting: dict[int, LiveTrial] = {}
        for record in records:
            if record.state != "FAIL":
                self._came(record.job.number, record.epochs)
            self.ended(record)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get("paused") in rungs.epochs:
                self._restore(trial)

    def __len__(self) -> int:
        """Number of trials that wait."""
        return len(self._waiting)

    @property
    def n_epochs(self) -> int:
        """Finetuning epochs that the waiting trials have run."""
        return sum(len(run.builder.epochs) for run in self._waiting.values())

    def put(self, run: LiveTrial) -> None:
        """Lets a trial wait whose job has ended at a rung."""
        record = run.builder.build("RUNNING")
        run.paused_ms = record.ended_ms
        write_pause(run.trial, record)
        self._rungs.pause(run.number, run.paused)
        self._waiting[run.number] = run

    def put_back(self, run: LiveTrial) -> bool:
        """Lets a trial wait again whose job was interrupted; returns whether it had waited."""
        trial = frozen(run.trial)
        if trial.user_attrs.get("paused") not in self._rungs.epochs:
            return False
        self._restore(trial)
        self._waiting[run.number].untold = ()
        return True

    def next(self) -> LiveTrial | None:
        """Returns a trial that has earned to go on, no longer waiting; None if none has."""
        number = self._rungs.next()
        return None if number is None else self._waiting.pop(number)

    def to_finish(self, n_best: int, *, baselines: bool = True) -> list[LiveTrial]:
        """Returns the waiting trials that are run to their end once the search has ended.

        Args:
            n_best: So many others: the highest rung first, there the best.
            baselines: Whether the baselines are among them; they come first.
        """
        ranked = (self._waiting[number] for number in self._rungs.best_first())
        others = list(islice((run for run in ranked if run.job.role == "search"), max(0, n_best)))
        if not baselines:
            return others
        by_number = [self._waiting[number] for number in sorted(self._waiting)]
        return [run for run in by_number if run.job.role != "search"] + others

    def take(self, run: LiveTrial) -> LiveTrial:
        """Returns a trial, no longer waiting, that will not wait any more."""
        self._rungs.resume(run.number)
        run.may_pause = False
        return self._waiting.pop(run.number)

    def go_on(self, run: LiveTrial) -> Job:
        """Returns the job with which a trial goes on."""
        job = replace(run.job, resume_epoch=run.paused)
        run.paused = 0
        run.builder.waited_ms += max(0, now_ms() - run.paused_ms)
        return job

    def explain(self) -> list[tuple[LiveTrial, str]]:
        """Returns the trials that wait, by number, each with why in words."""
        return [
            (self._waiting[number], self._rungs.explain(number)) for number in sorted(self._waiting)
        ]

    def ended(self, record: TrialRecord) -> None:
        """Is told of each trial that has ended, in any state."""
        number = record.job.number
        self._waiting.pop(number, None)
        if record.state == "COMPLETE":
            self._rungs.ended(number, record.objective)
        elif record.state == "FAIL":
            self._rungs.ended(number, None)
        else:  # what it had shown at the rungs still counts
            self._rungs.resume(number)

    def _came(self, number: int, curve: Iterable[FinetuneEpoch]) -> None:
        """Fills the rungs that a curve has come to."""
        values = {epoch.epoch: epoch.valid_acc for epoch in curve}
        for rung in self._rungs.epochs:
            if rung in values:
                best = max(value for epoch, value in values.items() if epoch <= rung)
                self._rungs.came(number, rung, best)

    def _restore(self, trial: FrozenTrial) -> None:
        """Lets a trial wait that the study has as paused."""
        attrs, epoch = trial.user_attrs, trial.user_attrs["paused"]
        times = attrs["times"]
        # Lost between two writes of a later pause, the curve may be longer.
        curve = curve_of(attrs)[:epoch]
        snapshots = tuple(ProbeSnapshot(**s) for s in attrs.get("snapshots", ()))
        told = (
            ProbeDone(snapshots, times["seconds_hp"], times["n_hp_epochs_run"]),
            EpochsDone(curve, times["seconds_ft"]),
        )[0 if snapshots else 1 :]
        builder = RecordBuilder(job_of(trial.number, attrs), started_ms=times["started_ms"])
        for event in told:
            builder.add(event)
        builder.waited_ms = times["waited_ms"]
        self._came(trial.number, curve)
        self._rungs.pause(trial.number, epoch)
        self._waiting[trial.number] = LiveTrial(
            Trial(self._study, trial._trial_id),
            builder,
            paused=epoch,
            paused_ms=times["ended_ms"],
            untold=told,
            decided_epoch=trial.last_step or 0,
        )
