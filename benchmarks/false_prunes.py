"""How often what was stopped would have won: ``python -m benchmarks.false_prunes``.

Searches are replayed on the tabular benchmark, where it is known what each recipe that was stopped
would have come to. By rule: before finetuning (``redundant``, ``collapsed``), waiting at a rung
when the search ends (``paused at 8`` ...), no better for the patience (``early``). Each recipe's
mean-over-seeds test accuracy is compared with that of the recipe which the search returns:

- ``false_prunes``: it would have become the winner or come within one seed deviation of it.
- ``better``: it is better at all.
- ``clearly_better``: it is better by more than one seed deviation: the search lost something.
- ``would_be_returned``: its whole finetune has a higher validation accuracy than what is returned.

The same shares of all recipes of the space are what stopping at random would give.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.machine import RESULTS, metadata, write_csv, write_json
from benchmarks.tabular.grid import N_SEEDS
from benchmarks.tabular.method import Ended, Trace
from benchmarks.tabular.peers import METHODS, OURS
from benchmarks.tabular.replay import Replay
from benchmarks.tabular.table import Table, tables
from energytune.optimizer.ranking import ranked

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
_STOPPED = ("redundant", "collapsed", "paused", "pruned", "stopped")
"""Ends that are somebody's decision; a finetune that stopped by itself is not a prune."""


def main() -> None:
    """Replays the searches, writes and prints the lines."""
    options = parse()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = tables(options.role)
    judged = []
    for table in chosen:
        for repeat in range(options.repeats):
            replay = Replay(table, repeat % N_SEEDS)
            trace = replay.search(
                METHODS[options.method],
                options.ft_epochs,
                repeat,
                n_finalists=options.finalists,
            )
            judged.append(judge(table, replay.seed, trace, METHODS[options.method].tied_se))
        print(table.task.name, flush=True)
    lines = false_prune_lines(judged)
    stem = f"false_prunes-{options.role}"
    write_csv(options.out / f"{stem}.csv", lines)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    tasks = [table.task.name for table in chosen]
    write_json(options.out / f"{stem}.json", metadata(settings=settings, tasks=tasks))
    for line in lines:
        print(line)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--role", choices=("design", "heldout"), default="design")
    parser.add_argument("--method", choices=list(METHODS), default=OURS)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--ft-epochs", type=int, default=800, help="of each search")
    parser.add_argument(
        "--finalists",
        type=int,
        default=3,
        help="best that wait, finished as a search does",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder")
    return parser.parse_args()


def rule_of(ended: Ended) -> str:
    """Returns by which rule a recipe's run ended."""
    return f"paused at {ended.epoch}" if ended.end == "paused" else ended.end


def judge(
    table: Table, seed: int, trace: Trace, tied_se: float = 0.0
) -> list[tuple[str, NDArray[np.float64]]]:
    """Returns (rule, which of the four hold) for each recipe that was begun and of the space.

    A recipe of the space has the rule ``"all recipes"``. The returned recipe is left out, being
    the one that all are compared with; near ties of it go by the loss as the method says. Nothing
    is returned for a search that found nothing.
    """
    place = trace.place[-1] if trace.place else -1
    if place < 0:
        return []
    holds = np.stack(_holds(table, seed, trace, place, tied_se), axis=1).astype(np.float64)
    begun = [(rule_of(e), holds[e.place]) for e in trace.ended if e.place != place]
    pruned = [
        ("all prunes", holds[e.place])
        for e in trace.ended
        if e.place != place and e.end in _STOPPED
    ]
    space = [("all recipes", row) for i, row in enumerate(holds) if i != place]
    return begun + pruned + space


def _holds(table: Table, seed: int, trace: Trace, place: int, tied_se: float) -> tuple[Bools, ...]:
    """Returns the four answers for every recipe, (recipes,) each."""
    score, deviation = table.mean_test_acc, table.seed_deviation
    gain = score - score[place]
    seen = next(e.epoch for e in trace.ended if e.place == place)
    returned = _best(table.valid_acc[seed, place, :seen], table.valid_loss[seed, place, :seen])
    # A finetune that diverged is never returned.
    whole = np.array(
        [
            not failed and _is_better(_best(accuracy, loss), returned, table.n_valid, tied_se)
            for failed, accuracy, loss in zip(
                table.failed[seed], table.valid_acc[seed], table.valid_loss[seed], strict=True
            )
        ]
    )
    return gain >= -deviation, gain > 0, gain > deviation, whole


def _best(accuracy: Floats, loss: Floats) -> tuple[float, float]:
    """Returns the highest accuracy, and the least loss of the epochs that have it."""
    top = float(np.nan_to_num(accuracy).max())
    return top, float(loss[accuracy == top].min(initial=np.inf))


def _is_better(
    other: tuple[float, float], returned: tuple[float, float], n_valid: int, tied_se: float
) -> bool:
    if tied_se == 0.0:
        return other[0] > returned[0]
    return ranked([returned, other], n_valid, tied_se)[0] == 1


def false_prune_lines(
    judged: Iterable[Sequence[tuple[str, NDArray[np.float64]]]],
) -> list[dict[str, Any]]:
    """Returns a line a rule: how many it stopped, and the shares for which each answer holds."""
    by_rule: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    n_searches = 0
    for of_search in judged:
        n_searches += 1
        for rule, holds in of_search:
            by_rule[rule].append(holds)
    names = ("false_prunes", "better", "clearly_better", "would_be_returned")
    return [
        {"rule": rule, "n": len(rows), "n_a_search": round(len(rows) / n_searches, 2)}
        | dict(zip(names, np.mean(rows, axis=0).round(4).tolist(), strict=True))
        for rule, rows in sorted(by_rule.items())
    ]


if __name__ == "__main__":
    main()
