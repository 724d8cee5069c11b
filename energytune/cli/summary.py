"""The end of a search as data: everything that is printed, and the JSON document."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from energytune.cli.options import SearchOptions
from energytune.config import DIMENSIONS, SearchConfig
from energytune.report.comparison import Comparison, Confirmed, compare, confirmed
from energytune.report.costs import Costs, costs
from energytune.trial import TrialRecord

__all__ = [
    "Registered",
    "SearchResult",
    "Summary",
    "Tracking",
    "summarise",
    "to_json",
]


class Registered(Protocol):
    """A registered model version."""

    @property
    def name(self) -> str:
        """Name of the registered model."""
        ...

    @property
    def version(self) -> str | int:
        """Version in the registry."""
        ...

    @property
    def is_champion(self) -> bool:
        """Whether the version carries the alias ``champion``."""
        ...

    @property
    def decision(self) -> str:
        """Why it does or does not."""
        ...


class Tracking(Protocol):
    """Where the search's runs have gone."""

    @property
    def uri(self) -> str:
        """MLflow's tracking URI."""
        ...

    @property
    def link(self) -> str | None:
        """Deep link to the search's charts; None for a store without a server."""
        ...

    @property
    def warning(self) -> str | None:
        """Why not everything was sent; None if all was."""
        ...

    @property
    def n_unsent(self) -> int:
        """Journal entries that wait to be sent."""
        ...


class SearchResult(Protocol):
    """What the summary reads of a ``TuneResult``."""

    @property
    def config(self) -> SearchConfig:
        """Settings of the search."""
        ...

    @property
    def records(self) -> Sequence[TrialRecord]:
        """Trials of the search."""
        ...

    @property
    def confirmations(self) -> Sequence[TrialRecord]:
        """Records of the confirmation."""
        ...

    @property
    def winner(self) -> TrialRecord | None:
        """The chosen trial; None if none is complete."""
        ...

    @property
    def baselines(self) -> Mapping[str, TrialRecord]:
        """Baselines by name, ``"tau=0"`` and ``"tau=max"``, as far as they were run."""
        ...

    @property
    def registered(self) -> Registered | None:
        """The registered model; None if there is none."""
        ...

    @property
    def tracking(self) -> Tracking | None:
        """Where the runs have gone; None without tracking."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall-clock seconds by stage."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether the search was stopped before its end."""
        ...

    @property
    def n_duplicates(self) -> int:
        """Suggestions that repeated an earlier trial and were not run again."""
        ...

    @property
    def out(self) -> Path:
        """Folder of the search."""
        ...


@dataclass(frozen=True)
class Summary:
    """All that a person or a script is told at the end.

    Attributes:
        result: The search's result.
        winner: The chosen trial; None if none is complete.
        confirmed: The winner on the confirmation's seeds; None without a winner.
        comparisons: The winner against each baseline.
        costs: What the search has cost.
        command: Command that runs the winner's recipe again; None without a winner.
        next_commands: What to do next: (command, what it does).
    """

    result: SearchResult
    winner: TrialRecord | None
    confirmed: Confirmed | None
    comparisons: list[Comparison]
    costs: Costs
    command: str | None
    next_commands: list[tuple[str, str]]


def summarise(result: SearchResult, options: SearchOptions) -> Summary:
    """Puts together what is told at the end of a search.

    Args:
        result: What the search gave.
        options: What was asked for, to write commands that do it again.
    """
    winner = result.winner
    spent = costs(result.records, result.confirmations, result.seconds)
    following = _next_commands(result, options)
    if winner is None:
        return Summary(result, None, None, [], spent, None, following)
    return Summary(
        result=result,
        winner=winner,
        confirmed=confirmed(winner, result.confirmations),
        comparisons=compare(winner, result.baselines, result.confirmations),
        costs=spent,
        command=options.reproduce(winner.job.recipe, result.config.seed).command(),
        next_commands=following,
    )


def _next_commands(result: SearchResult, options: SearchOptions) -> list[tuple[str, str]]:
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
        more = options.at(result.out, trials=2 * result.config.n_trials)
        commands.append((more.command(), "goes on with as many trials again"))
    return commands


def to_json(summary: Summary) -> str:
    """Returns the summary as one JSON document (RFC 8259: what is not finite is null).

    Accuracies lie in [0, 1], differences in [-1, 1], times in seconds.
    """
    from energytune.report.tables import trials_frame

    result, winner, best = summary.result, summary.winner, summary.confirmed
    registered, tracking = result.registered, result.tracking
    document: dict[str, Any] = {
        "dataset": result.config.dataset,
        "backbone": result.config.backbone,
        "seed": result.config.seed,
        "out": str(result.out),
        "interrupted": result.interrupted,
        "winner": None,
        "baselines": [_comparison(c, result.baselines[c.baseline]) for c in summary.comparisons],
        "costs": {**asdict(summary.costs), "n_duplicates": result.n_duplicates},
        "registered": registered
        and {
            "name": registered.name,
            "version": str(registered.version),
            "is_champion": registered.is_champion,
            "decision": registered.decision,
        },
        "tracking": tracking
        and {
            "uri": tracking.uri,
            "link": tracking.link,
            "warning": tracking.warning,
            "n_unsent": tracking.n_unsent,
        },
        "next_commands": [command for command, _ in summary.next_commands],
        "trials": trials_frame(result.records).astype(object).to_dict("records"),
    }
    if winner is not None and best is not None:
        document["winner"] = {
            "number": winner.job.number,
            "recipe": winner.job.recipe.to_dict(),
            "ft_valid_acc": winner.objective,
            "command": summary.command,
            **_confirmed(best),
        }
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _confirmed(confirmed: Confirmed) -> dict[str, Any]:
    interval = confirmed.interval
    return {
        "test_acc": confirmed.mean,
        "test_acc_interval": interval and [interval.low, interval.high],
        "test_acc_by_seed": {str(seed): a for seed, a in confirmed.accuracy_by_seed.items()},
        "n_failed_confirmations": confirmed.n_failed,
    }


def _comparison(comparison: Comparison, baseline: TrialRecord) -> dict[str, Any]:
    difference = comparison.difference
    interval = difference.interval
    return {
        "name": comparison.baseline,
        "number": baseline.job.number,
        "recipe": baseline.job.recipe.to_dict(),
        "ft_valid_acc": baseline.objective,
        **_confirmed(comparison.confirmed),
        "difference": difference.mean,
        "difference_interval": interval and [interval.low, interval.high],
        "n_pairs": difference.n,
        "is_winner": comparison.is_winner,
    }


def _plain(value: Any) -> Any:
    """Returns JSON values only: missing and non-finite numbers become null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    try:
        number = float(value)
    except TypeError:  # pandas' missing integer
        return None
    return number if math.isfinite(number) else None
