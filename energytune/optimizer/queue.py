"""What stands before anything is sampled: baselines, trials that were interrupted or lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from optuna.distributions import check_distribution_compatibility
from optuna.study import Study
from optuna.trial import TrialState

from energytune.config import SearchSpace
from energytune.errors import OutputError
from energytune.optimizer.attrs import is_interrupted
from energytune.optimizer.suggest import distributions, fit_params, params_of
from energytune.trial import Role

__all__ = ["N_DUPLICATES", "baseline_roles", "prepare"]

N_DUPLICATES = 25
"""So many repeats in a row mean that the space is exhausted."""


def baseline_roles(taus: Iterable[int]) -> dict[Role, int]:
    """Returns the baselines' taus by role: 0 is plain finetuning, the largest is tau max."""
    wanted = sorted(set(taus))
    roles: dict[Role, int] = {}
    if wanted and wanted[0] == 0:
        roles["baseline_tau_0"] = 0
    if wanted and wanted[-1] > 0:
        roles["baseline_tau_max"] = wanted[-1]
    return roles


def prepare(
    study: Study,
    space: SearchSpace,
    *,
    baseline_taus: Iterable[int],
    seed: int,
    pause_epochs: Collection[int] = (),
) -> list[int]:
    """Makes the study ready for a start or for going on; doing it twice changes nothing.

    Trials that were interrupted, which Ctrl-C does, are enqueued again with the same recipe, after
    the baselines that are still missing. Trials that are RUNNING belong to a search that was
    killed. One that had finished and was only not told is told. One that was paused is left as it
    is, to go on from there. The others were lost: they are left RUNNING too, to go on under their
    number, so that the samplers see what they would have seen.

    Args:
        study: Any.
        space: What is searched.
        baseline_taus: 0 and tau max.
        seed: Seed of the baselines.
        pause_epochs: Epochs from which a paused trial can go on; empty if none can.

    Returns:
        Numbers of the trials that were lost, ascending.

    Raises:
        OutputError: If the study's trials were sampled from a space that can't be mixed with
            this one (other head architectures).
    """
    _check_space(study, space)
    lost: list[int] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        finished = trial.user_attrs.get("finished")
        if finished is not None:  # killed between the last write and the telling
            study.tell(trial.number, finished["objective"])
            continue
        if trial.user_attrs.get("paused") not in pause_epochs:
            lost.append(trial.number)

    trials = study.get_trials(deepcopy=False)
    roles_there = {t.user_attrs.get("role") for t in trials if not is_interrupted(t)}
    retried = {t.user_attrs.get("retry_of") for t in trials}
    to_retry = [t for t in trials if is_interrupted(t) and t.number not in retried]
    to_retry = [t for t in to_retry if "duplicate_of" not in t.user_attrs]

    for role, tau in baseline_roles(baseline_taus).items():
        if role in roles_there:
            continue
        recipe = space.baseline(tau)
        attrs = {"recipe": recipe.to_dict(), "role": role, "seed": seed}
        for trial in to_retry:
            if trial.user_attrs.get("role") == role:
                attrs["retry_of"] = trial.number
        study.enqueue_trial(params_of(recipe, space), user_attrs=attrs)
    for trial in to_retry:
        if trial.user_attrs.get("role", "search") == "search":
            kept = ("recipe", "role", "seed")
            attrs = {k: trial.user_attrs[k] for k in kept if k in trial.user_attrs}
            attrs["retry_of"] = trial.number
            study.enqueue_trial(fit_params(trial.params, space), user_attrs=attrs)
    return lost


def _check_space(study: Study, space: SearchSpace) -> None:
    ours = distributions(space)
    for trial in study.get_trials(deepcopy=False):
        for name, theirs in trial.distributions.items():
            if name not in ours:
                continue
            try:
                check_distribution_compatibility(theirs, ours[name])
            except ValueError as error:
                raise OutputError(
                    f"The study {study.study_name!r} was searched in another space: {name} was "
                    f"{theirs}, now it is {ours[name]}. Use that space again or choose another "
                    "output folder."
                ) from error
