"""The recipes that a sampler chooses from, as points of recipe and energy."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from scipy.spatial.distance import cdist

from energytune.errors import ConfigError
from energytune.optimizer.encoding import Encoding
from energytune.optimizer.energy_features import EnergyLookup, Known

__all__ = ["Pool", "feature_points", "make_pool", "representatives"]

Floats = NDArray[np.float64]
_WHOLE = 4096
"""A discrete space up to this size is looked at whole."""
_N_PARENTS, _N_NEIGHBOURS = 8, 32
_RECIPE_WEIGHT = 0.7
"""Of a parameter's coordinate beside the energy: it matters where the energy does not tell."""


@dataclass(frozen=True)
class Pool:
    """Candidates and what was run already.

    Attributes:
        params: The candidates, none of them run before.
        points: Their features, (candidates, F).
        seen: Features of the trials that were begun, (trials, F), in the given order.
        n_energy: How many of the F features, the last ones, are energy.
    """

    params: list[dict[str, Any]]
    points: Floats
    seen: Floats
    n_energy: int


def make_pool(
    encoding: Encoding,
    energy: EnergyLookup,
    *,
    seen: Sequence[tuple[FrozenTrial, float | None]],
    taken: Collection[Hashable],
    n_random: int,
    rng: np.random.Generator,
) -> Pool:
    """Returns the candidates of a space.

    All of a small discrete space; of another one random parameters and neighbours of the best.

    Args:
        encoding: Of the space.
        energy: What is known of parameters.
        seen: Trials to describe, with their values, higher is better.
        taken: Keys of all runs that were begun: they are no candidates.
        n_random: Random candidates.
        rng: Draws them.

    Raises:
        ConfigError: If energy features differ in number.
    """
    candidates: dict[Hashable, tuple[dict[str, Any], Known]] = {}
    for params in _proposals(encoding, seen, n_random, rng):
        found = energy(params)
        if found.key not in taken:
            candidates.setdefault(found.key, (params, found))
    new = [params for params, _ in candidates.values()]
    told = [t.params for t, _ in seen]
    known = [found for _, found in candidates.values()] + [energy(t.params) for t, _ in seen]
    points, n_energy = feature_points(encoding, new + told, known)
    return Pool(new, points[: len(new)], points[len(new) :], n_energy)


def feature_points(
    encoding: Encoding, params: Sequence[Mapping[str, Any]], known: Sequence[Known]
) -> tuple[Floats, int]:
    """Returns parameters as points of recipe and energy.

    Args:
        encoding: Of the space; each of ``params`` has all of it.
        params: N parameters.
        known: What is known of each; unknown energies are put at the mean of the known ones.

    Returns:
        (N, F), and how many of the F features, the last ones, are energy.

    Raises:
        ConfigError: If energy features differ in number.
    """
    told = [{name: one[name] for name in encoding.space} for one in params]
    features = _energies(known)
    return np.hstack([encoding.points(told) * _RECIPE_WEIGHT, features]), features.shape[1]


def representatives(pool: Pool, rng: np.random.Generator, n: int = 1) -> list[int]:
    """Returns the candidates that, beside all that was run, stand best for all candidates.

    Each leaves the least sum of squared distances from each candidate to the nearest one that was
    run or picked before it, in recipe and energy: the greedy steps of k-medoids. The first pick
    of a search is so the middle, the next ones spread out, and outliers come last.

    Args:
        pool: With at least one candidate.
        rng: Decides ties.
        n: Picks, >= 1; fewer if there are fewer candidates.
    """
    apart = cdist(pool.points, pool.points, "sqeuclidean")
    if len(pool.seen):
        nearest = cdist(pool.points, pool.seen, "sqeuclidean").min(axis=1)
        apart = np.minimum(apart, nearest[:, None])
    picks: list[int] = []
    for _ in range(min(n, len(pool.params))):
        left = apart.sum(axis=0)
        left[picks] = np.inf
        best = np.flatnonzero(left <= left.min() * (1 + 1e-9))
        picks.append(int(rng.choice(best)))
        if len(picks) < n:
            apart = np.minimum(apart, apart[:, picks[-1]][:, None])
    return picks


def _proposals(
    encoding: Encoding,
    seen: Sequence[tuple[FrozenTrial, float | None]],
    n_random: int,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    if encoding.n_values() <= _WHOLE:
        return list(encoding.every())
    proposals = [encoding.random(rng) for _ in range(n_random)]
    ranked = sorted(
        ((value, trial) for trial, value in seen if value is not None),
        key=lambda pair: (-pair[0], pair[1].number),
    )
    for _, trial in ranked[:_N_PARENTS]:
        parent = {name: trial.params[name] for name in encoding.space}
        proposals += [encoding.neighbour(parent, rng) for _ in range(_N_NEIGHBOURS)]
    return proposals


def _energies(known: Sequence[Known]) -> Floats:
    """Returns energy features, (N, E), unknown ones at the mean of the known; E may be 0."""
    told = [k.features for k in known if k.features is not None and np.isfinite(k.features).all()]
    widths = {len(features) for features in told}
    if len(widths) > 1:
        raise ConfigError(
            f"Energy features must be equally many for all parameters. Got {sorted(widths)}. "
            "Return None as the features of what was not probed."
        )
    if not told:
        return np.zeros((len(known), 0))
    mean = np.mean(told, axis=0)
    return np.array(
        [
            mean if k.features is None or not np.isfinite(k.features).all() else k.features
            for k in known
        ]
    )
