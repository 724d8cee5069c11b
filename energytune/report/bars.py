"""Bars with their numbers beside them: importance and cost. As a table they need no alternative."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from energytune.report.costs import Costs
from energytune.report.inputs import Importances
from energytune.report.words import duration

__all__ = ["Bar", "Bars", "importance_bars", "stage_bars"]

_STAGES = {
    "start": "starting Ray",
    "pretrain": "data and backbone",
    "features": "caching features",
    "map": "energy map (HP of all its heads)",
    "search": "search (HP and FT of all trials)",
    "confirm": "confirmation and test",
    "report": "this report",
    "tracking": "MLflow",
    "registry": "model registry",
}
_SHORTEST_S = 0.05


@dataclass(frozen=True)
class Bar:
    """One row.

    Attributes:
        name: What it is.
        text: Its number, with the unit.
        share: Length in [0, 1].
        low: Lower end of an interval on the same scale; None without one.
        high: Upper end.
    """

    name: str
    text: str
    share: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bars:
    """A table of bars.

    Attributes:
        key: Short name, fit for an HTML id.
        title: What it is.
        finding: What it shows, in a sentence.
        headers: Of the name, and of the number.
        rows: Bars in order; empty if there is nothing to tell.
        notes: How to read it.
    """

    key: str
    title: str
    finding: str
    headers: tuple[str, str]
    rows: tuple[Bar, ...]
    notes: tuple[str, ...] = ()


def importance_bars(found: Importances) -> Bars:
    """Returns the importance of the searched dimensions, or why there is none."""
    title = "What mattered: importance of each dimension"
    if found.reason:
        return Bars("importance", title, f"Not measured: {found.reason}.", ("", ""), ())
    rows = []
    for name, share in found.shares.items():
        low, high = found.intervals.get(name, (None, None))
        text = f"{100 * share:.0f} %"
        if low is not None and high is not None:
            text += f" ({100 * low:.0f} to {100 * high:.0f})"
        rows.append(Bar(name, text, share, low, high))
    first = rows[0]
    finding = (
        f"{first.name} tells the best trials apart most: {first.text.split(' (')[0]} of the whole."
    )
    stopped = ""
    if found.n_stopped:
        stopped = (
            f" {found.n_stopped:,} of them were stopped and count with what trials like them have "
            "gained from there on."
        )
    notes = [
        f"Optuna's PED-ANOVA over {found.n_trials:,} trials: where the best tenth lies along a "
        f"dimension, against all that were run.{stopped} It tells of these trials, not of the "
        "whole space."
    ]
    if found.intervals:
        notes.append(
            "In brackets the central 90 % of a bootstrap over the trials: where such ranges "
            "overlap, the order may be chance."
        )
    return Bars("importance", title, finding, ("dimension", "share"), tuple(rows), tuple(notes))


def stage_bars(spent: Costs) -> Bars:
    """Returns wall-clock time by stage, or that it is not known."""
    title = "Wall-clock time by stage"
    seconds: Mapping[str, float] = {
        name: s for name, s in spent.seconds.items() if name in _STAGES and s >= _SHORTEST_S
    }
    if not seconds:
        told = "Not known: the search has not ended, or its clock was not kept."
        return Bars("stages", title, told, ("", ""), ())
    total = spent.seconds.get("total", sum(seconds.values()))
    most = max(seconds.values())
    longest = max(seconds, key=lambda name: seconds[name])
    return Bars(
        "stages",
        title,
        f"{duration(total)} in all; most of it for {_STAGES[longest]}, {duration(most)}.",
        ("stage", "time"),
        tuple(
            Bar(_STAGES[name], duration(seconds[name]), seconds[name] / most)
            for name in _STAGES
            if name in seconds
        ),
    )
