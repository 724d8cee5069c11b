"""The end of a search as a person reads it."""

from __future__ import annotations

from rich.console import Console

from energytune.cli.confirm_text import print_comparison, print_race
from energytune.cli.duration import format_seconds
from energytune.cli.lines import percent, trial_name
from energytune.cli.neighbours_text import print_neighbours
from energytune.cli.summary import Summary
from energytune.redact import redact
from energytune.report.cost_plan import against_truth
from energytune.report.intervals import Interval

__all__ = ["print_summary"]

_NOT_STAGES = ("total", "hp", "ft")
"""The whole, and sums over workers that run side by side."""
_N_FAILURES = 3


def print_summary(console: Console, summary: Summary) -> None:
    """Prints the end, winner, comparison, cost, model, links and what to do next."""
    if summary.result.end_reason:
        _line(console, "")
        _line(console, f"Search ended: {summary.result.end_reason}")
    if summary.winner is None:
        _line(console, "No trial is complete, so there is no winner.")
    else:
        _print_winner(console, summary)
        print_race(console, summary)
        print_comparison(console, summary)
        print_neighbours(console, summary)
    _print_costs(console, summary)
    _print_plan(console, summary)
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
    score = f"Test {summary.result.score_name}"
    if best.accuracy_by_seed:
        n_seeds = len(best.accuracy_by_seed)
        told = f"mean of {n_seeds} seed{'s' if n_seeds > 1 else ''}"
        if best.interval is not None:
            interval = _percents(best.interval)
            told = f"95 % interval {interval} over {best.n_test} images; {told}"
        _line(console, f"{score}: {percent(best.mean)} ({told})")
    else:
        why = "interrupted" if summary.result.interrupted else "no run of the winner was tested"
        _line(console, f"{score}: not measured, {why}.")
    _line(console, "Run this recipe again:")
    _line(console, f"  {summary.command}")


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
    complete = f"{spent.n_complete} complete"
    if spent.n_stopped:
        complete += f" ({spent.n_stopped} of them stopped early by themselves)"
    ended = [complete, f"{spent.n_pruned} pruned", f"{spent.n_failed} failed"]
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


def _print_plan(console: Console, summary: Summary) -> None:
    plan = summary.result.plan
    if plan is None or summary.train_s is None:
        return
    written = summary.result.written_bytes
    _line(console, f"  {against_truth(plan, summary.costs, summary.train_s, written)}")


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
            f"MLflow{when}: {tracking.link}"
            if tracking.link
            else f"MLflow: {redact(tracking.uri)}",
        )
        if tracking.warning:
            _line(console, f"Warning: {tracking.warning}")
    report = result.out / "report.html"
    if report.is_file():
        _line(console, f"Report: {report}")
    _line(console, f"Folder: {result.out}")


def _percents(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def _line(console: Console, text: str) -> None:
    """Prints one line that is never folded, so that commands and links can be copied."""
    console.print(text, soft_wrap=True)
