"""What a search was planned to cost, in words, and beside what it has cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from energytune.config.sizes import format_bytes
from energytune.report.costs import Costs
from energytune.trial import TrialRecord

__all__ = [
    "SearchPlan",
    "Span",
    "TrialPlan",
    "against_truth",
    "as_json",
    "plan_lines",
    "train_seconds",
]


@dataclass(frozen=True)
class Span:
    """The least and the most of something.

    Attributes:
        low: >= 0.
        high: >= ``low``.
    """

    low: float
    high: float

    def __add__(self, other: Span) -> Span:
        """Returns the span of the sum."""
        return Span(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Span:
        """Returns the span, scaled by a factor >= 0."""
        return Span(self.low * factor, self.high * factor)


@dataclass(frozen=True)
class TrialPlan:
    """What the trials of a search run.

    Attributes:
        rungs: Finetuning epochs at which trials wait, ascending; the last one is the end.
        n_come: How many trials come to each of them, baselines included.
        ft_epochs: Finetuning epochs of all trials together.
    """

    rungs: tuple[int, ...]
    n_come: tuple[int, ...]
    ft_epochs: Span


@dataclass(frozen=True)
class SearchPlan:
    """What a search is going to cost.

    Attributes:
        n_trials: Trials at most, baselines included.
        is_most: Whether another limit may end the search before.
        trials: What they run.
        n_map_heads: Heads that are probed for the sampler's map.
        map_hp_epochs: Epochs of each of them at most.
        hp_epochs: Probing epochs of the trials; those that are found in the cache are not run.
        n_confirm_runs: Finetunes on further seeds.
        confirm_ft_epochs: Their epochs.
        train_s: Seconds of training of trials and confirmation, with ``concurrency`` at once.
        disk_bytes: What is written, cached features included.
        concurrency: Trials at once.
        hp_epoch_s: Measured seconds of a probing epoch.
        ft_epoch_s: Measured seconds of a finetuning epoch.
    """

    n_trials: int
    is_most: bool
    trials: TrialPlan
    n_map_heads: int
    map_hp_epochs: int
    hp_epochs: Span
    n_confirm_runs: Span
    confirm_ft_epochs: Span
    train_s: Span
    disk_bytes: Span
    concurrency: int
    hp_epoch_s: float
    ft_epoch_s: float


def plan_lines(plan: SearchPlan) -> list[str]:
    """Returns a plan as lines for a person, without full stops."""
    trials = plan.trials
    most = "at most " if plan.is_most else ""
    steps = [f"{n:,} come to epoch {e:,}" for n, e in zip(trials.n_come, trials.rungs, strict=True)]
    plural = "s" if plan.n_trials > 1 else ""
    probes = f"up to {plan.hp_epochs.high:,.0f} HP epochs"
    if plan.n_map_heads:
        probes += f", and {plan.n_map_heads} heads to epoch {plan.map_hp_epochs:,} for the map"
    return [
        f"plan: {most}{plan.n_trials:,} trial{plural}, of which about {', '.join(steps)}",
        f"plan: {_span(trials.ft_epochs)} FT epochs, and {_span(plan.confirm_ft_epochs)} to "
        f"confirm in {_span(plan.n_confirm_runs)} runs; {probes}",
        f"plan: about {_seconds(plan.train_s)} of training with {plan.concurrency} at once, from "
        f"{1e3 * plan.ft_epoch_s:.3g} ms an FT epoch and {1e3 * plan.hp_epoch_s:.3g} ms an HP "
        f"epoch measured here; {_sizes(plan.disk_bytes)} on disk",
    ]


def against_truth(plan: SearchPlan, costs: Costs, train_s: float, disk_bytes: int) -> str:
    """Returns one line: what was planned and what it was.

    Args:
        plan: Of this search.
        costs: What it has cost.
        train_s: Seconds of training of trials and confirmation, over ``plan.concurrency``.
        disk_bytes: What it has written.
    """
    return (
        f"Planned and spent: FT epochs {_span(plan.trials.ft_epochs)}, {costs.ft_epochs:,}; "
        f"to confirm {_span(plan.confirm_ft_epochs)}, {costs.ft_epochs_confirm:,}; "
        f"HP epochs up to {plan.hp_epochs.high:,.0f}, {costs.hp_epochs_run:,}; "
        f"training {_seconds(plan.train_s)}, {train_s:,.3g} s; "
        f"disk {_sizes(plan.disk_bytes)}, {format_bytes(disk_bytes)}"
    )


def train_seconds(
    records: Sequence[TrialRecord], confirmations: Sequence[TrialRecord], concurrency: int
) -> float:
    """Returns the seconds of training of all jobs, over the jobs at once, as a plan counts them."""
    runs = [r for r in (*records, *confirmations) if r.duplicate_of is None]
    return sum(r.seconds_hp + r.seconds_ft for r in runs) / concurrency


def as_json(plan: SearchPlan) -> Mapping[str, Any]:
    """Returns a plan as JSON values."""
    plain = asdict(plan)
    plain["trials"] = {name: _as_list(value) for name, value in plain["trials"].items()}
    return plain


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _span(span: Span) -> str:
    low, high = round(span.low), round(span.high)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _seconds(span: Span) -> str:
    low, high = (f"{seconds:,.3g}" for seconds in (span.low, span.high))
    return f"{low} s" if low == high else f"{low} to {high} s"


def _sizes(span: Span) -> str:
    low, high = (format_bytes(round(n_bytes)) for n_bytes in (span.low, span.high))
    return low if low == high else f"{low} to {high}"
