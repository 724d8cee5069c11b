"""A suggested recipe that was begun before is not run: it is told what the first one was told."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import Trial, TrialState

from energytune.optimizer.attrs import write_duplicate
from energytune.trial import Job

__all__ = ["n_duplicates", "tell_duplicate"]


def tell_duplicate(study: Study, trial: Trial, job: Job, number: int) -> None:
    """Ends a trial that is not run.

    One whose original has not ended is told FAIL, which samplers take no notice of.

    Args:
        study: The trial's.
        trial: Asked for, not told.
        job: What would be run.
        number: Of the trial with the same recipe.
    """
    original = study.get_trials(deepcopy=False)[number]
    if original.state == TrialState.RUNNING:
        write_duplicate(trial, job, number, f"duplicate of running trial {number}")
        study.tell(trial, state=TrialState.FAIL)
        return
    write_duplicate(trial, job, number, f"duplicate of trial {number}")
    if original.state == TrialState.COMPLETE:
        study.tell(trial, original.value)
        return
    if original.state == TrialState.PRUNED and original.last_step is not None:
        # Optuna takes the value of a pruned trial from its last report.
        step = original.last_step
        trial.report(original.intermediate_values[step], step)
    study.tell(trial, state=original.state)


def n_duplicates(study: Study) -> int:
    """Returns how many suggestions of ``study`` were not run because they had been begun."""
    return sum("duplicate_of" in trial.user_attrs for trial in study.get_trials(deepcopy=False))
