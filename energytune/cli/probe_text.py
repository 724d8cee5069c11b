"""An energy map, and what the user guide says about it, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from energytune.report.energy_lines import HeadLine
    from energytune.science.guide import Finding

__all__ = ["print_energy_map", "print_findings"]

_CELL = "0.949 >99 %"
_LABEL_WIDTH = 12
_CONVERGED = "="
_MISSING = "-"
_STYLES = {"high": "green", "medium": "yellow", "low": "dim"}
_CONFIDENCE = (
    "Confidence: high follows from the numbers shown; medium held on most tasks that were "
    "finetuned; low is a heuristic. Validation accuracy after finetuning decides."
)


def print_energy_map(
    console: Console,
    frame: pd.DataFrame,
    *,
    title: str = "",
    score: str = "HP-train-acc",
    max_heads: int = 40,
) -> None:
    """Prints one row a head; AIE and training score at as many taus as fit the console.

    Args:
        console: Where to print; 80 columns show 4 taus and more, wider ones more.
        frame: The map, as :func:`energytune.report.energy_lines.head_lines` reads it.
        title: What was probed, for example dataset and backbone.
        score: Name of the training score in ``hp_train_acc``.
        max_heads: Rows at most, >= 1; the rest is counted.

    Raises:
        DataError: A column is missing, or there is no row.
    """
    from energytune.report.energy_lines import head_lines, head_names

    lines = head_lines(frame)
    names = head_names(lines)
    shown = list(zip(names, lines, strict=True))[:max_heads]
    label_width = max(_LABEL_WIDTH, *(len(name) for name, _ in shown))
    every = sorted({tau for line in lines for tau in line.mean.index})
    taus = _choose(every, (console.width - label_width - 2) // (len(_CELL) + 2))
    seeds = max(line.n_seeds for line in lines)
    console.print(_title(title, score, seeds), style="bold")
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("head", no_wrap=True)
    for tau in taus:
        table.add_column(f"tau {tau}", justify="right", no_wrap=True)
    for name, line in shown:
        table.add_row(name, *(_cell(line, tau) for tau in taus))
    console.print(table)
    for note in _notes(lines, len(shown), every, taus):
        console.print(note, style="dim")


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Prints each finding: phenomenon -> hypothesis -> what to try, its command and its source.

    Commands stand on lines of their own and are never folded, so that they can be copied.

    Args:
        console: Where to print.
        findings: In the order to print.
    """
    if not findings:
        console.print("No rule of the user guide speaks about this map.")
        return
    for number, finding in enumerate(findings, start=1):
        head = Text.assemble(
            (f"{number}. {finding.rule}", "bold"),
            "  ",
            (f"confidence: {finding.confidence}", _STYLES[finding.confidence]),
        )
        console.print(head)
        steps = Table.grid(padding=(0, 1))
        steps.add_column(style="dim", no_wrap=True)
        steps.add_column(overflow="fold")
        steps.add_row("   phenomenon", finding.phenomenon)
        steps.add_row("-> hypothesis", finding.hypothesis)
        steps.add_row("-> try", finding.advice)
        console.print(steps)
        console.print(Text(f"   {finding.command}", style="cyan"), soft_wrap=True)
        console.print(f"   source: {finding.source}", style="dim")
        console.print()
    console.print(_CONFIDENCE, style="dim")


def _title(title: str, score: str, n_seeds: int) -> str:
    what = f"Energy map of {title}" if title else "Energy map"
    seeds = f", mean of {n_seeds} seeds" if n_seeds > 1 else ""
    return f"{what}: energy left (AIE) and {score}{seeds}"


def _choose(taus: Sequence[int], n_fit: int) -> list[int]:
    """Returns up to ``n_fit`` taus, at least two: the ends, and evenly between by rank.

    The map's taus are geometric, so that even ranks are even steps on a log axis.
    """
    n = max(2, n_fit)
    if len(taus) <= n:
        return list(taus)
    last = len(taus) - 1
    return [taus[round(i * last / (n - 1))] for i in range(n)]


def _cell(line: HeadLine, tau: int) -> str:
    """Returns AIE and score at a tau, or why there is none."""
    if tau not in line.mean.index:
        return _CONVERGED if line.converged and tau > line.mean.index[-1] else _MISSING
    aie, share = (float(line.mean[name].loc[tau]) for name in ("aie", "hp_train_acc"))
    return f"{aie:.3f} {_whole_percent(share):>5}"


def _whole_percent(share: float) -> str:
    """Returns ``"37 %"``; what is not quite 100 % never reads as 100 %."""
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def _notes(
    lines: Sequence[HeadLine], n_shown: int, every: Sequence[int], taus: Sequence[int]
) -> list[str]:
    """Returns what the table leaves out."""
    notes = []
    if any(line.converged and line.mean.index[-1] < every[-1] for line in lines):
        notes.append(f"{_CONVERGED}  stopped before: HP-train-acc had converged")
    left_out = []
    if len(taus) < len(every):
        left_out.append(f"{len(every) - len(taus)} of {len(every)} taus")
    if n_shown < len(lines):
        left_out.append(f"{len(lines) - n_shown} of {len(lines)} heads")
    if left_out:
        notes.append(f"Left out: {' and '.join(left_out)}; --json has all, --plot draws all.")
    return notes
