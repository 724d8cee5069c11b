"""The same search as plain ``study.optimize``: the reference for every other executor."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from optuna.exceptions import TrialPruned
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from energytune.config import SearchSpace
from energytune.errors import TrialFailure
from energytune.optimizer.attrs import counts, first_runs, job_of, report_ends, write_probe
from energytune.optimizer.queue import N_DUPLICATES, prepare
from energytune.optimizer.rungs import reported_epochs
from energytune.optimizer.study import quiet_optuna
from energytune.optimizer.suggest import suggest
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Finished, ProbeDone, RunJob
from energytune.trial.builder import non_finite

__all__ = ["optimize_serially"]


def optimize_serially(
    study: Study,
    space: SearchSpace,
    n_trials: int,
    run_job: RunJob,
    *,
    seed: int = 0,
    baseline_taus: Iterable[int] = (0, 4096),
) -> None:
    """Runs the search of :class:`~energytune.optimizer.StudySource` as ``study.optimize``.

    One trial at a time in this process, through ``trial.report`` and ``trial.should_prune``
    only. It leaves the same parameters, states, values and steps in the study; of the user
    attributes it sets just what the pruner reads.

    Args:
        study: See :class:`~energytune.optimizer.StudySource`.
        space: What is searched.
        n_trials: Trials to begin, those already in the study included.
        run_job: Runs a trial.
        seed: Seed of every trial.
        baseline_taus: 0 and tau max.
    """
    looked_at = reported_epochs(study.pruner, space.finetune.epochs)

    def objective(trial: Trial) -> float:
        recipe = suggest(trial, space)
        original = first_runs(study).get(recipe.key())
        if original is not None and original != trial.number:
            trial.set_user_attr("duplicate_of", original)
            return _repeat(study.get_trials(deepcopy=False)[original], trial)
        trial.set_user_attr("recipe", recipe.to_dict())
        attrs = {"seed": seed, **trial.user_attrs}
        may_prune = attrs.get("role", "search") == "search"
        curve: list[FinetuneEpoch] = []

        def look(failure: str) -> None:
            if failure:
                raise TrialFailure(failure)
            if trial.should_prune() and may_prune:
                raise TrialPruned

        with closing(run_job(job_of(trial.number, attrs))) as events:
            for event in events:
                if isinstance(event, ProbeDone):
                    write_probe(trial, event)
                    look(next(filter(None, map(non_finite, event.snapshots)), ""))
                elif isinstance(event, Finished):
                    if failure := non_finite(event):
                        raise TrialFailure(failure)
                    report_ends(trial, curve, event)
                    return event.objective
                elif isinstance(event, EpochsDone):
                    for epoch in event.epochs:
                        curve.append(epoch)
                        if failure := non_finite(epoch):
                            raise TrialFailure(failure)
                        if epoch.epoch in looked_at:
                            trial.report(epoch.valid_acc, epoch.epoch)
                            look("")
        raise TrialFailure("the job ended before it had finished")

    def stop_when_done(study: Study, last: FrozenTrial) -> None:
        trials = study.get_trials(deepcopy=False)
        if "duplicate_of" not in last.user_attrs and sum(map(counts, trials)) >= n_trials:
            study.stop()
        if len(trials) >= N_DUPLICATES and all(
            "duplicate_of" in trial.user_attrs for trial in trials[-N_DUPLICATES:]
        ):
            study.stop()

    with quiet_optuna():
        prepare(study, space, baseline_taus=baseline_taus, seed=seed)
        if sum(map(counts, study.get_trials(deepcopy=False))) < n_trials:
            study.optimize(objective, catch=(Exception,), callbacks=[stop_when_done])


def _repeat(original: FrozenTrial, trial: Trial) -> float:
    """Ends ``trial`` as ``original`` has ended."""
    if original.state == TrialState.COMPLETE and original.value is not None:
        return original.value
    if original.state != TrialState.PRUNED:
        raise TrialFailure(f"duplicate of trial {original.number}")
    if original.last_step is not None:
        trial.report(original.intermediate_values[original.last_step], original.last_step)
    raise TrialPruned
