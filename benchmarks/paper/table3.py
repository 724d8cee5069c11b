"""Tables 3 and 5 to 8: the last blocks reinitialised and probed with the head.

    python -m benchmarks.paper.table3
    python -m benchmarks.paper.table3 --dataset domainnet-sketch-paper --pretraining 7

All head sides are probed to tau_max, then everything is finetuned. Depth 1, 2 and 3 are the
paper's L4.3, L4.2 and L4.1; the task's search space says how deep it goes. Features are compared
at each arm's own cut, so their distances are no ladder over depths. ``--pretraining`` takes the
number of the printed table (5 to 8), whose titles are lost in the text that we have.
"""

from __future__ import annotations

from time import perf_counter

from benchmarks.paper.arms import Arm
from benchmarks.paper.compute import run_arms
from benchmarks.paper.experiment import ARM_METRICS, labelled_rows, main
from benchmarks.paper.output import print_table, write_results
from benchmarks.paper.printed import domain_of, read_printed
from benchmarks.paper.settings import Settings, bench_of
from benchmarks.paper.statistics import Row, mean_text, summary_rows
from benchmarks.paper.table2 import difference, head_pair

BASE, STRONG = "baseline", "strong head"
_DEEPEST = 3
_LAYERS = {1: "L4.3", 2: "L4.2", 3: "L4.1"}


def reinit(depth: int) -> str:
    """Returns the name of a row."""
    return f"reinit {depth}"


def arms(settings: Settings) -> dict[str, Arm]:
    """Returns the arms by their name in the table."""
    tau, rate, head = settings.tau_max, settings.ft_lr, settings.head_arch
    named = {BASE: Arm(tau, rate, head)}
    heads = head_pair(settings)
    if heads is not None and heads[1] != head:
        named[STRONG] = Arm(tau, rate, heads[1])
    possible = bench_of(settings, 0).backbone.max_reinit_depth
    deepest = min(_DEEPEST, possible, settings.space.reinit_depth.high)
    for depth in range(1, deepest + 1):
        named[reinit(depth)] = Arm(tau, rate, head, reinit_depth=depth)
    return named


def run(settings: Settings) -> None:
    """Runs the arms on one task."""
    started = perf_counter()
    named = arms(settings)
    results = run_arms(settings, list(named.values()))
    names = {arm: name for name, arm in named.items()}
    rows = labelled_rows(results, lambda result: names[result.arm])
    summary = summary_rows(rows, ["row"], ARM_METRICS)
    for name in list(named)[1:]:
        summary += difference(rows, name, BASE, ARM_METRICS)
    metric = bench_of(settings, 0).splits.task.metric
    write_results(settings, "table3", rows, summary, wall_s=perf_counter() - started, metric=metric)
    show(settings, summary, list(named), metric)


def show(settings: Settings, summary: list[Row], names: list[str], metric: str) -> None:
    """Prints the table with the paper's numbers beside ours."""
    lines = [
        [
            name,
            mean_text(summary, name, "hp_train_acc", 100),
            _theirs(settings, name, "hp_train_acc"),
            mean_text(summary, name, "aie", 1),
            mean_text(summary, name, "ft_valid_acc", 100),
            _theirs(settings, name, "ft_val_acc"),
            mean_text(summary, name, "test_acc", 100),
        ]
        for name in names
    ]
    print_table(
        f"Tables 3 and 5-8 on {settings.name}: {metric} in %, mean [95 % interval]",
        ["", "HP-train", "paper", "AIE", "FT-val", "paper", "test"],
        lines,
    )


def _theirs(settings: Settings, name: str, metric: str) -> str:
    """Returns the printed number of Table 8, which holds Table 3, or of the table asked for."""
    layer = {BASE: "linear", STRONG: "mlp"} | {reinit(d): on for d, on in _LAYERS.items()}
    wanted = (settings.pretraining or "8", domain_of(settings), f"{layer[name]} {metric}")
    for row in read_printed("tables5to8_capacity"):
        if (str(row["table"]), row["domain"], row["row"]) == wanted:
            return f"{row['value']:.2f}"
    return "-"


if __name__ == "__main__":
    main(__doc__, run)
