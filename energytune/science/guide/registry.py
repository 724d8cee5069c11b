"""The table of rules, and the one function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from energytune.errors import DataError
from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.finding import Finding, GuideContext
from energytune.science.guide.head_map import HeadMap
from energytune.science.guide.rules_alarms import (
    at_chance,
    far_start,
    growing_norm,
    unstable_probing,
)
from energytune.science.guide.rules_measured import (
    at_floor,
    growing_pull,
    overfitting_head,
    unconverged,
)
from energytune.science.guide.rules_paper import (
    fast_probing,
    low_level_features,
    spent_energy,
    sweep_tau,
    weak_linear_head,
)

__all__ = ["RULES", "diagnose"]

RULES: Mapping[str, Callable[[HeadMap, GuideContext], Finding | None]] = MappingProxyType(
    {
        # What makes the rest of the map worthless comes first.
        "at-chance": at_chance,
        "unstable-probing": unstable_probing,
        "far-start": far_start,
        "growing-norm": growing_norm,
        "unconverged": unconverged,
        # The basic setting, then the tricks in the paper's order.
        "sweep-tau": sweep_tau,
        "spent-energy": spent_energy,
        "at-floor": at_floor,
        "fast-probing": fast_probing,
        "weak-linear-head": weak_linear_head,
        "growing-pull": growing_pull,
        "overfitting-head": overfitting_head,
        # The paper: "such a trick has the lowest priority in our toolbox".
        "low-level-features": low_level_features,
    }
)
"""All rules by name, in order of priority."""


def diagnose(curves: Sequence[HeadCurve], context: GuideContext) -> list[Finding]:
    """Reads an energy map by the user guide.

    Each rule speaks at most once: about the plainest head that shows its phenomenon in more than
    half of its seeds; other heads are named. AIE is read as "how much energy is left", never as
    a ranking of accuracy.

    Args:
        curves: All head trajectories of the map, in any order; one a head and seed.
        context: What the map was measured on.

    Returns:
        Findings in order of priority; empty if no rule fires.

    Raises:
        DataError: There is no curve.
    """
    if not curves:
        raise DataError(
            "diagnose needs at least one head curve, got none. Probe a head first: "
            f"energytune probe --dataset {context.dataset}"
        )
    heads = HeadMap(curves)
    findings = (rule(heads, context) for rule in RULES.values())
    return [finding for finding in findings if finding is not None]
