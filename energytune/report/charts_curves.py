"""The chart of the validation score by finetuning epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from energytune.report.chart import MUTED, Axis, Chart, DataTable, Panel, Series
from energytune.report.scales import fit_axis
from energytune.report.thin import ranked, thin, thin_note
from energytune.report.words import percent, short_score, trial_name
from energytune.trial import TrialRecord

__all__ = ["curves_chart"]

_MOST_CURVES = 36
_CURVE_POINTS = 50


def curves_chart(
    records: Sequence[TrialRecord],
    winner: TrialRecord | None = None,
    *,
    metric: str = "accuracy",
    n_best: int = 3,
) -> Chart | None:
    """Returns validation score by finetuning epoch; None if no trial has an epoch.

    Winner, baselines and the best few are named; of many others some are drawn, and the band in
    which eight of ten lie.

    Args:
        records: Trials of the search, stopped ones too.
        winner: Is drawn strong.
        metric: What was measured.
        n_best: Best trials that are named, >= 0.
    """
    run = [r for r in records if r.epochs and r.duplicate_of is None]
    if not run:
        return None
    score = f"FT-valid-{short_score(metric)}"
    named = _named(run, winner, n_best)
    numbers = {record.job.number for record, _ in named}
    others = [r for r in run if r.job.number not in numbers]
    by_best = sorted(others, key=lambda r: (-max(e.valid_acc for e in r.epochs), r.job.number))
    drawn = thin(by_best, _MOST_CURVES)
    told = "other trials"
    if len(drawn) < len(others):
        told += f" ({len(drawn)} of {len(others):,})"
    series = list(_spread(run)) if len(run) > _MOST_CURVES else []
    series += [_curve(r, told, MUTED) for r in drawn]
    # The winner last, on top of the others.
    for style, (record, role) in reversed(list(enumerate(named))):
        name = f"{role}{trial_name(record.job)} {record.job.recipe.label()}"
        series.append(_curve(record, name, style, strong=role.startswith("winner")))
    last = max(r.epochs[-1].epoch for r in run)
    stopped = sum(bool(r.stop_reason) for r in run)
    best = max(run, key=lambda r: max(e.valid_acc for e in r.epochs))
    top = max(best.epochs, key=lambda e: e.valid_acc)
    whole = [e.valid_acc for r in [*drawn, *(r for r, _ in named)] for e in r.epochs]
    ends = [
        v for r, _ in named for v in (r.epochs[-1].valid_acc, max(e.valid_acc for e in r.epochs))
    ]
    epochs = Axis("finetuning epoch", "linear", 0.0, float(max(2, last)) * 1.02)
    return Chart(
        "curves",
        f"{score} while finetuning",
        f"{len(run):,} trials were finetuned, for up to {last:,} epochs; {stopped:,} of them "
        f"stopped by themselves. The highest point is {percent(top.valid_acc)}, of "
        f"{trial_name(best.job)} at epoch {top.epoch}.",
        (
            Panel(
                "from the first epoch", epochs, fit_axis(score, whole, percent=True), tuple(series)
            ),
            Panel("where they end", epochs, fit_axis(score, ends, percent=True), tuple(series)),
        ),
        DataTable(
            "The named curves",
            ("trial", "recipe", "epochs run", "best epoch", f"best {score}", "last training score"),
            tuple(_curve_row(r) for r, _ in named),
        ),
        notes=thin_note(len(drawn), len(others)),
        size=(400, 300),
    )


def _named(
    run: Sequence[TrialRecord], winner: TrialRecord | None, n_best: int
) -> list[tuple[TrialRecord, str]]:
    """Returns winner, baselines and the best others, each with what it is."""
    roles = {"baseline_tau_0": "tau=0, ", "baseline_tau_max": "tau=max, "}
    own = [r for r in run if winner is not None and r.job.number == winner.job.number]
    named = [(r, "winner, " + roles.get(r.job.role, "")) for r in own]
    named += [(r, roles[r.job.role]) for r in run if r.job.role in roles and r not in own]
    numbers = {r.job.number for r, _ in named}
    best = [r for r in ranked(run) if r.job.number not in numbers]
    return named + [(r, "") for r in best[:n_best]]


def _curve(record: TrialRecord, name: str, style: int, *, strong: bool = False) -> Series:
    """Returns a trial's curve; of a long one some epochs, the best and the last among them."""
    epochs = record.epochs
    step = max(1, -(-len(epochs) // _CURVE_POINTS))
    best = max(range(len(epochs)), key=lambda i: epochs[i].valid_acc)
    kept = sorted({*range(0, len(epochs), step), best, len(epochs) - 1})
    label = f"{trial_name(record.job)} {record.job.recipe.label()}"
    return Series(
        name=name,
        kind="line",
        x=tuple(float(epochs[i].epoch) for i in kept),
        y=tuple(epochs[i].valid_acc for i in kept),
        style=style,
        dash=0 if style == MUTED else style,
        labels=(label,),
        every=0 if style == MUTED else 12,
        strong=strong,
    )


def _spread(run: Sequence[TrialRecord]) -> tuple[Series, ...]:
    """Returns the band in which eight of ten trials lie, as far as ten trials go."""
    last = max(r.epochs[-1].epoch for r in run)
    at = sorted({round(1 + i * (last - 1) / (_CURVE_POINTS - 1)) for i in range(_CURVE_POINTS)})
    curves = [{e.epoch: e.valid_acc for e in r.epochs} for r in run]
    low, high, there = [], [], []
    for epoch in at:
        values = [curve[epoch] for curve in curves if epoch in curve]
        if len(values) >= 10:
            ends = np.quantile(values, [0.1, 0.9])
            there.append(float(epoch))
            low.append(float(ends[0]))
            high.append(float(ends[1]))
    if len(there) < 2:
        return ()
    name = "eight of ten trials"
    return (Series(name, "band", tuple(there), style=MUTED, low=tuple(low), high=tuple(high)),)


def _curve_row(record: TrialRecord) -> tuple[str, ...]:
    best = max(record.epochs, key=lambda e: e.valid_acc)
    return (
        trial_name(record.job),
        record.job.recipe.label(),
        f"{len(record.epochs):,}",
        f"{best.epoch:,}",
        percent(best.valid_acc),
        percent(record.epochs[-1].train_acc),
    )
