"""The end of a search as a person reads it."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from energytune.cli.duration import format_seconds
from energytune.cli.lines import percent, trial_name
from energytune.cli.summary import Summary
from energytune.report.comparison import Confirmed
from energytune.report.intervals import Interval, PairedDifference

__all__ = ["difference_text", "print_summary"]

_NOT_STAGES = ("total", "hp", "ft")
"""The whole, and sums over workers that run side by side."""
_N_FAILURES = 3


def print_summary(console: Console, summary: Summary) -> None:
    """Prints winner, comparison, cost, model, links and what to do next."""
    if summary.winner is None:
        _line(console, "No trial is complete, so there is no winner.")
    else:
        _print_winner(console, summary)
        if summary.result.confirmations:
            _print_comparison(console, summary)
    _print_costs(console, summary)
    _print_failures(console, summary)
    _print_records(console, summary)
    _line(console, "")
    _line(console, "Next:")
    for command, what in summary.next_commands:
        _line(console, f"  # {what}")
        _line(console, f"  {command}")


def _print_winner(console: Console, summary: Summary) -> None:
    winner, best = summary.winner, summary.confirmed
    if winner is None or best is None:
        return
    title = "Best so far" if summary.result.interrupted else "Winner"
    _line(console, "")
    _line(
        console,
        f"{title}: t{winner.job.number:03d} {winner.job.recipe.label()}, "
        f"FT-valid-acc {percent(winner.objective)}",
    )
    if best.interval is not None:
        n_seeds = len(best.accuracy_by_seed)
        _line(
            console,
            f"Test accuracy: {percent(best.mean)} (95 % interval {_percents(best.interval)} over "
            f"{best.n_test} images; mean of {n_seeds} seed{'s' if n_seeds > 1 else ''})",
        )
    else:
        _line(console, "Test accuracy: not measured, the winner was not confirmed.")
    _line(console, "Run this recipe again:")
    _line(console, f"  {summary.command}")


def _print_comparison(console: Console, summary: Summary) -> None:
    best = summary.confirmed
    if best is None:
        return
    _line(console, "")
    n_seeds = summary.result.config.n_confirm_seeds
    table = Table(
        title=f"Test accuracy over {n_seeds} seeds; paired differences with 95 % intervals",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1),
    )
    for column in ("", "trial", "mean", "by seed", "winner minus it, in points"):
        table.add_column(column, justify="right" if column == "mean" else "left")
    table.add_row("winner", f"t{best.number:03d}", _mean(best), _by_seed(best), "")
    for comparison in summary.comparisons:
        other = comparison.confirmed
        told = (
            "it is the winner"
            if comparison.is_winner
            else difference_text(comparison.difference, n_seeds)
        )
        table.add_row(
            comparison.baseline, f"t{other.number:03d}", _mean(other), _by_seed(other), told
        )
    console.print(table)


def difference_text(difference: PairedDifference, n_seeds: int) -> str:
    """Returns ``"+4.9 [+2.1, +7.7]"`` in points, and says what is missing.

    Args:
        difference: Winner minus baseline.
        n_seeds: Pairs there should be.
    """
    if difference.n == 0:
        return "not measured: no seed that both have finished"
    text = f"{100 * difference.mean:+.1f}"
    if difference.interval is None:
        return f"{text} (one seed: no interval)"
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    text += f" [{low:+.1f}, {high:+.1f}]"
    if not difference.excludes_zero:
        text += ", may be chance"
    return text if difference.n == n_seeds else f"{text} ({difference.n} of {n_seeds} seeds)"


def _print_costs(console: Console, summary: Summary) -> None:
    spent = summary.costs
    _line(console, "")
    total = spent.seconds.get("total")
    stages = ", ".join(
        f"{name} {format_seconds(s)}"
        for name, s in spent.seconds.items()
        if name not in _NOT_STAGES and s >= 0.05
    )
    if total is not None:
        _line(console, f"Cost: {format_seconds(total)}" + (f" ({stages})" if stages else ""))
    ended = [f"{spent.n_complete} complete", f"{spent.n_pruned} pruned", f"{spent.n_failed} failed"]
    if n_duplicates := summary.result.n_duplicates:
        ended.append(f"{n_duplicates} repeated and not run again")
    _line(console, f"  trials: {', '.join(ended)}")
    _line(
        console,
        f"  FT epochs: {spent.ft_epochs:,}, and {spent.ft_epochs_confirm:,} to confirm; "
        f"HP epochs: {spent.hp_epochs_run:,} run of {spent.hp_epochs:,} wanted",
    )
    _line(
        console,
        f"  in the trials, summed over workers: HP {format_seconds(spent.trial_seconds_hp)}, "
        f"FT {format_seconds(spent.trial_seconds_ft)}",
    )


def _print_failures(console: Console, summary: Summary) -> None:
    """Prints why trials failed, the first few."""
    failed = [
        record
        for record in [*summary.result.records, *summary.result.confirmations]
        if record.state == "FAIL" and record.duplicate_of is None
    ]
    for record in failed[:_N_FAILURES]:
        _line(console, f"  {trial_name(record.job)} failed: {record.reason}")
    if len(failed) > _N_FAILURES:
        _line(console, f"  and {len(failed) - _N_FAILURES} more failed")


def _print_records(console: Console, summary: Summary) -> None:
    result = summary.result
    if (model := result.registered) is not None:
        mark = " (champion)" if model.is_champion else ""
        _line(console, f"Model: {model.name} version {model.version}{mark}: {model.decision}")
    if (tracking := result.tracking) is not None:
        # A link into a database works while somebody serves it.
        when = ", while `energytune ui` runs" if not tracking.uri.startswith("http") else ""
        _line(
            console,
            f"MLflow{when}: {tracking.link}" if tracking.link else f"MLflow: {tracking.uri}",
        )
        if tracking.warning:
            _line(console, f"Warning: {tracking.warning}")
    _line(console, f"Folder: {result.out}")


def _mean(confirmed: Confirmed) -> str:
    return "-" if math.isnan(confirmed.mean) else percent(confirmed.mean)


def _by_seed(confirmed: Confirmed) -> str:
    text = " ".join(f"{100 * a:.1f}" for a in confirmed.accuracy_by_seed.values())
    return f"{text} ({confirmed.n_failed} failed)".strip() if confirmed.n_failed else text


def _percents(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def _line(console: Console, text: str) -> None:
    """Prints one line that is never folded, so that commands and links can be copied."""
    console.print(text, soft_wrap=True)
