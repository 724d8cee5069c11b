"""The study of a search, held against other drivers, and the jobs that come from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from energytune.config import SearchConfig
from energytune.data import Splits
from energytune.optimizer import (
    BaselineRepeats,
    Sampler,
    StudyConvergence,
    StudyLease,
    StudySource,
    bring_up_to_date,
    make_halving,
    open_study,
)
from energytune.progress import Progress
from energytune.search.confirmation import confirm_seeds
from energytune.search.folder import RunFolder
from energytune.search.spending import Spending
from energytune.trial import Observer, TrialRecord

if TYPE_CHECKING:
    from optuna.study import Study

__all__ = ["SearchStudy"]

_N_REPEATS = 2
"""Further runs of each baseline, from which the seed deviation is known during the search."""


class SearchStudy:
    """Context manager: gives the study back at its end.

    Args:
        config: The search, its space as the backbone allows it.
        folder: The search's.
        progress: Told of another driver that is waited for, and of a copy that was made.

    Attributes:
        repeats: The baselines' repeats with the search behind them, if it is to end by the seed's
            noise; else None.
    """

    def __init__(self, config: SearchConfig, folder: RunFolder, progress: Progress) -> None:
        self._config, self._folder, self._progress = config, folder, progress
        self._pruner, self._rungs = make_halving(config.pruner, config.space.finetune.epochs)
        self._held = ExitStack()
        self._study: Study | None = None
        self._lease: StudyLease | None = None
        self.repeats: BaselineRepeats | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives the study back."""
        self._held.close()

    def open(self, sampler: Sampler) -> Study:
        """Opens the study, takes it, and brings it up to date.

        Raises:
            ResourceError: Another driver runs it, or the database does not answer.
            OutputError: It can't be written, or is of a later version.
            ConfigError: Its storage can't be understood.
        """
        storage = self._folder.storage
        study = open_study(storage, self._folder.study_name, sampler=sampler, pruner=self._pruner)
        self._lease = self._held.enter_context(StudyLease(study, on_wait=self._progress.note))
        if copy := bring_up_to_date(study, storage):
            self._progress.note(f"the study is of an earlier version: a copy of it is {copy}")
        self._study = study
        return study

    def raise_if_lost(self) -> None:
        """Raises ResourceError if another driver has taken the study over."""
        if self._lease is not None:
            self._lease.raise_if_lost()

    def source(
        self,
        splits: Splits,
        spending: Spending,
        observers: Sequence[Observer],
        *,
        confirmed_on: Collection[int],
        earlier: Sequence[TrialRecord],
    ) -> StudySource:
        """Returns the trials of the search as a source of jobs; the study must be open.

        Args:
            splits: The data.
            spending: What the search may spend.
            observers: Told of each job.
            confirmed_on: Seeds of the confirmation, of which the repeats do some beforehand.
            earlier: Jobs of earlier starts that are not in the study.
        """
        if self._study is None:
            raise RuntimeError("SearchStudy.open() comes first.")
        config, space = self._config, self._config.space
        taus = config.baseline_taus
        if taus is None:
            taus = (space.tau.low, space.tau.high)

        def n_confirmed() -> int:
            complete = self.repeats.complete if self.repeats else []
            return sum(record.job.seed in confirmed_on for record in complete)

        source = StudySource(
            self._study,
            space,
            n_trials=config.n_trials,
            seed=config.seed,
            n_ft_epochs=config.ft_epochs_budget,
            baseline_taus=taus,
            limits=[
                StudyConvergence(
                    self._study, lambda: self.repeats.deviation() if self.repeats else None
                )
            ],
            budgets=[lambda: spending.reason(lambda: source.records, n_confirmed)],
            rungs=self._rungs,
            # Whole baselines tell early what the seed does and how long a trial takes.
            pause_baselines=config.until == "trials" and not config.is_timed,
            n_finalists=1 if config.ft_epochs_budget else config.n_confirm_recipes,
            # Of other metrics the standard error is not known.
            n_valid=len(splits.valid) if splits.task.metric == "accuracy" else None,
            observers=observers,
        )
        self.repeats = self._repeats(source, observers, earlier)
        spending.gpu.add_earlier(source.records)
        return source

    def _repeats(
        self, source: StudySource, observers: Sequence[Observer], earlier: Sequence[TrialRecord]
    ) -> BaselineRepeats | None:
        """Adds the baselines' repeats to the search if it is to end by the seed's noise."""
        if self._config.until != "converged":
            return None
        seeds = confirm_seeds(self._config.seed, _N_REPEATS)
        return BaselineRepeats(source, seeds, earlier=earlier, observers=observers)
