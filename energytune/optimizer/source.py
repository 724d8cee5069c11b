"""The search as a source of jobs: asks the study what to run, tells it what came out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from optuna.study import Study
from optuna.trial import TrialState

from energytune.config import SearchSpace
from energytune.optimizer.attrs import (
    frozen,
    is_interrupted,
    records_from_study,
    report_ends,
    write_end,
)
from energytune.optimizer.candidates import best_first
from energytune.optimizer.duplicates import n_duplicates
from energytune.optimizer.limits import EXHAUSTED, Limit, spent
from energytune.optimizer.live_trial import EventTaker, LiveTrial
from energytune.optimizer.paused import PausedTrials
from energytune.optimizer.promotion import Rungs
from energytune.optimizer.queue import N_DUPLICATES, baseline_roles, prepare
from energytune.optimizer.rungs import reported_epochs
from energytune.optimizer.trial_jobs import TrialJobs
from energytune.trial import Event, Idle, Job, Observer, Paused, Role, TrialRecord
from energytune.trial.builder import INTERRUPTED

__all__ = ["StudySource"]


class StudySource:
    """A :class:`~energytune.trial.JobSource` behind which Optuna stands.

    Trials of the study that are RUNNING when it starts were lost with an earlier start: they are
    handed out again first, under their own numbers. Everything else in it counts, so the same
    search started twice goes on; killed at any time, it ends as if it had not been. A suggested
    recipe that was begun before is not run: it is told what the first one was told. States are
    true: COMPLETE means finished, PRUNED stopped by the pruner or never gone on after a pause,
    FAIL a crash or a number that is not finite.

    With ``rungs`` a trial may be paused: it stays RUNNING in the study, and its job is handed out
    again once it is worth it, before any new one. When no trial begins any more and none has
    earned to go on, what must be complete is run to its end: the baselines, for the report needs
    them whole, and the best others. All that still waits is then told PRUNED.

    Args:
        study: Opened with :func:`energytune.optimizer.open_study`; one search at a time.
        space: What is searched.
        n_trials: Trials to begin, >= 1, baselines and those already in the study included.
        n_ft_epochs: Finetuning epochs, >= 1, from which on no trial begins; those of ended and of
            running trials count, so the search ends with somewhat more, and those that paused
            trials will be run for at the end. None is no limit.
        seed: Seed of every trial's initialisation and batch order.
        baseline_taus: 0 and tau max of the space as it is without fixed dimensions.
        limits: Further limits; the first reason that one gives ends the search for good.
        budgets: Limits of time, say: beyond them no paused trial goes on either, baselines too.
        rungs: Where trials wait; empty, to be filled from the study. None pauses none.
        pause_baselines: Whether baselines wait at rungs too.
        n_finalists: So many trials beside the baselines are complete at the end, >= 0; one at
            most if a budget has ended the search.
        n_valid: Validation images, which tell near ties; None knows exact ones only.
        observers: Told of each job that is run; not of duplicates.

    Attributes:
        end_reason: Why no further trial begins, in words (``"30 trials"``); ``""`` before. The
            study keeps it as its attribute ``end_reason``.
        reported_epochs: Finetuning epochs at which a trial may be stopped; executors send at
            least at these.
        pause_epochs: Those of them at which a trial may be paused.
        n_valid: As given.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        *,
        n_trials: int,
        seed: int,
        n_ft_epochs: int | None = None,
        baseline_taus: Iterable[int] = (0, 4096),
        limits: Sequence[Limit] = (),
        budgets: Sequence[Limit] = (),
        rungs: Rungs | None = None,
        pause_baselines: bool = True,
        n_finalists: int = 1,
        n_valid: int | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._study, self._space = study, space
        self._n_trials, self._n_ft_epochs = n_trials, n_ft_epochs
        self._budgets, self._limits = budgets, limits
        self._is_late = False
        self._pause_baselines, self._n_finalists = pause_baselines, n_finalists
        self.n_valid = n_valid
        self._observers = observers
        self._baseline_taus = baseline_roles(baseline_taus)
        self._running: dict[str, LiveTrial] = {}
        self.end_reason = ""
        rungs = rungs or Rungs(())
        n_epochs = space.finetune.epochs
        self.pause_epochs = frozenset(epoch for epoch in rungs.epochs if epoch < n_epochs)
        self.reported_epochs = reported_epochs(study.pruner, n_epochs) | self.pause_epochs
        self._taker = EventTaker(study, space.finetune, self.reported_epochs, rungs)

        taus = self._baseline_taus.values()
        lost = prepare(study, space, baseline_taus=taus, seed=seed, pause_epochs=rungs.epochs)
        self._lost = deque(lost)
        self._jobs = TrialJobs(study, space, seed)
        self._records = {record.job.number: record for record in records_from_study(study)}
        self._paused = PausedTrials(study, rungs, self._records.values())

    @property
    def records(self) -> list[TrialRecord]:
        """Trials that have ended in any state, by number, those of earlier starts included."""
        return [self._records[number] for number in sorted(self._records)]

    @property
    def n_trials(self) -> int:
        """Trials to begin in all."""
        return self._n_trials

    @property
    def n_duplicates(self) -> int:
        """Suggestions that were not run because they had been run; no part of ``records``."""
        return n_duplicates(self._study)

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because every suggestion had been run."""
        return self.end_reason == EXHAUSTED

    @property
    def baselines_ended(self) -> bool:
        """Whether every baseline of the search has ended, in any state."""
        return all(self._baseline(role) is not None for role in self._baseline_taus)

    def best(self) -> TrialRecord | None:
        """Returns the best complete trial, near ties by the loss; None if there is none."""
        return next(iter(best_first(self.records, self.n_valid)), None)

    def baselines(self) -> tuple[TrialRecord | None, TrialRecord | None]:
        """Returns the ended trials of tau = 0 and tau = max, None where there is none."""
        return self._baseline("baseline_tau_0"), self._baseline("baseline_tau_max")

    def _baseline(self, role: Role) -> TrialRecord | None:
        if role not in self._baseline_taus:
            return None
        of_role = [n for n, record in self._records.items() if record.job.role == role]
        if of_role:
            return self._records[max(of_role)]
        number = self._jobs.number_of(self._space.baseline(self._baseline_taus[role]))
        return None if number is None else self._records.get(number)

    def next_job(self) -> Job | Idle:
        """Returns the next job, ``WAIT`` while jobs run and none is to begin, then ``DONE``."""
        while self._lost:
            job = self._start(self._jobs.take_up(self._lost.popleft()))
            if job is not None:
                return job
        ended = self.has_ended()
        run = None if self._is_over() else self._paused.next()
        if run is None and not ended:
            for _ in range(N_DUPLICATES):
                job = self._start(self._jobs.ask())
                if job is not None:
                    return job
            self._end(EXHAUSTED)
        if run is None:
            run = self._next_to_finish()
        if run is not None:
            return self._go_on(run)
        if self._running:
            return Idle.WAIT
        for run, reason in self._paused.explain():
            self._tell(run, run.builder.build("PRUNED", reason))
        return Idle.DONE

    def has_ended(self) -> bool:
        """Returns whether no trial begins any more; asks the limits, sets :attr:`end_reason`."""
        if not self.end_reason:
            limits = (self._spent, *self._budgets, *self._limits)
            if reason := next(filter(None, (limit() for limit in limits)), ""):
                self._end(reason)
        return bool(self.end_reason)

    def _spent(self) -> str:
        return spent(self._n_trials, self._jobs.n_begun, self._n_ft_epochs, self._n_spent_epochs())

    def _n_spent_epochs(self) -> int:
        """Returns the finetuning epochs that were run, and those that will be at the end.

        Without a limit of them nobody needs to know: 0.
        """
        if self._n_ft_epochs is None:
            return 0
        n_run = sum(len(record.epochs) for record in self._records.values())
        n_run += sum(len(run.builder.epochs) for run in self._running.values())
        n_left = sum(self._space.finetune.epochs - run.paused for run in self._to_finish())
        return n_run + self._paused.n_epochs + n_left

    def _is_over(self) -> bool:
        """Returns whether nothing is left to spend, so that no paused trial is worth going on."""
        if self._n_spent_epochs() >= (self._n_ft_epochs or math.inf):
            return True
        self._is_late = self._is_late or any(limit() for limit in self._budgets)
        return self._is_late

    def _to_finish(self) -> list[LiveTrial]:
        """Returns the paused trials that would be run to their end if the search ended now."""
        if not len(self._paused):
            return []
        done = [r.state == "COMPLETE" and r.job.role == "search" for r in self._records.values()]
        done += [not r.may_pause and r.job.role == "search" for r in self._running.values()]
        n_best = min(1, self._n_finalists) if self._is_late else self._n_finalists
        return self._paused.to_finish(n_best - sum(done), baselines=not self._is_late)

    def _next_to_finish(self) -> LiveTrial | None:
        """Returns a paused trial that now is run to its end; None while others may overtake it."""
        if not self.end_reason or any(run.may_pause for run in self._running.values()):
            return None
        return next((self._paused.take(run) for run in self._to_finish()), None)

    def _end(self, reason: str) -> None:
        self.end_reason = reason
        if self._study.user_attrs.get("end_reason") != reason:
            self._study.set_user_attr("end_reason", reason)

    def _start(self, run: LiveTrial | None) -> Job | None:
        """Returns the job of a trial that begins, None if it was a repeat."""
        if run is None:
            return None
        run.may_pause = self._pause_baselines or run.job.role == "search"
        self._running[run.job.id] = run
        for observer in self._observers:
            observer.job_started(run.job)
        return run.job

    def _go_on(self, run: LiveTrial) -> Job:
        """Returns the job of a trial that was paused; observers know it, or are told now."""
        self._running[run.job.id] = run
        untold, run.untold = run.untold, ()
        if untold:
            for observer in self._observers:
                observer.job_started(run.job)
                observer.job_progress(run.job, untold)
        return self._paused.go_on(run)

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        """Takes events in order; returns True to stop the job. Later events are dropped."""
        run = self._running[job_id]
        taken: list[Event] = []
        for event in events:
            if run.stopped:
                break
            taken.append(self._taker.take(run, event))
        if taken:
            if run.paused:
                taken.append(Paused(run.paused))
            for observer in self._observers:
                observer.job_progress(run.job, taken)
        return run.stopped

    def on_end(self, job_id: str, error: str | None = None) -> None:
        """Tells the study how the job has ended; one that was paused has not."""
        run = self._running.pop(job_id)
        if run.paused:
            self._paused.put(run)
            return
        state, reason = run.verdict(error)
        if reason == INTERRUPTED and self._paused.put_back(run):
            return
        self._tell(run, run.builder.build(state, reason))

    def _tell(self, run: LiveTrial, record: TrialRecord) -> None:
        """Tells the study and the observers how a trial has ended."""
        if record.finished:
            report_ends(run.trial, record.epochs, record.finished)
        write_end(run.trial, record)
        self._study.tell(run.trial, record.objective, state=TrialState[record.state])
        self._paused.ended(record)
        if is_interrupted(frozen(run.trial)):
            self._jobs.forget(record.job)
        else:
            self._records[run.number] = record
        for observer in self._observers:
            observer.job_ended(record)
