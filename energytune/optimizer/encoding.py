"""Optuna's parameters as points of a unit cube, for models of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

__all__ = ["Encoding", "only_value"]

Floats = NDArray[np.float64]


class Encoding:
    """Turns parameters into points and back.

    A number becomes one coordinate in [0, 1], on a log scale if its distribution has one; a
    categorical parameter of C choices becomes C coordinates, one of them sqrt(1/2) and the rest
    0, so that two different choices are 1 apart.

    Args:
        space: Parameter name -> distribution.

    Attributes:
        space: The same.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.space = dict(space)

    def point(self, params: Mapping[str, Any]) -> Floats:
        """Returns the point of ``params``; each parameter of the space must be there."""
        coordinates: list[float] = []
        for name, dist in self.space.items():
            if isinstance(dist, CategoricalDistribution):
                chosen = dist.to_internal_repr(params[name])
                coordinates += [
                    math.sqrt(0.5) if i == chosen else 0.0 for i in range(len(dist.choices))
                ]
            else:
                coordinates.append(_position(dist, params[name]))
        return np.array(coordinates)

    def points(self, many: list[dict[str, Any]]) -> Floats:
        """Returns the points of many parameters, (N, coordinates)."""
        width = sum(
            len(d.choices) if isinstance(d, CategoricalDistribution) else 1
            for d in self.space.values()
        )
        return np.array([self.point(params) for params in many]).reshape(len(many), width)

    def n_values(self) -> float:
        """Returns how many different parameters there are; infinity if one is continuous."""
        return math.prod(_n_values(dist) for dist in self.space.values())

    def every(self) -> Iterator[dict[str, Any]]:
        """Yields all parameters of a space without a continuous one, in a fixed order."""
        values = [list(_values(dist)) for dist in self.space.values()]
        for combination in product(*values):
            yield dict(zip(self.space, combination, strict=True))

    def random(self, rng: np.random.Generator) -> dict[str, Any]:
        """Returns parameters drawn evenly over the unit cube."""
        return {name: _drawn(dist, rng) for name, dist in self.space.items()}

    def neighbour(self, params: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Returns ``params`` with one or two of them changed, numbers by about a tenth."""
        changed = dict(params)
        names = list(self.space)
        n_changes = min(len(names), int(rng.integers(1, 3)))
        for index in rng.choice(len(names), size=n_changes, replace=False):
            name = names[index]
            dist = self.space[name]
            if isinstance(dist, CategoricalDistribution):
                changed[name] = _drawn(dist, rng)
            else:
                position = _position(dist, params[name]) + float(rng.normal(0.0, 0.1))
                changed[name] = _value(dist, min(max(position, 0.0), 1.0))
        return changed


def only_value(dist: BaseDistribution) -> Any:
    """Returns the value of a distribution that has a single one."""
    return _drawn(dist, np.random.default_rng(0))


def _bounds(dist: BaseDistribution) -> tuple[float, float]:
    """Returns low and high on the scale of the coordinate."""
    if not isinstance(dist, IntDistribution | FloatDistribution):
        raise TypeError(f"No way to encode {dist!r}.")
    if dist.log:
        return math.log(dist.low), math.log(dist.high)
    return float(dist.low), float(dist.high)


def _position(dist: BaseDistribution, value: Any) -> float:
    low, high = _bounds(dist)
    if low == high:
        return 0.0
    log = isinstance(dist, IntDistribution | FloatDistribution) and dist.log
    scaled = math.log(value) if log else float(value)
    return (scaled - low) / (high - low)


def _value(dist: BaseDistribution, position: float) -> Any:
    """Returns the legal value that is nearest to a position in [0, 1]."""
    low, high = _bounds(dist)
    scaled = low + position * (high - low)
    if isinstance(dist, IntDistribution):
        value = math.exp(scaled) if dist.log else scaled
        stepped = dist.low + round((value - dist.low) / dist.step) * dist.step
        return int(min(max(stepped, dist.low), dist.high))
    if not isinstance(dist, FloatDistribution):
        raise TypeError(f"No way to encode {dist!r}.")
    value = math.exp(scaled) if dist.log else scaled
    if dist.step is not None:
        value = dist.low + round((value - dist.low) / dist.step) * dist.step
    return float(min(max(value, dist.low), dist.high))


def _drawn(dist: BaseDistribution, rng: np.random.Generator) -> Any:
    if isinstance(dist, CategoricalDistribution):
        return dist.choices[int(rng.integers(len(dist.choices)))]
    return _value(dist, float(rng.random()))


def _n_values(dist: BaseDistribution) -> float:
    if isinstance(dist, CategoricalDistribution):
        return len(dist.choices)
    if isinstance(dist, IntDistribution):
        return (dist.high - dist.low) // dist.step + 1
    if isinstance(dist, FloatDistribution) and dist.step is not None:
        return round((dist.high - dist.low) / dist.step) + 1
    return 1.0 if dist.single() else math.inf


def _values(dist: BaseDistribution) -> Iterator[Any]:
    if isinstance(dist, CategoricalDistribution):
        yield from dist.choices
    elif isinstance(dist, IntDistribution):
        yield from range(dist.low, dist.high + 1, dist.step)
    elif isinstance(dist, FloatDistribution):
        for i in range(int(_n_values(dist))):
            yield dist.low if dist.step is None else min(dist.low + i * dist.step, dist.high)
