"""Between Optuna's parameters and recipes.

Log-integers can't start at 0 in Optuna, so ``tau`` is the parameter ``tau_plus_1``. Dimensions
with a single value are no parameters at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from energytune.config import DIMENSIONS, Recipe, SearchSpace, snap_to_grid

__all__ = ["distributions", "fit_params", "params_of", "recipe_of_params", "suggest"]

TAU = "tau_plus_1"


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Returns what is sampled: parameter name -> distribution, fixed dimensions left out."""
    smoothing, depth, rates = space.label_smoothing, space.reinit_depth, space.ft_lr
    every: dict[str, BaseDistribution] = {
        "tau": IntDistribution(space.tau.low + 1, space.tau.high + 1, log=True),
        "head_arch": CategoricalDistribution(space.head_arch.choices),
        "label_smoothing": FloatDistribution(
            smoothing.low,
            _last_step(smoothing.low, smoothing.high, smoothing.step),
            step=smoothing.step,
        ),
        "reinit_depth": IntDistribution(depth.low, depth.high),
        "ft_lr": FloatDistribution(rates.low, rates.high, log=rates.log),
    }
    fixed = space.fixed()
    return {TAU if k == "tau" else k: v for k, v in every.items() if k not in fixed}


def _last_step(low: float, high: float, step: float | None) -> float:
    """Returns the largest low + i * step <= high (Optuna warns if that isn't ``high``)."""
    if step is None:
        return high
    start, width = Decimal(str(low)), Decimal(str(step))
    return float(start + (Decimal(str(high)) - start) // width * width)


def suggest(trial: BaseTrial, space: SearchSpace) -> Recipe:
    """Samples a recipe; see :func:`recipe_of_params`.

    A trial that was enqueued with a whole recipe (user attribute ``recipe``: a baseline, or a
    trial that is run again) keeps that one, even where it lies outside the space. Its
    parameters are suggested all the same, so that all trials share one search space.
    """
    params = {name: _ask(trial, name, dist) for name, dist in distributions(space).items()}
    if "recipe" in trial.user_attrs:
        return Recipe(**trial.user_attrs["recipe"])
    return recipe_of_params(params, space)


def recipe_of_params(params: Mapping[str, Any], space: SearchSpace) -> Recipe:
    """Returns the recipe, in canonical form, that Optuna's parameters stand for.

    Args:
        params: A value of each of :func:`distributions`; further ones are not looked at.
        space: What is searched.

    Returns:
        tau snapped to the probe's grid if the space says so; smoothing and learning rate
        rounded to 4 significant digits.
    """
    fixed = space.fixed()
    values = {name: params[name] for name in DIMENSIONS if name in params} | fixed
    if "tau" not in fixed:
        tau = params[TAU] - 1
        values["tau"] = snap_to_grid(tau, space.tau.low, space.tau.high) if space.tau.snap else tau
    for name, bounds in (("label_smoothing", space.label_smoothing), ("ft_lr", space.ft_lr)):
        rounded = float(f"{values[name]:.4g}")
        values[name] = min(max(rounded, bounds.low), bounds.high)
    return Recipe(**values).canonical()


def _ask(trial: BaseTrial, name: str, dist: BaseDistribution) -> Any:
    if isinstance(dist, IntDistribution):
        return trial.suggest_int(name, dist.low, dist.high, log=dist.log)
    if isinstance(dist, FloatDistribution):
        return trial.suggest_float(name, dist.low, dist.high, step=dist.step, log=dist.log)
    if isinstance(dist, CategoricalDistribution):
        return trial.suggest_categorical(name, dist.choices)
    raise TypeError(f"No way to suggest from {dist!r}.")


def params_of(recipe: Recipe, space: SearchSpace) -> dict[str, Any]:
    """Returns the parameters of ``recipe`` to enqueue, moved into the space where outside."""
    values = recipe.to_dict()
    values[TAU] = values.pop("tau") + 1
    return fit_params(values, space)


def fit_params(params: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Returns the ``params`` that the space samples, each moved to its nearest legal value.

    Optuna warns about enqueued values that are out of range; the recipe that goes with them
    is stored beside them and is what is run.
    """
    fitted: dict[str, Any] = {}
    for name, dist in distributions(space).items():
        if name not in params:
            continue
        value = params[name]
        if isinstance(dist, IntDistribution | FloatDistribution):
            value = min(max(value, dist.low), dist.high)
            if isinstance(dist, FloatDistribution) and dist.step is not None:
                stepped = dist.low + round((value - dist.low) / dist.step) * dist.step
                value = min(stepped, dist.high)  # 6 * 0.05 is more than 0.3
            fitted[name] = value
        elif isinstance(dist, CategoricalDistribution) and value in dist.choices:
            fitted[name] = value
    return fitted
