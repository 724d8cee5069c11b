"""What the energy rules know of a trial: plain values, read from any trial of any study.

A trial takes part once its user attribute ``hp`` (a dict of numbers at the end of head probing) or
``snapshots`` (a list of such dicts, the last at the end) is set. What was probed is read from the
user attribute ``recipe`` if there is one, else from the trial's own parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from typing import Any

from optuna.trial import FrozenTrial

from energytune.errors import ConfigError
from energytune.training import ProbeSnapshot

__all__ = ["Probed", "probed_of"]

_FIELDS = tuple(field.name for field in fields(ProbeSnapshot))
_RULES_READ = ("train_acc", "aie", "head_norm", "valid_loss")
_NOT_KIND = frozenset({"tau", "tau_plus_1", "label_smoothing", "ft_lr"})


@dataclass(frozen=True)
class Probed:
    """A trial whose head probing has ended.

    Attributes:
        number: Number of the trial.
        kind: All other parameters as text, for example ``"head_arch='mlp', reinit_depth=1"``.
            Only trials of one kind are compared, so a user's own parameters are part of it.
        tau: Head-probing epochs, >= 0; None if not known.
        label_smoothing: Smoothing in head probing, in [0, 1); None if it is no parameter.
        ft_lr: Peak finetuning rate, > 0; None if it is no parameter.
        snapshots: Numbers by name, as in :class:`~energytune.training.ProbeSnapshot`, any of
            them missing. Ascending in epoch, at least one; the last is at tau.
    """

    number: int
    kind: str
    tau: int | None
    label_smoothing: float | None
    ft_lr: float | None
    snapshots: tuple[Mapping[str, float], ...]

    @property
    def last(self) -> Mapping[str, float]:
        """The head with which finetuning starts."""
        return self.snapshots[-1]

    @property
    def earlier(self) -> Mapping[str, float] | None:
        """The last snapshot, not at epoch 0, of the first half of probing; None without one."""
        if len(self.snapshots) < 2:
            return None
        half = self.last["epoch"] / 2
        return next((s for s in reversed(self.snapshots) if 0 < s["epoch"] <= half), None)


def probed_of(trial: FrozenTrial) -> Probed | None:
    """Reads a trial.

    Parameters known by name: ``tau`` or ``tau_plus_1``, ``label_smoothing``, ``ft_lr``; any may be
    missing. Without a parameter for it, tau is the epoch of the last snapshot.

    Args:
        trial: In any state.

    Returns:
        None if probing of ``trial`` has not ended, or it stores nothing of it.

    Raises:
        ConfigError: If an attribute or a parameter known by name has a wrong type or value.
    """
    snapshots = _snapshots(trial.user_attrs)
    if not snapshots:
        return None
    params = trial.user_attrs.get("recipe", trial.params)
    if not isinstance(params, Mapping):
        raise ConfigError(
            f"User attribute 'recipe' must be a dict of parameters. Got {params!r}. "
            "Leave it out to have the trial's own parameters read."
        )
    return Probed(
        number=trial.number,
        kind=", ".join(f"{k}={v!r}" for k, v in sorted(params.items()) if k not in _NOT_KIND),
        tau=_tau(params, snapshots[-1]),
        label_smoothing=_label_smoothing(params),
        ft_lr=_ft_lr(params),
        snapshots=snapshots,
    )


def _snapshots(attrs: Mapping[str, Any]) -> tuple[Mapping[str, float], ...]:
    stored = attrs.get("snapshots")
    if not stored:
        return (_snapshot("hp", attrs["hp"]),) if attrs.get("hp") else ()
    if not isinstance(stored, list | tuple):
        raise ConfigError(
            f"User attribute 'snapshots' must be a list of dicts. Got {stored!r}. "
            "Store a single snapshot as 'hp'."
        )
    seen = tuple(_snapshot("snapshots", one) for one in stored)
    epochs = [snapshot.get("epoch", math.nan) for snapshot in seen]
    # Written so that an epoch that is missing or NaN breaks the rule.
    if not (epochs[0] >= 0 and all(a < b for a, b in pairwise(epochs))):
        raise ConfigError(
            "User attribute 'snapshots' must give each snapshot an 'epoch', ascending from 0 or "
            f"later. Got {epochs}. Store a single snapshot as 'hp'."
        )
    return seen


def _snapshot(name: str, stored: Any) -> dict[str, float]:
    if not isinstance(stored, Mapping):
        raise ConfigError(
            f"User attribute {name!r} must hold numbers by name, in a dict. Got {stored!r}. "
            "Store vars(snapshot) of an object."
        )
    seen: dict[str, float] = {
        key: value for key in _FIELDS if (value := stored.get(key)) is not None
    }
    for key, value in seen.items():
        if type(value) is not float and type(value) is not int:  # quick: the most are
            seen[key] = _number(f"{key!r} in user attribute {name!r}", value)
    if seen.keys().isdisjoint(_RULES_READ):
        raise ConfigError(
            f"User attribute {name!r} must have at least one of {', '.join(_RULES_READ)}. "
            f"Got {sorted(map(str, stored))}. Rename what it has, or leave it out."
        )
    return seen


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{name} must be a number. Got {value!r}. Store float(...) of it.")
    return float(value)


def _tau(params: Mapping[str, Any], last: Mapping[str, float]) -> int | None:
    name = "tau" if "tau" in params else "tau_plus_1"
    if name in params:
        low = 0 if name == "tau" else 1
        tau = _number(f"Parameter {name!r}", params[name])
        if not (low <= tau < math.inf and tau == int(tau)):
            raise ConfigError(
                f"Parameter {name!r} must be a whole number >= {low}. Got {tau!r}. "
                "Suggest it with suggest_int, or name that parameter otherwise."
            )
        return int(tau) - low
    epoch = last.get("epoch", math.nan)
    return int(epoch) if math.isfinite(epoch) else None


def _label_smoothing(params: Mapping[str, Any]) -> float | None:
    if "label_smoothing" not in params:
        return None
    value = _number("Parameter 'label_smoothing'", params["label_smoothing"])
    if not 0 <= value < 1:
        raise ConfigError(
            f"Parameter 'label_smoothing' must be in [0, 1). Got {value!r}. Suggest it from "
            "there: 0 is no smoothing."
        )
    return value


def _ft_lr(params: Mapping[str, Any]) -> float | None:
    if "ft_lr" not in params:
        return None
    value = _number("Parameter 'ft_lr'", params["ft_lr"])
    if not 0 < value < math.inf:
        raise ConfigError(
            f"Parameter 'ft_lr' must be a finite learning rate > 0. Got {value!r}. Suggest it "
            "from a range above 0."
        )
    return value
