"""All curves of a map together: which heads show something, in how many seeds, by which name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.words import listed

__all__ = ["HeadMap", "Hit"]

T = TypeVar("T")

_N_NAMED = 3
"""Heads that are named beside the first one; the rest is counted."""


@dataclass(frozen=True)
class Hit(Generic[T]):
    """A head that shows a phenomenon.

    Attributes:
        curve: Its first seed that shows it.
        found: What was measured there.
        n_fired: Seeds that show it.
        n_seeds: Seeds of the head.
    """

    curve: HeadCurve
    found: T
    n_fired: int
    n_seeds: int


class HeadMap:
    """The curves of a map, plain heads first: linear, unsmoothed, no depth, small rate.

    Args:
        curves: Any order.
    """

    def __init__(self, curves: Sequence[HeadCurve]) -> None:
        self.curves = sorted(curves, key=lambda curve: (curve.head, curve.seed))
        self._many_rates = len({curve.lr for curve in curves}) > 1
        self._many_decays = len({curve.weight_decay for curve in curves}) > 1

    @property
    def finite(self) -> list[HeadCurve]:
        """The curves that did not diverge."""
        return [curve for curve in self.curves if curve.finite]

    def hits(self, measure: Callable[[HeadCurve], T | None]) -> list[Hit[T]]:
        """Returns the heads for which ``measure`` finds something in more than half of their seeds.

        Args:
            measure: Gives what it found in a finite curve, or None.
        """
        seeds: dict[tuple[object, ...], list[tuple[HeadCurve, T | None]]] = {}
        for curve in self.finite:
            seeds.setdefault(curve.head, []).append((curve, measure(curve)))
        found = []
        for tried in seeds.values():
            fired = [(curve, one) for curve, one in tried if one is not None]
            if 2 * len(fired) > len(tried):
                found.append(Hit(*fired[0], n_fired=len(fired), n_seeds=len(tried)))
        return found

    def name(self, curve: HeadCurve) -> str:
        """Returns what tells the head apart: ``"mlp ls=0.1 k=1"``, and the rate if rates vary."""
        parts = [curve.head_arch]
        if curve.label_smoothing:
            parts.append(f"ls={curve.label_smoothing:g}")
        if curve.reinit_depth:
            parts.append(f"k={curve.reinit_depth}")
        if self._many_rates:
            parts.append(f"lr={curve.lr:g}")
        if self._many_decays:
            parts.append(f"wd={curve.weight_decay:g}")
        return " ".join(parts)

    def subject(self, hit: Hit[T]) -> str:
        """Returns the head's name, and in how many of several seeds it shows."""
        name = self.name(hit.curve)
        if hit.n_seeds == 1:
            return name
        return f"{name} ({hit.n_fired} of {hit.n_seeds} seeds, the first is shown)"

    def likewise(self, others: Sequence[Hit[T]]) -> str:
        """Returns a sentence that names the other heads, empty if there are none."""
        if not others:
            return ""
        names = [self.name(hit.curve) for hit in others[:_N_NAMED]]
        if len(others) > _N_NAMED:
            names.append(f"{len(others) - _N_NAMED} more")
        return f" Likewise: {listed(names)}."

    def rate_note(self, curve: HeadCurve) -> str:
        """Returns a sentence on the probing rate, which no option of a search sets.

        Empty if the map has one rate only.
        """
        if not self._many_rates:
            return ""
        return f" A search probes at the rate of its space file: `probe: {{lr: {curve.lr:g}}}`."
