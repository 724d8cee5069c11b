"""The energy map as a sampler reads it: Optuna's parameters -> what probing knows of them.

Two vocabularies lead to the map. A search's parameters become a recipe exactly as when a trial is
begun; a user's own objective names them as a recipe does, and leaves out what it does not vary.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from energytune.config import MapHead, SearchSpace
from energytune.errors import ConfigError
from energytune.optimizer.energy_features import Known, energy_features
from energytune.optimizer.suggest import recipe_of_params
from energytune.training import ProbeSnapshot

__all__ = ["MapLookup"]

_CLOSE = 1e-6
"""Two smoothings so near are one: a step of 0.05, taken three times, is not 0.15."""
_HEAD = {
    "reinit_depth": "reinit_depth",
    "head_arch": "head_arch",
    "label_smoothing": "label_smoothing",
    "hp_lr": "lr",
    "hp_weight_decay": "weight_decay",
}
"""Parameters that choose the head: name -> field of :class:`~energytune.config.MapHead`."""
_OURS = frozenset({"tau", "tau_plus_1", "ft_lr", *_HEAD})

_Kind = tuple[int, str, float, float]


@dataclass(frozen=True)
class _Start:
    """Where a finetune starts: head and epoch of the map, and the rate it goes on with."""

    kind: _Kind
    label_smoothing: float
    tau: int
    ft_lr: float


class MapLookup:
    """An :data:`~energytune.optimizer.energy_features.EnergyLookup` on an energy map.

    A trial's head is the map's of the same depth, architecture and probing rate; of several
    seeds the first. Of a depth that was not probed it is the next shallower one's: deeper cuts
    train real layers, a probe of all of them costs more than it tells, and what the depth itself
    does the sampler's model learns from the parameter beside the energy. Of two smoothings of the
    map the nearer one is taken, outside of them nothing is known. The snapshot is the one nearest
    to tau on a log(1 + tau) scale, the smaller of two equally near; beyond the last one it is the
    last. It pickles.

    Args:
        rows: Heads with their snapshots, ascending in epoch; heads without any are not known.
        space: The searched space, whose parameters are then those of
            :func:`~energytune.optimizer.suggest.distributions`. None is a user's own objective,
            with parameters named ``tau`` or ``tau_plus_1``, ``head_arch``, ``label_smoothing``,
            ``reinit_depth``, ``ft_lr``, ``hp_lr``, ``hp_weight_decay``. One that is missing has
            the map's only value; ``ft_lr`` may be missing everywhere. Others are allowed:
            trials that differ in one are no repeats.

    Raises:
        ConfigError: If no head has a snapshot. When called: if a parameter is missing of which
            the map has several values, or has a wrong type or value.
    """

    def __init__(
        self,
        rows: Iterable[tuple[MapHead, Sequence[ProbeSnapshot]]],
        space: SearchSpace | None = None,
    ) -> None:
        curves: dict[_Kind, dict[float, tuple[ProbeSnapshot, ...]]] = {}
        heads = []
        for head, snapshots in rows:
            if snapshots:
                heads.append(head)
                of_kind = curves.setdefault(_kind_of(head), {})
                of_kind.setdefault(head.label_smoothing, tuple(snapshots))
        if not heads:
            raise ConfigError(
                "The energy map must have a snapshot of at least one head. Got none. Probe it "
                "again, with a smaller rate if all heads failed."
            )
        self._curves, self._space = curves, space
        self._first_probe = (heads[0].lr, heads[0].weight_decay)
        seen = [s for of_kind in curves.values() for curve in of_kind.values() for s in curve]
        self._aie_max = max(snapshot.aie for snapshot in seen)
        self._pull_max = max(snapshot.pull_norm for snapshot in seen)
        self._only = {
            name: next(iter(values)) if len(values := {getattr(h, f) for h in heads}) == 1 else None
            for name, f in _HEAD.items()
        }
        self._only["tau"] = seen[0].epoch if len({s.epoch for s in seen}) == 1 else None

    def __call__(self, params: Mapping[str, Any]) -> Known:
        """Returns what is known of a trial's parameters."""
        if self._space is None:
            start = self._start(params)
            return Known(_key(start, params), self._features(start))
        recipe = recipe_of_params(params, self._space)
        probe = self._space.probe
        kind = (recipe.reinit_depth, recipe.head_arch, probe.lr, probe.weight_decay)
        start = _Start(kind, recipe.label_smoothing, recipe.tau, recipe.ft_lr)
        return Known(recipe.key(), self._features(start))

    def _features(self, start: _Start) -> tuple[float, ...] | None:
        curve = _nearest_curve(self._shallower(start.kind), start)
        if curve is None:
            return None
        return energy_features(
            _nearest(curve, start.tau),
            start.ft_lr,
            aie_max=self._aie_max,
            pull_max=self._pull_max,
        )

    def _shallower(self, kind: _Kind) -> Mapping[float, tuple[ProbeSnapshot, ...]]:
        """Returns the curves by smoothing of the deepest probed cut that is not below this one."""
        depth, *head = kind
        probed = (self._curves.get((d, *head)) for d in range(depth, -1, -1))  # type: ignore[arg-type]
        return next((curves for curves in probed if curves), {})

    def _start(self, params: Mapping[str, Any]) -> _Start:
        """Reads a user's own parameters, in canonical form."""
        if "tau_plus_1" in params and "tau" not in params:
            tau = _whole("tau_plus_1", params["tau_plus_1"], 1) - 1
        else:
            tau = _whole("tau", self._value("tau", params), 0)
        depth = _whole("reinit_depth", self._value("reinit_depth", params), 0)
        arch = self._value("head_arch", params)
        if not isinstance(arch, str):
            raise ConfigError(f"head_arch must be a name. Got {arch!r}. Suggest 'linear' or 'mlp'.")
        ft_lr = _number("ft_lr", params.get("ft_lr", 1.0), "> 0", lambda v: v > 0)
        if tau == 0:  # nothing is probed: how it would be has no effect
            return _Start((depth, arch, *self._first_probe), 0.0, tau, ft_lr)
        lr = _number("hp_lr", self._value("hp_lr", params), "> 0", lambda v: v > 0)
        decay = self._value("hp_weight_decay", params)
        decay = _number("hp_weight_decay", decay, ">= 0", lambda v: v >= 0)
        smoothing = self._value("label_smoothing", params)
        smoothing = _number("label_smoothing", smoothing, "in [0, 1)", lambda v: 0 <= v < 1)
        return _Start((depth, arch, lr, decay), float(f"{smoothing:.4g}"), tau, ft_lr)

    def _value(self, name: str, params: Mapping[str, Any]) -> Any:
        """Returns a parameter, the map's only value where it is missing."""
        if name in params:
            return params[name]
        value = self._only[name]
        if value is None:
            raise ConfigError(
                f"Parameter {name!r} must be among the trial's, for the energy map has several "
                f"values of it. Got {sorted(params)}. Suggest it, or probe a map of one value."
            )
        return value


