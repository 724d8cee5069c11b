"""What a search is going to cost, before its first trial: pure functions from numbers to numbers.

What is decided while it runs is not known before, so a plan gives the least and the most: a
finetune may stop by itself as early as its patience allows, or never; the confirmation may drop
all but one recipe after the first seed, or none. A pruner may stop trials before finetuning: that
saves more than the plan says. Seconds are those of training, as one trial alone takes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from energytune.config import SearchConfig, snapshot_epochs
from energytune.optimizer import make_halving
from energytune.report.cost_plan import SearchPlan, Span, TrialPlan
from energytune.search.prepare import map_grid
from energytune.trial.timing import Timing

__all__ = ["least_bytes", "make_plan", "n_confirm_runs", "plan_trials"]

_TRIAL_BYTES, _EPOCH_BYTES = 10_000, 300
"""Of a trial's records, study and journals on disk, and for each of its epochs in all of them;
20 trials of up to 200 epochs had 1.4 MB."""
_FIXED_BYTES = 4_000_000
"""MLflow's database, the report, and what else a search of any size writes."""
_MEDIAN_GRACE = 0.08


def plan_trials(
    n_trials: int,
    n_baselines: int,
    n_epochs: int,
    *,
    rungs: Sequence[int] = (),
    reduction_factor: int = 4,
    n_finalists: int = 1,
    patience_epochs: int | None = None,
) -> TrialPlan:
    """Returns what trials run under successive halving; without rungs all run to the end.

    Args:
        n_trials: Baselines included, >= 1.
        n_baselines: Of them run whole, >= 0.
        n_epochs: Epochs of a whole finetune, >= 1.
        rungs: Epochs at which one of every ``reduction_factor`` goes on, ascending, each in
            [1, n_epochs).
        reduction_factor: >= 2.
        n_finalists: So many beside the baselines are run to the end at least.
        patience_epochs: A finetune may end by itself so many epochs after its best; None never.
    """
    n_baselines = min(n_baselines, n_trials)
    n_others = n_trials - n_baselines
    steps = (*rungs, n_epochs)
    come = [n_others]
    for _ in rungs:
        come.append(min(come[-1], (come[-1] + n_baselines) // reduction_factor))
    come[-1] = min(n_others, max(come[-1], n_finalists))
    for i in reversed(range(len(rungs))):  # who is run to the end has come to all rungs before
        come[i] = max(come[i], come[i + 1])
    shortest = n_epochs if patience_epochs is None else min(n_epochs, patience_epochs + 1)
    low = high = 0
    before = 0
    for step, n_here in zip(steps, come, strict=True):
        high += (n_here + n_baselines) * (step - before)
        low += (n_here + n_baselines) * max(0, min(step, shortest) - before)
        before = step
    return TrialPlan(
        rungs=steps,
        n_come=tuple(n_here + n_baselines for n_here in come),
        ft_epochs=Span(low, high),
    )


def make_plan(
    config: SearchConfig, timing: Timing, *, concurrency: int, feature_bytes: int = 0
) -> SearchPlan:
    """Returns the plan of a search that begins anew.

    Args:
        config: The search, its space as the backbone allows it.
        timing: Of this machine.
        concurrency: Trials at once, >= 1.
        feature_bytes: Of the features that were cached for it.
    """
    space = config.space
    n_epochs, patience = space.finetune.epochs, space.finetune.patience_epochs
    n_baselines = len(_baseline_taus(config))
    trials = _trials(config, n_baselines, patience)
    grid = map_grid(space, config.seed) if config.sampler == "energy" else None
    hp_epochs = _hp_epochs(config)

    n_recipes = min(config.n_confirm_recipes, max(0, config.n_trials - n_baselines)) + n_baselines
    n_recipes = max(1, n_recipes)
    n_seeds = config.n_confirm_seeds
    n_kept = min(n_recipes, 1 + n_baselines)
    runs = Span(n_recipes + n_kept * (n_seeds - 1), n_recipes * n_seeds)
    shortest = n_epochs if patience is None else min(n_epochs, patience + 1)
    confirm = Span(runs.low * shortest, runs.high * n_epochs)

    ft_s = (trials.ft_epochs + confirm).times(timing.ft_epoch_s)
    hp_s = (hp_epochs + _confirm_hp_epochs(config)).times(timing.hp_epoch_s)
    n_waiting = trials.n_come[0] - trials.n_come[-1]
    weights = timing.weights_bytes
    least = _written_bytes(config) + feature_bytes + 2 * weights  # the winner's, and MLflow's copy
    epochs_bytes = _EPOCH_BYTES * (trials.ft_epochs.high + confirm.high)
    paused_bytes = n_waiting * timing.state_bytes
    disk = Span(least, least + epochs_bytes + (runs.high - 1) * weights + paused_bytes)
    return SearchPlan(
        n_trials=config.n_trials,
        is_most=_may_end_before(config),
        trials=trials,
        n_map_heads=len(grid.heads()) if grid else 0,
        map_hp_epochs=grid.tau_max if grid else 0,
        hp_epochs=hp_epochs,
        n_confirm_runs=runs,
        confirm_ft_epochs=confirm,
        train_s=(ft_s + hp_s).times(1 / concurrency),
        disk_bytes=disk,
        concurrency=concurrency,
        hp_epoch_s=timing.hp_epoch_s,
        ft_epoch_s=timing.ft_epoch_s,
    )


def n_confirm_runs(config: SearchConfig) -> int:
    """Returns the finetunes that the confirmation needs at most."""
    return (config.n_confirm_recipes + len(_baseline_taus(config))) * config.n_confirm_seeds


def least_bytes(config: SearchConfig, weights_bytes: int) -> int:
    """Returns what a search writes in any case: records, and weights until the winner is known."""
    return _written_bytes(config) + (n_confirm_runs(config) + 1) * weights_bytes


def _baseline_taus(config: SearchConfig) -> set[int]:
    tau, taus = config.space.tau, config.baseline_taus
    return set((tau.low, tau.high) if taus is None else taus)


def _written_bytes(config: SearchConfig) -> int:
    return config.n_trials * _TRIAL_BYTES + _FIXED_BYTES


def _trials(config: SearchConfig, n_baselines: int, patience: int | None) -> TrialPlan:
    n_epochs = config.space.finetune.epochs
    _, rungs = make_halving(config.pruner, n_epochs)
    plan = plan_trials(
        config.n_trials,
        n_baselines,
        n_epochs,
        rungs=[epoch for epoch in rungs.epochs if epoch < n_epochs],
        n_finalists=1 if config.ft_epochs_budget else config.n_confirm_recipes,
        patience_epochs=patience,
    )
    low, high = plan.ft_epochs.low, plan.ft_epochs.high
    if config.pruner == "median":  # it looks from the grace on, and may stop half of the trials
        n_others = config.n_trials - min(n_baselines, config.n_trials)
        low -= n_others / 2 * (low / config.n_trials - math.ceil(_MEDIAN_GRACE * n_epochs))
    if config.ft_epochs_budget is not None:  # those that run go on for a while
        most = config.ft_epochs_budget + 2 * n_epochs
        low, high = min(low, config.ft_epochs_budget), min(high, most)
    return TrialPlan(plan.rungs, plan.n_come, Span(max(0.0, low), high))


def _hp_epochs(config: SearchConfig) -> Span:
    """Returns 0, for all may be in the cache, and what trials evenly over tau's grid would probe.

    Baselines have their own tau.
    """
    tau, taus = config.space.tau, _baseline_taus(config)
    grid = [epoch for epoch in snapshot_epochs(tau.high) if epoch >= tau.low] or [tau.high]
    n_others = max(0, config.n_trials - len(taus))
    return Span(0.0, sum(taus) + n_others * sum(grid) / len(grid))


def _confirm_hp_epochs(config: SearchConfig) -> Span:
    """Returns what the confirmation probes: on further seeds nothing is in the cache."""
    baselines = sum(_baseline_taus(config))
    most = baselines + config.n_confirm_recipes * config.space.tau.high
    return Span(baselines, most * config.n_confirm_seeds)


def _may_end_before(config: SearchConfig) -> bool:
    limits = (config.time_budget_s, config.ft_epochs_budget, config.gpu_hours, config.max_disk)
    return config.until == "converged" or any(limit is not None for limit in limits)
