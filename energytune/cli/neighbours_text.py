"""The winner's neighbours in finetuning rate and tau, as a person reads them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from energytune.cli.lines import percent
from energytune.cli.summary import Summary
from energytune.report.neighbours import Neighbour

__all__ = ["print_neighbours"]


def print_neighbours(console: Console, summary: Summary) -> None:
    """Prints a table, what it says of the optimum, and commands for what was not run.

    Nothing is printed where the space holds nothing but the winner, or without a winner.
    """
    if all(neighbour.is_at_bound for neighbour in summary.neighbours):
        return
    console.print()
    is_measured = any(n.deviations is not None for n in summary.neighbours)
    unit = "points (seed deviations)" if is_measured else "points"
    table = Table(
        title=f"The winner's neighbours: single runs, and winner minus it in {unit}",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1),
    )
    for column in ("", "trial", "FT-valid-acc", "minus it", "recipe"):
        table.add_column(column)
    for neighbour in summary.neighbours:
        table.add_row(neighbour.direction, *_cells(neighbour))
    console.print(table)
    if summary.optimum:
        console.print(summary.optimum, soft_wrap=True)
    if summary.untried:
        console.print("To run what is missing:")
    for direction, command in summary.untried.items():
        console.print(f"  # {direction}")
        console.print(f"  {command}", soft_wrap=True)


def _cells(neighbour: Neighbour) -> tuple[str, str, str, str]:
    record = neighbour.record
    if record is None:
        return "-", "the space ends here" if neighbour.is_at_bound else "not run", "", ""
    return (
        f"t{record.job.number:03d}",
        _accuracy(neighbour),
        _difference(neighbour),
        record.job.recipe.label(),
    )


def _accuracy(neighbour: Neighbour) -> str:
    record = neighbour.record
    if record is not None and record.state == "FAIL":
        return "failed"
    if neighbour.accuracy is None:
        return "pruned before finetuning"
    if record is not None and record.state == "PRUNED":
        return f"{percent(neighbour.accuracy)} (pruned at epoch {neighbour.epoch})"
    return percent(neighbour.accuracy)


def _difference(neighbour: Neighbour) -> str:
    if neighbour.difference is None:
        return ""
    points = f"{100 * neighbour.difference:+.1f}"
    size = neighbour.deviations
    return points if size is None else f"{points} ({size:+.1f})"
