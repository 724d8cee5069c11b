"""The end of a search as data: everything that is told to a person or a script."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from energytune.cli.search_result import SearchResult
from energytune.config import DIMENSIONS, Recipe
from energytune.report.comparison import Comparison, Confirmed, Lead, compare, confirmed, lead
from energytune.report.cost_plan import train_seconds
from energytune.report.costs import Costs, costs
from energytune.report.neighbours import Neighbour, neighbours, optimum
from energytune.search.result import best_run
from energytune.trial import TrialRecord

__all__ = ["Command", "Repeatable", "Summary", "summarise"]


class Command(Protocol):
    """What can be written as a command."""

    def command(self) -> str:
        """Returns the command, quoted for a shell."""
        ...


class Repeatable(Protocol):
    """How a search was begun, or gone on with."""

    def reproduce(self, recipe: Recipe, seed: int) -> Command:
        """Returns what runs a recipe and nothing else."""
        ...

    def at(self, out: Path, trials: int | None = None) -> Command:
        """Returns what goes on with the search in a folder, up to so many trials."""
        ...


@dataclass(frozen=True)
class Summary:
    """All that a person or a script is told at the end.

    Attributes:
        result: The search's result.
        winner: The chosen trial; None if none is complete.
        is_confirmed: Whether the winner is the race's, not the best of a search that was
            interrupted.
        confirmed: The winner on the confirmation's seeds; None without a winner.
        comparisons: The winner against each baseline, on test.
        runner_up: The winner against the second of the confirmation, on valid; None without one.
        best_run: The winner against the trial with the best single run of the search, on valid;
            None if that is the winner itself, or if there is no confirmed winner.
        neighbours: The winner's nearest trials in ft_lr and tau; empty without a winner.
        optimum: One sentence on whether the winner looks like an interior optimum; may be empty.
        untried: Commands that run a recipe next to the winner, by direction, where none was run.
        costs: What the search has cost.
        train_s: Seconds of training of trials and confirmation, over the trials at once; None
            where there was no plan to compare with.
        command: Command that runs the winner's recipe again; None without a winner.
        next_commands: What to do next: (command, what it does).
    """

    result: SearchResult
    winner: TrialRecord | None
    is_confirmed: bool
    confirmed: Confirmed | None
    comparisons: list[Comparison]
    runner_up: Lead | None
    best_run: Lead | None
    neighbours: tuple[Neighbour, ...]
    optimum: str
    untried: Mapping[str, str]
    costs: Costs
    train_s: float | None
    command: str | None
    next_commands: list[tuple[str, str]]


def summarise(result: SearchResult, options: Repeatable) -> Summary:
    """Puts together what is told at the end of a search.

    Args:
        result: What the search gave.
        options: What was asked for, to write commands that do it again.
    """
    winner = result.winner
    spent = costs(result.records, result.confirmations, result.seconds)
    train_s = _train_s(result)
    following = _next_commands(result, options)
    if winner is None:
        return Summary(
            result, None, False, None, [], None, None, (), "", {}, spent, train_s, None, following
        )
    space, seed = result.config.space, result.config.seed
    found = neighbours(winner, result.records, space, result.seed_noise)
    is_confirmed = not result.interrupted and bool(result.confirmed)
    is_confirmed = is_confirmed and result.confirmed[0].number == winner.job.number
    return Summary(
        result=result,
        winner=winner,
        is_confirmed=is_confirmed,
        confirmed=confirmed(winner, result.confirmations, result.metric),
        comparisons=compare(winner, result.baselines, result.confirmations),
        runner_up=_lead(result, winner, _runner_up(result)) if is_confirmed else None,
        best_run=_lead(result, winner, _best_run(result)) if is_confirmed else None,
        neighbours=found,
        optimum=optimum(found, winner, space),
        untried={
            n.direction: options.reproduce(n.untried, seed).command() for n in found if n.untried
        },
        costs=spent,
        train_s=train_s,
        command=options.reproduce(winner.job.recipe, seed).command(),
        next_commands=following,
    )


def _train_s(result: SearchResult) -> float | None:
    if result.plan is None:
        return None
    return train_seconds(result.records, result.confirmations, result.plan.concurrency)


def _runner_up(result: SearchResult) -> int | None:
    """Returns the number of the best recipe after a confirmed winner."""
    return next((s.number for s in result.confirmed[1:] if s.n_seeds), None)


def _best_run(result: SearchResult) -> int | None:
    """Returns the number of the trial with the best single run."""
    best = best_run(record for record in result.records if record.duplicate_of is None)
    return None if best is None else best.job.number


def _lead(result: SearchResult, winner: TrialRecord, number: int | None) -> Lead | None:
    if number is None or number == winner.job.number:
        return None
    other = next(r for r in result.records if r.job.number == number)
    return lead(winner, other, result.confirmations, result.seed_noise)


def _next_commands(result: SearchResult, options: Repeatable) -> list[tuple[str, str]]:
    out = str(result.out)
    commands = []
    if result.interrupted:
        commands.append((options.at(result.out).command(), "goes on with this search"))
    if result.tracking is not None and result.tracking.n_unsent:
        what = f"sends the {result.tracking.n_unsent} entries that MLflow has not got yet"
        commands.append((shlex.join(["energytune", "sync", out]), what))
    if result.records:
        commands.append((shlex.join(["energytune", "ui", out]), "shows all trials in MLflow's UI"))
    if not result.interrupted and len(result.config.space.fixed()) < len(DIMENSIONS):
        config = result.config
        limits = (config.ft_epochs_budget, config.time_budget_s, config.gpu_hours, config.max_disk)
        ended_early = config.until == "converged" or any(limit is not None for limit in limits)
        n_trials = len(result.records) if ended_early else config.n_trials
        more = options.at(result.out, trials=2 * n_trials)
        commands.append((more.command(), "goes on with as many trials again"))
    return commands
