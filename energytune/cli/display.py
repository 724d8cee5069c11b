"""Chooses the display: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os

from rich.console import Console
from rich.logging import RichHandler

from energytune.cli.board import Board
from energytune.cli.lines import LineDisplay
from energytune.cli.live import LiveDisplay
from energytune.config import SearchConfig

__all__ = ["QuietConsole", "log_to", "make_console", "make_display", "make_stages"]


class QuietConsole(Console):
    """A console whose reader may leave (``energytune search | head``) without ending the search."""

    def on_broken_pipe(self) -> None:
        """Prints nothing from now on."""
        self.quiet = True
        # Else Python fails again when it flushes the stream at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def make_console(to_stderr: bool = False) -> Console:
    """Returns the console for people; it reads no markup, so reasons may hold brackets."""
    return QuietConsole(stderr=to_stderr, markup=False, highlight=False, emoji=False)


def make_display(
    console: Console, config: SearchConfig, verbose: bool = False
) -> LineDisplay | LiveDisplay:
    """Returns the display of a search: an ``Observer``, a ``Progress`` and a context manager.

    Args:
        console: Where to draw; live if it is a terminal.
        config: The search.
        verbose: Whether plain lines tell more.
    """
    taus = config.baseline_taus
    n_baselines = 2 if taus is None else len(set(taus))
    board = Board(
        config.n_trials,
        config.space.finetune.epochs,
        n_confirm=(config.n_confirm_recipes + n_baselines) * config.n_confirm_seeds,
        time_budget_s=config.time_budget_s,
    )
    if console.is_terminal:
        return LiveDisplay(console, board)
    return LineDisplay(console, board, verbose)


def make_stages(console: Console) -> LineDisplay | LiveDisplay:
    """Returns the display of work without trials: its stages and notes, bars on a terminal."""
    board = Board(0, 0)
    return LiveDisplay(console, board) if console.is_terminal else LineDisplay(console, board)


def log_to(console: Console) -> None:
    """Shows the package's own log, from INFO on; other packages' logs stay as they are."""
    logger = logging.getLogger("energytune")
    logger.addHandler(RichHandler(console=console, show_path=False))
    logger.setLevel(logging.INFO)
