"""What the sampler knows of a recipe before it is finetuned: its energy.

Four numbers describe the start of a finetune: how much energy is left (AIE, against the most
there is), how fast the backbone will move at first (``ft_lr`` times the pull on the features:
the first step of [Ren2023]_, Eq. 2), the rate itself, and how good the probed head is.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from energytune.training import ProbeSnapshot

__all__ = ["EnergyLookup", "Known", "energy_features"]

_LEAST = 1e-12
_LEAST_PULL = 0.01
"""Of the largest pull: where less is left, the backbone stands still at first in either case."""


@dataclass(frozen=True)
class Known:
    """What is known of a candidate.

    Attributes:
        key: Equal for parameters that would be the same run.
        features: Energy features, each of about unit spread; None if it was not probed.
    """

    key: Hashable
    features: tuple[float, ...] | None = None


EnergyLookup = Callable[[Mapping[str, Any]], Known]
"""Tells what is known of Optuna's parameters; must be a fast pure function."""


def energy_features(
    snapshot: ProbeSnapshot, ft_lr: float, *, aie_max: float, pull_max: float
) -> tuple[float, ...]:
    """Returns the features of a recipe, the more alike the more alike its finetune.

    Args:
        snapshot: Head probing at tau.
        ft_lr: Peak learning rate of finetuning, > 0.
        aie_max: Largest AIE of the energy map, > 0.
        pull_max: Largest ``pull_norm`` of the energy map, > 0.

    Returns:
        ``(2 AIE / aie_max, 2 log10(ft_lr), 2 log10(ft_lr * pull))``: a factor of 3 in a rate
        counts as much as half of all the energy. Pulls below 1 % of the largest are raised to it.
    """
    pull = max(snapshot.pull_norm, _LEAST_PULL * pull_max, _LEAST)
    return (
        2.0 * snapshot.aie / max(aie_max, _LEAST),
        2.0 * math.log10(ft_lr),
        2.0 * math.log10(ft_lr * pull),
    )
