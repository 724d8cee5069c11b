"""Table 2: a stronger head, and label smoothing in probing, in both stages, in finetuning only.

    python -m benchmarks.paper.table2

All heads are probed to tau_max. The stronger head is the MLP; for one target a pixel, where there
is none, it is ASPP against a linear head. Smoothing in finetuning alone is the paper's "opposite
energy". AIE is measured against finetuning's targets, smoothed where finetuning smooths them.
"""

from __future__ import annotations

from time import perf_counter

from benchmarks.paper.arms import Arm
from benchmarks.paper.compute import run_arms
from benchmarks.paper.experiment import ARM_METRICS, labelled_rows, main
from benchmarks.paper.output import print_table, write_results
from benchmarks.paper.printed import pretraining_of, read_printed
from benchmarks.paper.settings import HP_SMOOTHING, Settings, bench_of
from benchmarks.paper.statistics import (
    Row,
    as_columns,
    by_seed,
    mean_text,
    paired,
    select,
    summary_rows,
)

NONE, IN_HP, IN_BOTH, IN_FT = "no smoothing", "in HP", "in HP and FT", "in FT only"
WEAK, STRONG = "weak head", "strong head"
PAIRS = (
    (STRONG, WEAK),
    (IN_HP, NONE),
    (IN_BOTH, NONE),
    (IN_BOTH, IN_HP),
    (IN_FT, NONE),
    (IN_FT, IN_BOTH),
)
_PRINTED = {
    WEAK: "linear head",
    STRONG: "2-layer MLP head",
    NONE: "baseline small energy",
    IN_HP: "HP smoothing more energy",
    IN_BOTH: "HP and FT smoothing small energy",
    IN_FT: "FT smoothing only opposite energy",
}


def head_pair(settings: Settings) -> tuple[str, str] | None:
    """Returns a weak and a strong head of the task's space; None if it has one head only."""
    choices = settings.space.head_arch.choices
    for strong in ("mlp", "aspp"):
        if strong in choices and "linear" in choices:
            return "linear", strong
    return None


def arms(settings: Settings) -> dict[str, Arm]:
    """Returns the arms by their name in the table."""
    tau, rate, head = settings.tau_max, settings.ft_lr, settings.head_arch
    eps = HP_SMOOTHING
    named = {
        NONE: Arm(tau, rate, head),
        IN_HP: Arm(tau, rate, head, label_smoothing=eps),
        IN_BOTH: Arm(tau, rate, head, label_smoothing=eps, ft_label_smoothing=eps),
        IN_FT: Arm(tau, rate, head, ft_label_smoothing=eps),
    }
    heads = head_pair(settings)
    if heads is not None:
        weak, strong = (Arm(tau, rate, head_arch) for head_arch in heads)
        named = {WEAK: weak, STRONG: strong, **named}
    return named


def run(settings: Settings) -> None:
    """Runs the arms on one task."""
    started = perf_counter()
    named = arms(settings)
    results = run_arms(settings, list(dict.fromkeys(named.values())))
    rows = [
        row
        for name, arm in named.items()
        for row in labelled_rows([r for r in results if r.arm == arm], lambda _, n=name: n)
    ]
    metrics = (*ARM_METRICS, "aie_predicted")
    summary = summary_rows(rows, ["row"], metrics)
    for a, b in PAIRS:
        if a in named:
            summary += difference(rows, a, b, metrics)
    metric = bench_of(settings, 0).splits.task.metric
    write_results(settings, "table2", rows, summary, wall_s=perf_counter() - started, metric=metric)
    show(settings, summary, list(named), metric)


def difference(
    rows: list[Row], a: str, b: str, metrics: tuple[str, ...]
) -> list[dict[str, object]]:
    """Returns row ``a`` minus row ``b``, paired by seed."""
    first, second = select(rows, row=a), select(rows, row=b)
    return [
        {"row": f"{a} - {b}", "metric": m}
        | as_columns(paired(by_seed(first, m), by_seed(second, m)))
        for m in metrics
    ]


def show(settings: Settings, summary: list[Row], names: list[str], metric: str) -> None:
    """Prints the table; the paper's FT-val-acc beside ours."""
    theirs = _printed(settings)
    lines = [
        [
            name,
            mean_text(summary, name, "hp_train_acc", 100),
            mean_text(summary, name, "aie_ft", 1),
            mean_text(summary, name, "feature_distance", 1),
            mean_text(summary, name, "feature_cosine", 1),
            mean_text(summary, name, "ft_valid_acc", 100),
            mean_text(summary, name, "test_acc", 100),
            theirs.get(_PRINTED[name], "-"),
        ]
        for name in names
    ]
    print_table(
        f"Table 2 on {settings.name}: {metric} in %, mean [95 % interval]",
        ["", "HP-train", "AIE", "distance", "cosine", "FT-val", "test", "paper"],
        lines,
    )


def _printed(settings: Settings) -> dict[str, str]:
    if settings.dataset != "stl10":
        return {}
    wanted = f"{pretraining_of(settings).removesuffix('-IN')}-STL"
    rows = [r for r in read_printed("table2_tricks") if r["pretraining-downstream"] == wanted]
    return {str(row["variant"]): f"{row['ft_val_acc']:.2f}" for row in rows}


if __name__ == "__main__":
    main(__doc__, run)
