"""An earlier search, as much of it as another one can learn from, and how near it is.

Two searches are near if probing gave them the same: the same head, probed as long, has as much
energy left and is as good. Neither the names of their datasets nor their images are compared.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from energytune.optimizer.energy_features import energy_features
from energytune.training import ProbeSnapshot
from energytune.trial import TrialRecord

__all__ = ["Energies", "PastSearch", "Probed", "distance", "energies_of", "past_search", "ranks"]

Floats = NDArray[np.float64]
Energies = Mapping[Hashable, tuple[float, float]]
"""What was probed -> AIE over the largest one of the search, and HP-valid-acc; both in [0, 1]."""

_LEAST_SHARED = 8
"""Places of the map that two searches must share to be compared: two short trajectories."""
_LEAST_TRIALS = 8
"""Finetunes from which on ranks say something of a recipe, with the seed's noise in them."""


class Probed(NamedTuple):
    """A place of the energy map: which head, and how long it was probed."""

    head_arch: str
    label_smoothing: float
    reinit_depth: int
    epoch: int


@dataclass(frozen=True, eq=False)
class PastSearch:
    """An earlier search.

    Attributes:
        name: What a person knows it by.
        features: Energy features of its N finetunes, (N, F), float64; see
            :func:`~energytune.optimizer.energy_features.energy_features`.
        scores: Rank of each among them, (N,), in [0, 1]; 1 is the best, equals share the middle.
        energies: Its energy map, as far as its trials have seen it.
    """

    name: str
    features: Floats
    scores: Floats
    energies: Energies


def distance(one: Energies, other: Energies) -> float:
    """Returns how far two energy maps are apart, in [0, 1]; symmetric.

    It is the mean absolute difference of relative AIE and of HP-valid-acc over the places that
    both maps have; infinity if they share less than 8.
    """
    shared = one.keys() & other.keys()
    if len(shared) < _LEAST_SHARED:
        return math.inf
    apart = [abs(a - b) for p in shared for a, b in zip(one[p], other[p], strict=True)]
    return math.fsum(apart) / len(apart)  # exact, so in whatever order they come


def energies_of(
    heads: Iterable[tuple[str, float, int, Sequence[ProbeSnapshot]]],
) -> dict[Hashable, tuple[float, float]]:
    """Returns an energy map by :class:`Probed`; of a place that comes twice, the first.

    Args:
        heads: Head architecture, label smoothing, ``reinit_depth`` and snapshots, one row a head
            or a trial. The random head, epoch 0, is only looked at for the largest AIE: it tells
            nothing of the task.
    """
    rows = [
        (Probed(arch, round(smoothing, 6), depth, snapshot.epoch), snapshot)
        for arch, smoothing, depth, snapshots in heads
        for snapshot in snapshots
    ]
    aie_max = max((snapshot.aie for _, snapshot in rows), default=0.0)
    energies: dict[Hashable, tuple[float, float]] = {}
    for place, snapshot in rows:
        values = (snapshot.aie / aie_max if aie_max > 0 else 0.0, snapshot.valid_acc)
        if place.epoch > 0 and all(map(math.isfinite, values)):
            energies.setdefault(place, values)
    return energies


def past_search(name: str, records: Iterable[TrialRecord]) -> PastSearch | None:
    """Returns what there is to learn from a search's records.

    A pruned trial counts with the best validation accuracy it had come to, which is why it was
    pruned. Failed trials and those that were never finetuned are left out: a crash tells nothing.

    Args:
        name: What a person knows the search by.
        records: Its trials; confirmations among them are not looked at.

    Returns:
        None if fewer than 8 recipes were finetuned.
    """
    trials = {r.job.recipe.key(): r for r in records if r.job.is_trial and r.snapshots}
    found = [
        (record, record.snapshots[-1], value)
        for record in trials.values()
        if (value := _value(record)) is not None
    ]
    if len(found) < _LEAST_TRIALS:
        return None
    seen = [snapshot for record in trials.values() for snapshot in record.snapshots]
    maxima = {
        "aie_max": max(snapshot.aie for snapshot in seen),
        "pull_max": max(snapshot.pull_norm for snapshot in seen),
    }
    features = [energy_features(at, record.job.recipe.ft_lr, **maxima) for record, at, _ in found]
    scores = ranks([value for _, _, value in found])
    return PastSearch(name, np.array(features), scores, energies_of(map(_head, trials.values())))


def ranks(values: Sequence[float]) -> Floats:
    """Returns each value's rank in [0, 1], 1 is the largest; equals share the middle of theirs."""
    from scipy.stats import rankdata  # it takes a second to import, and few searches need it

    places: Floats = (rankdata(values) - 1.0) / max(1, len(values) - 1)
    return places


def _head(record: TrialRecord) -> tuple[str, float, int, Sequence[ProbeSnapshot]]:
    recipe = record.job.recipe
    return recipe.head_arch, recipe.label_smoothing, recipe.reinit_depth, record.snapshots


def _value(record: TrialRecord) -> float | None:
    """Returns the best validation accuracy of a trial; None if there is none to trust."""
    if record.state not in ("COMPLETE", "PRUNED"):
        return None
    value = record.objective
    if value is None:
        value = max((epoch.valid_acc for epoch in record.epochs), default=math.nan)
    return value if math.isfinite(value) else None
