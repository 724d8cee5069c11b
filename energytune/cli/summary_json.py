"""The end of a search as one JSON document."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from energytune.cli.summary import Summary
from energytune.redact import redact
from energytune.report.comparison import Comparison, Confirmed, Lead
from energytune.report.cost_plan import as_json
from energytune.report.inputs import Standing
from energytune.report.neighbours import Neighbour
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord

__all__ = ["to_json"]


def to_json(summary: Summary) -> str:
    """Returns the summary as one JSON document (RFC 8259: what is not finite is null).

    Accuracies lie in [0, 1], differences in [-1, 1] or in seed deviations, times in seconds.
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
        "end_reason": result.end_reason,
        "winner": None,
        "baselines": [_comparison(c, result.baselines[c.baseline]) for c in summary.comparisons],
        "confirmed": [_standing(s) for s in result.confirmed],
        "seed_noise": _noise(result.seed_noise),
        "runner_up": summary.runner_up and _lead(summary.runner_up),
        "best_single_run": summary.best_run and _lead(summary.best_run),
        "neighbours": [_neighbour(n, summary.untried.get(n.direction)) for n in summary.neighbours],
        "optimum": summary.optimum,
        "costs": {**asdict(summary.costs), "n_duplicates": result.n_duplicates},
        "plan": result.plan
        and {
            **as_json(result.plan),
            "spent": {"train_s": summary.train_s, "disk_bytes": result.written_bytes},
        },
        "registered": registered
        and {
            "name": registered.name,
            "version": str(registered.version),
            "is_champion": registered.is_champion,
            "decision": registered.decision,
        },
        "tracking": tracking
        and {
            "uri": redact(tracking.uri),
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
        "difference_in_seed_deviations": comparison.deviations,
        "n_pairs": difference.n,
        "is_winner": comparison.is_winner,
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "number": standing.number,
        "recipe": standing.recipe.to_dict(),
        "ft_valid_acc_mean": standing.mean,
        "n_seeds": standing.n_seeds,
        "dropped": standing.dropped,
    }


def _noise(noise: SeedNoise | None) -> dict[str, Any] | None:
    return None if noise is None else {**asdict(noise), "interval": noise.interval()}


def _lead(lead: Lead) -> dict[str, Any]:
    """Returns the winner's lead over another recipe in FT-valid-acc."""
    interval = lead.difference.interval
    return {
        "number": lead.number,
        "recipe": lead.recipe.to_dict(),
        "difference": lead.difference.mean,
        "difference_interval": interval and [interval.low, interval.high],
        "difference_in_seed_deviations": lead.deviations,
        "n_pairs": lead.difference.n,
    }


def _neighbour(neighbour: Neighbour, command: str | None) -> dict[str, Any]:
    """Returns the nearest trial of a direction, or the recipe that ``command`` would run there."""
    record = neighbour.record
    recipe = record.job.recipe if record else neighbour.untried
    return {
        "direction": neighbour.direction,
        "number": record and record.job.number,
        "state": record and record.state,
        "recipe": recipe and recipe.to_dict(),
        "ft_valid_acc": neighbour.accuracy,
        "ft_epoch": neighbour.epoch,
        "difference": neighbour.difference,
        "difference_in_seed_deviations": neighbour.deviations,
        "command": command,
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
