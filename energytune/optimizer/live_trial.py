"""A trial that was begun and has not ended: what it has told, and when it is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from optuna.study import Study
from optuna.trial import Trial

from energytune.config import FinetuneConfig
from energytune.optimizer.attrs import frozen, report_once, write_probe
from energytune.optimizer.promotion import Rungs
from energytune.optimizer.pruner import ask_pruner
from energytune.training import FinetuneEpoch
from energytune.training.early_stop import stop_epoch
from energytune.trial import EpochsDone, Event, Finished, Job, ProbeDone, State
from energytune.trial.builder import RecordBuilder, non_finite

__all__ = ["EventTaker", "LiveTrial"]


@dataclass
class LiveTrial:
    """A trial of the study whose job runs, or that is paused.

    Attributes:
        trial: The study's.
        builder: What it has told.
        failure: Why it fails; empty if it does not.
        pruned: Why the pruner stops it; empty if it does not.
        paused: Finetuning epoch at which it waits; 0 if it does not.
        paused_ms: Since when, in milliseconds since the epoch.
        may_pause: Whether it waits at rungs.
        untold: What it told to an earlier start of the search, of which observers do not know.
        decided_epoch: Last finetuning epoch at which an earlier start of the search has let it go
            on; 0 if none has. What it tells again before that is not decided again.
    """

    trial: Trial
    builder: RecordBuilder
    failure: str = ""
    pruned: str = ""
    paused: int = 0
    paused_ms: int = 0
    may_pause: bool = True
    untold: tuple[Event, ...] = ()
    decided_epoch: int = 0

    @property
    def job(self) -> Job:
        """What is run, as it was first handed out."""
        return self.builder.job

    @property
    def number(self) -> int:
        """Number of the trial."""
        return self.job.number

    @property
    def stopped(self) -> bool:
        """Whether its job is not to go on."""
        return bool(self.failure or self.pruned or self.paused)

    def verdict(self, error: str | None) -> tuple[State, str]:
        """Returns the state in which its job has ended, and why if it is not complete.

        Args:
            error: What the executor says of the end; None if nothing went wrong.
        """
        if self.failure:
            return "FAIL", self.failure
        if self.pruned:
            return "PRUNED", self.pruned
        if self.builder.finished is not None:
            return "COMPLETE", ""
        return "FAIL", error or "the job ended before it had finished"


class EventTaker:
    """Takes the events of trials, tells the study, and decides when a trial is stopped.

    Args:
        study: Its pruner is asked.
        finetune: Schedule of a whole finetune.
        looked_at: Finetuning epochs at which the study is told and the pruner asked.
        rungs: Where trials wait.
    """

    def __init__(
        self, study: Study, finetune: FinetuneConfig, looked_at: frozenset[int], rungs: Rungs
    ) -> None:
        self._study, self._finetune = study, finetune
        self._looked_at, self._rungs = looked_at, rungs

    def take(self, run: LiveTrial, event: Event) -> Event:
        """Takes one event; returns it without the epochs after a stop."""
        if isinstance(event, ProbeDone):
            write_probe(run.trial, event)
            run.failure = next(filter(None, map(non_finite, event.snapshots)), "")
            if not (run.failure or run.decided_epoch):
                self._look(run)
        elif isinstance(event, EpochsDone):
            event = self._take_epochs(run, event)
        elif isinstance(event, Finished):
            run.failure = non_finite(event)
        run.builder.add(event)
        return event

    def _take_epochs(self, run: LiveTrial, event: EpochsDone) -> EpochsDone:
        for i, epoch in enumerate(event.epochs, start=1):
            run.failure = non_finite(epoch)
            if not run.failure and epoch.epoch in self._looked_at:
                report_once(run.trial, epoch)
                if epoch.epoch >= run.decided_epoch:
                    self._look(run)
                if not run.stopped:
                    self._wait(run, [*run.builder.epochs, *event.epochs[:i]])
            if run.stopped:
                return replace(event, epochs=event.epochs[:i])
        return event

    def _look(self, run: LiveTrial) -> None:
        """Asks the pruner about the trial as the study has it."""
        reason = ask_pruner(self._study.pruner, self._study, frozen(run.trial))
        # Baselines are asked about as well: the pruner may take notes of their rungs.
        if reason is not None and run.job.role == "search":
            run.pruned = reason

    def _wait(self, run: LiveTrial, curve: Sequence[FinetuneEpoch]) -> None:
        """Pauses the trial if it has come to a rung and is not among the best there."""
        rungs, epoch = self._rungs, curve[-1].epoch
        if epoch not in rungs.epochs:
            return
        seen = ((e.valid_acc, e.valid_loss) for e in curve)
        if stop_epoch(seen, self._finetune.patience_epochs) is not None:
            return  # it has just stopped by itself: what follows is its end
        rungs.came(run.number, epoch, max(e.valid_acc for e in curve))
        if epoch < run.decided_epoch:
            return
        if run.may_pause and not rungs.is_among_best(run.number, epoch):
            run.paused = epoch
