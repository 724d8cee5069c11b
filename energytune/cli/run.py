"""Runs a search for a command, and tells its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from energytune.cli.summary import Repeatable
    from energytune.config import SearchConfig

__all__ = ["run_and_tell"]


def run_and_tell(
    name: str, options: Repeatable, config: SearchConfig, *, as_json: bool, verbose: bool
) -> None:
    """Runs a search and prints its end.

    Args:
        name: Of the command.
        options: What was asked for, to write commands that do it again.
        config: The search.
        as_json: Whether one JSON document is printed, and all else on stderr.
        verbose: Whether to tell more.

    Raises:
        typer.Exit: With code 130 if it was interrupted, 1 if there is no winner.
    """
    from energytune.cli.display import log_to, make_console, make_display
    from energytune.cli.summary import summarise
    from energytune.cli.summary_json import to_json
    from energytune.cli.summary_text import print_summary
    from energytune.tune import run_search

    console = make_console(to_stderr=as_json)
    console.print(
        f"energytune {name}: {config.dataset}, {_extent(config)}, seed {config.seed}, "
        f"in {config.out}",
        soft_wrap=True,
    )
    if verbose:
        log_to(console)
    try:
        with make_display(console, config, verbose) as display:
            result = run_search(config, observers=[display], progress=display)
    except KeyboardInterrupt:
        _say_how_to_go_on(options, config)
        raise typer.Exit(130) from None
    summary = summarise(result, options)
    print_summary(console, summary)
    if as_json:
        typer.echo(to_json(summary))
    if result.interrupted:
        typer.echo("Interrupted. What has ended is kept.", err=True)
        raise typer.Exit(130)
    if summary.winner is None:
        raise typer.Exit(1)


def _extent(config: SearchConfig) -> str:
    """Returns what ends the search, of what is known before."""
    text = f"{config.n_trials} trials"
    if config.until == "converged":
        text = f"until converged, at most {text}"
    if config.ft_epochs_budget is not None:
        text += f", {config.ft_epochs_budget:,} finetuning epochs"
    if config.gpu_hours is not None:
        text += f", {config.gpu_hours:g} GPU-hours"
    if config.max_disk is not None:
        text += f", {config.max_disk} of disk"
    return text


def _say_how_to_go_on(options: Repeatable, config: SearchConfig) -> None:
    typer.echo("\nInterrupted. What has ended is kept. Go on with:", err=True)
    typer.echo(f"  {options.at(config.out).command()}", err=True)
