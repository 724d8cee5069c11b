"""The display without a terminal: plain lines, one a trial or pause and two a stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console

from energytune.cli.board import Board, Row
from energytune.cli.duration import format_seconds
from energytune.progress import Advance
from energytune.trial import Event, Job, Paused, ProbeDone, TrialRecord

__all__ = ["LineDisplay", "percent", "trial_name"]


class LineDisplay:
    """Prints lines as things happen; an ``Observer`` and a ``Progress``.

    Args:
        console: Where to print.
        board: What is known of the search.
        verbose: Whether starts and the end of probing get lines of their own.
    """

    def __init__(self, console: Console, board: Board, verbose: bool = False) -> None:
        self._console = console
        self._board = board
        self._verbose = verbose
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Starts the display."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the display."""

    def note(self, text: str) -> None:
        """Prints a line."""
        self._say(f"Note: {text}")

    @contextmanager
    def stage(self, name: str, total: int | None) -> Generator[Advance, None, None]:
        """Prints a line at the start and one at the end of a stage."""
        began = time.monotonic()
        done = 0

        def advance(n_units: int) -> None:
            nonlocal done
            done += n_units

        self._say(f"{name} ...")
        yield advance
        units = f" ({done} of {total})" if total is not None and done < total else ""
        self._say(f"{name}: done in {format_seconds(time.monotonic() - began)}{units}")

    def job_started(self, job: Job) -> None:
        """Notes the start; prints it if verbose."""
        with self._lock:
            self._board.started(job)
        if self._verbose:
            self._say(f"{trial_name(job)} started: {job.recipe.label()}")

    def job_progress(self, job: Job, events: Sequence[Event]) -> None:
        """Notes events; prints a pause, and the end of probing if verbose."""
        with self._lock:
            row = self._board.progress(job, events)
        for event in events:
            if isinstance(event, Paused):
                self._say(self._line(row))
            if self._verbose and isinstance(event, ProbeDone):
                self._say(
                    f"{trial_name(job)} probed {event.n_epochs_run} of {job.recipe.tau} epochs in "
                    f"{format_seconds(event.seconds)}: AIE {row.aie:.4f}, "
                    f"HP-train-acc {percent(row.hp_train_acc)}"
                )

    def job_ended(self, record: TrialRecord) -> None:
        """Prints the trial's line."""
        with self._lock:
            row = self._board.ended(record)
            line = self._line(row)
        self._say(line)

    def _line(self, row: Row) -> str:
        board, job = self._board, row.job
        if job.role == "test":
            end = f"[test] {trial_name(job)} {board.end_of(row)} {job.recipe.label()}"
            return f"{end} | {row.reason}" if row.reason else end
        confirm = job.role == "confirm"
        if confirm:
            count = f"[confirm {board.n_confirmed}/{board.n_confirm}]"
        else:
            count = f"[{board.n_rested}/{board.n_trials}]"
        parts = [
            f"{count} {trial_name(job)} {board.end_of(row)} {job.recipe.label()}",
            f"AIE {row.aie:.4f}" if row.aie is not None else "AIE -",
            f"HP-train-acc {percent(row.hp_train_acc)}",
            f"FT-valid-acc {percent(row.ft_valid_acc)}",
        ]
        if row.duplicate_of is not None:
            parts.append(f"same run as t{row.duplicate_of:03d}")
        elif row.reason or row.stop_reason:
            parts.append(row.reason or row.stop_reason)
        best = board.best
        if best is not None and not confirm:
            parts.append(f"best {percent(best.ft_valid_acc)} ({trial_name(best.job)})")
        eta = board.eta_s()
        if eta is not None:
            parts.append(f"ETA {format_seconds(eta)}")
        return " | ".join(parts)

    def _say(self, line: str) -> None:
        with self._lock:
            self._console.print(line, soft_wrap=True)


def percent(share: float | None) -> str:
    """Returns ``"91.2 %"``, or ``"-"`` for None."""
    return "-" if share is None else f"{100 * share:.1f} %"


def trial_name(job: Job) -> str:
    """Returns ``"t004"``, and ``"t004 seed 1001"`` for a confirmation or its test."""
    name = f"t{job.number:03d}"
    return name if job.is_trial else f"{name} seed {job.seed}"
