"""From trials of the study to jobs: what they are asked for, and which of them are repeats."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import Trial

from energytune.config import Recipe, SearchSpace
from energytune.optimizer.attrs import counts, first_runs, write_start
from energytune.optimizer.duplicates import tell_duplicate
from energytune.optimizer.live_trial import LiveTrial
from energytune.optimizer.suggest import suggest
from energytune.trial import Job
from energytune.trial.builder import RecordBuilder

__all__ = ["TrialJobs"]


class TrialJobs:
    """Begins trials; a recipe that was begun before is told what the first one was told.

    Args:
        study: The search's.
        space: What is searched.
        seed: Of every trial that has none of its own.

    Attributes:
        n_begun: Trials that were begun, those of earlier starts included.
    """

    def __init__(self, study: Study, space: SearchSpace, seed: int) -> None:
        self._study, self._space, self._seed = study, space, seed
        self.n_begun = sum(counts(trial) for trial in study.get_trials(deepcopy=False))
        self._first_runs = first_runs(study)

    def number_of(self, recipe: Recipe) -> int | None:
        """Returns the number of the trial that has run ``recipe``, or runs it; None if none has."""
        return self._first_runs.get(recipe.key())

    def ask(self) -> LiveTrial | None:
        """Begins one more trial; returns None if that was a repeat."""
        return self._begin(self._study.ask())

    def take_up(self, number: int) -> LiveTrial | None:
        """Begins a trial again that was lost; returns None if it was a repeat."""
        lost = self._study.get_trials(deepcopy=False)[number]
        # What it was asked for is in the study; what was not is asked for now, as it was then.
        trial = Trial(self._study, lost._trial_id)
        return self._begin(trial, decided_epoch=lost.last_step or 0)

    def forget(self, job: Job) -> None:
        """Is told of a trial that was interrupted: its recipe is begun anew by another one."""
        self.n_begun -= 1
        self._first_runs.pop(job.recipe.key(), None)

    def _begin(self, trial: Trial, decided_epoch: int = 0) -> LiveTrial | None:
        recipe = suggest(trial, self._space)
        attrs = trial.user_attrs
        job = Job(
            id=f"t{trial.number:03d}",
            number=trial.number,
            recipe=recipe,
            seed=attrs.get("seed", self._seed),
            role=attrs.get("role", "search"),
        )
        original = self.number_of(recipe)
        if original is not None and original != trial.number:
            tell_duplicate(self._study, trial, job, original)
            return None
        write_start(trial, job)
        if original is None:
            self._first_runs[recipe.key()] = trial.number
            self.n_begun += 1
        return LiveTrial(trial, RecordBuilder(job), decided_epoch=decided_epoch)