def _key(start: _Start, params: Mapping[str, Any]) -> Hashable:
    own = tuple(sorted((name, params[name]) for name in params if name not in _OURS))
    return (start, own)


def _kind_of(head: MapHead) -> _Kind:
    return (head.reinit_depth, head.head_arch, head.lr, head.weight_decay)


def _nearest_curve(
    by_smoothing: Mapping[float, tuple[ProbeSnapshot, ...]], start: _Start
) -> tuple[ProbeSnapshot, ...] | None:
    """Returns the curve of the nearest smoothing; None outside of those that were probed."""
    if not by_smoothing:
        return None
    low, high = min(by_smoothing) - _CLOSE, max(by_smoothing) + _CLOSE
    if start.tau > 0 and not low <= start.label_smoothing <= high:
        return None
    return by_smoothing[min(by_smoothing, key=lambda eps: abs(eps - start.label_smoothing))]


def _nearest(curve: Sequence[ProbeSnapshot], tau: int) -> ProbeSnapshot:
    right = bisect_left(curve, tau, key=lambda snapshot: snapshot.epoch)
    if right == 0:
        return curve[0]
    if right == len(curve):
        return curve[-1]
    below, above = curve[right - 1], curve[right]
    return below if (1 + tau) ** 2 <= (1 + below.epoch) * (1 + above.epoch) else above


def _whole(name: str, value: Any, low: int) -> int:
    number = _number(name, value, f">= {low} and whole", lambda v: v >= low and v == int(v))
    return int(number)


def _number(name: str, value: Any, rule: str, holds: Callable[[float], bool]) -> float:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and holds(number)):
        raise ConfigError(
            f"Parameter {name!r} must be a number {rule}. Got {value!r}. Suggest it from there, "
            "or name the parameter otherwise."
        )
    return number
