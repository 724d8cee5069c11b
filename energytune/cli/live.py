"""The display on a terminal: one live table and progress bars."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from energytune.cli.board import Board, Row
from energytune.cli.duration import format_seconds
from energytune.cli.lines import percent, trial_name
from energytune.progress import Advance
from energytune.trial import Event, Job, TrialRecord

__all__ = ["LiveDisplay"]

_STYLES = {"waiting": "yellow", "COMPLETE": "green", "PRUNED": "dim", "FAIL": "red"}
_LINES_AROUND = 8
"""Terminal lines that are not rows: head, best so far, bars, a shell's prompt."""


class LiveDisplay:
    """Keeps one table up to date; an ``Observer`` and a ``Progress``.

    While the search runs, the table shows as many trials as fit: the running ones, the best one
    and the last that ended. When it ends, the table stays on screen with every trial.

    Args:
        console: A console on a terminal.
        board: What is known of the search.
    """

    def __init__(self, console: Console, board: Board) -> None:
        self._board = board
        self._lock = threading.RLock()
        self._over = False
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._live = Live(self, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        """Starts drawing."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Draws all trials a last time and stops."""
        self._over = True
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws the table, the best so far and the open stages."""
        with self._lock:
            board = self._board
            room = max(3, console.height - _LINES_AROUND)
            rows = board.rows if self._over else board.visible(room)
            parts: list[Table | Text | Bars] = []
            if rows:
                parts.append(self._table(rows))
                hidden = len(board.rows) - len(rows)
                if hidden:
                    what = "wait or have ended" if board.n_waiting else "have ended"
                    parts.append(Text(f"and {hidden} trials that {what}", style="dim"))
                parts.append(self._status())
            if self._bars.tasks and not self._over:
                parts.append(self._bars)
        yield Group(*parts)

    def note(self, text: str) -> None:
        """Prints a line above the table; it stays."""
        self._live.console.print(f"Note: {text}", soft_wrap=True)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Generator[Advance, None, None]:
        """Shows a bar while the stage is open."""
        task = self._bars.add_task(name, total=total)
        try:
            yield lambda n_units: self._bars.advance(task, n_units)
        finally:
            self._bars.remove_task(task)

    def job_started(self, job: Job) -> None:
        """Adds a row."""
        with self._lock:
            self._board.started(job)

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Updates a row."""
        with self._lock:
            self._board.progress(job, events)

    def job_ended(self, record: TrialRecord) -> None:
        """Closes a row."""
        with self._lock:
            self._board.ended(record)

    def _table(self, rows: Sequence[Row]) -> Table:
        # Tight, so that "stopped at 163/200" fits into 80 columns.
        table = Table(
            box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold"
        )
        for name, justify in (
            ("trial", "left"),
            ("state", "left"),
            ("tau", "right"),
            ("head", "left"),
            ("AIE", "right"),
            ("HP-train-acc", "right"),
            ("FT-valid-acc", "right"),
        ):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in rows:
            self._add(table, row)
        return table

    def _add(self, table: Table, row: Row) -> None:
        recipe = row.job.recipe
        if row.phase == "finetuning":
            state = f"FT {row.n_epochs}/{self._board.n_ft_epochs}"
        elif row.running and row.job.role == "test":
            state = "test"
        elif row.phase == "probing":
            state = f"HP {_bar(row.hp_epoch, recipe.tau)}"
        elif row.duplicate_of is not None:
            state = f"= t{row.duplicate_of:03d}"
        else:
            state = self._board.end_of(row)
        head: str = recipe.head_arch
        if recipe.label_smoothing:
            head += f" ls={recipe.label_smoothing:.2g}"
        if recipe.reinit_depth:
            head += f" k={recipe.reinit_depth}"
        best = row is self._board.best
        table.add_row(
            trial_name(row.job) + (" *" if best else ""),
            state,
            str(recipe.tau),
            head,
            "" if row.aie is None else f"{row.aie:.4f}",
            "" if row.hp_train_acc is None else percent(row.hp_train_acc),
            "" if row.ft_valid_acc is None else percent(row.ft_valid_acc),
            style="bold green" if best else _STYLES.get(row.phase),
        )

    def _status(self) -> Text:
        board, best, eta = self._board, self._board.best, self._board.eta_s()
        parts = [f"{board.n_rested}/{board.n_trials} trials"]
        if board.n_waiting:
            parts.append(f"{board.n_waiting} wait")
        if board.confirming and (board.n_confirmed or not board.testing):
            parts.append(f"confirming {board.n_confirmed}/{board.n_confirm}")
        if board.testing:
            parts.append("testing")
        if best is not None:
            label = f"{trial_name(best.job)} {best.job.recipe.label()}"
            parts.append(f"best so far {percent(best.ft_valid_acc)} ({label})")
        if not self._over:
            parts.append(f"ETA {'-' if eta is None else format_seconds(eta)}")
        return Text("  ".join(parts), style="bold", overflow="fold")


def _bar(done: int, total: int, width: int = 7) -> str:
    """Returns a bar of ``width`` characters, as full as ``done`` of ``total``."""
    full = width if total == 0 else round(width * done / total)
    return "\u2501" * full + "\u2500" * (width - full)
