"""The confirmation as a person reads it: the race on valid, then the comparison on test."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from energytune.cli.lines import percent
from energytune.cli.summary import Summary
from energytune.report.comparison import Confirmed
from energytune.report.intervals import PairedDifference
from energytune.science.noise import SeedNoise

__all__ = ["difference_text", "print_comparison", "print_race"]


def print_race(console: Console, summary: Summary) -> None:
    """Prints how the confirmed recipes stand on valid; nothing if none was confirmed."""
    standings = summary.result.confirmed
    if not any(s.n_seeds for s in standings):
        return
    console.print()
    table = _table("Confirmed by mean FT-valid-acc over further seeds")
    for column in ("trial", "mean", "seeds", "recipe", ""):
        table.add_column(column, justify="right" if column in ("mean", "seeds") else "left")
    number = summary.winner.job.number if summary.winner else None
    for standing in standings:
        told = "winner" if summary.is_confirmed and standing.number == number else ""
        table.add_row(
            f"t{standing.number:03d}",
            percent(standing.mean),
            str(standing.n_seeds),
            standing.recipe.label(),
            standing.dropped or told,
        )
    console.print(table)
    console.print(_noise_text(summary.result.seed_noise), soft_wrap=True)
    if summary.is_confirmed:
        _print_leads(console, summary)


def print_comparison(console: Console, summary: Summary) -> None:
    """Prints the winner and both baselines on test; nothing if the winner is not tested."""
    best = summary.confirmed
    if best is None or not best.accuracy_by_seed:
        return
    console.print()
    n_seeds = summary.result.config.n_confirm_seeds
    table = _table(
        f"Test {summary.result.score_name} over {n_seeds} seeds; paired differences with 95 % "
        "intervals"
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
    # A line of its own: the table is as wide as a terminal already.
    sizes = [
        f"{c.deviations:+.1f} to {c.baseline}"
        for c in summary.comparisons
        if c.deviations is not None and not c.is_winner
    ]
    if sizes:
        console.print(
            f"In seed deviations of the test {summary.result.score_name}: {', '.join(sizes)}"
        )


def difference_text(
    difference: PairedDifference, n_seeds: int, deviations: float | None = None
) -> str:
    """Returns ``"+4.9 (2.3 seed deviations) [+2.1, +7.7]"`` in points, and says what is missing.

    Args:
        difference: Winner minus another.
        n_seeds: Pairs there should be.
        deviations: The difference in seed deviations; None if that is not known.
    """
    if difference.n == 0:
        return "not measured: no seed that both have finished"
    text = f"{100 * difference.mean:+.1f}{_in_deviations(deviations)}"
    if difference.interval is None:
        return f"{text} (one seed: no interval)"
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    text += f" [{low:+.1f}, {high:+.1f}]"
    if not difference.excludes_zero:
        text += ", may be chance"
    return text if difference.n == n_seeds else f"{text} ({difference.n} of {n_seeds} seeds)"


def _print_leads(console: Console, summary: Summary) -> None:
    """Prints the winner against the next, and against a better single run if there was one."""
    next_one, best_run = summary.runner_up, summary.best_run
    n_seeds = summary.result.config.n_confirm_seeds
    if next_one is not None:
        told = difference_text(next_one.difference, n_seeds, next_one.deviations)
        console.print(
            f"Winner minus runner-up t{next_one.number:03d}, in points of FT-valid-acc: {told}",
            soft_wrap=True,
        )
    if best_run is not None:
        told = f"The best single run was t{best_run.number:03d}; it is not the winner"
        if best_run.difference.n:
            mean = f"{100 * best_run.difference.mean:+.1f} points"
            told += f", which has {mean}{_in_deviations(best_run.deviations)} on the shared seeds"
        console.print(f"{told}.", soft_wrap=True)


def _noise_text(noise: SeedNoise | None) -> str:
    if noise is None:
        return "Seed deviation: not measured, no recipe was run on two seeds."
    low, high = noise.interval()
    return (
        f"Seed deviation of FT-valid-acc: {100 * noise.deviation:.1f} points (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f}, from {noise.n_runs} runs of {noise.n_recipes} "
        f"recipe{'s' if noise.n_recipes > 1 else ''})"
    )


def _in_deviations(deviations: float | None) -> str:
    return "" if deviations is None else f" ({abs(deviations):.1f} seed deviations)"


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1))


def _mean(confirmed: Confirmed) -> str:
    return "-" if math.isnan(confirmed.mean) else percent(confirmed.mean)


def _by_seed(confirmed: Confirmed) -> str:
    text = " ".join(f"{100 * a:.1f}" for a in confirmed.accuracy_by_seed.values())
    return f"{text} ({confirmed.n_failed} failed)".strip() if confirmed.n_failed else text
