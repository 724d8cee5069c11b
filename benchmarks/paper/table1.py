"""Table 1: plain finetuning, the longest probe, an earlier stop of probing, and lsHP.

    python -m benchmarks.paper.table1                       # all embedded tasks, minutes
    python -m benchmarks.paper.table1 --dataset stl10 --backbone resnet50.tv_in1k --gpu

HP-FT's tau is chosen for each seed by the validation scores of the other seeds. FT-val-acc is the
best validation score along finetuning, as in the paper; beside it is the test score of that epoch.
"""

from __future__ import annotations

from time import perf_counter

from benchmarks.paper.arms import Arm
from benchmarks.paper.compute import run_arms
from benchmarks.paper.experiment import ARM_METRICS, labelled_rows, main
from benchmarks.paper.output import print_table, write_results
from benchmarks.paper.printed import downstream_of, pretraining_of, printed_row
from benchmarks.paper.settings import HP_SMOOTHING, Settings, bench_of
from benchmarks.paper.statistics import (
    Row,
    as_columns,
    by_seed,
    mean_text,
    of_row,
    paired,
    select,
    summary_rows,
)
from benchmarks.paper.sweep import HP0, HP_BEST, HP_MAX, chosen_rows, sweep

LS_HP = "lsHP-max-FT"
_PRINTED = {HP0: "hp0_ft", HP_MAX: "hp200_ft", HP_BEST: "hp_ft", LS_HP: "lshp200_ft"}
_ORDER = (HP0, HP_MAX, HP_BEST, LS_HP)


def run(settings: Settings) -> None:
    """Runs the four ways on one task."""
    started = perf_counter()
    swept = [result.row() for result in sweep(settings)]
    smooth = Arm(settings.tau_max, settings.ft_lr, settings.head_arch, HP_SMOOTHING)
    smoothed = labelled_rows(run_arms(settings, [smooth]), lambda _: LS_HP)
    rows = sorted(
        [*chosen_rows(swept), *smoothed], key=lambda row: (row["seed"], _ORDER.index(row["row"]))
    )
    rows = [{"row": row["row"], **row} for row in rows]
    summary = summary_rows(rows, ["row"], ARM_METRICS) + differences(rows)
    metric = bench_of(settings, 0).splits.task.metric
    write_results(settings, "table1", rows, summary, wall_s=perf_counter() - started, metric=metric)
    show(settings, rows, summary, metric)


def differences(rows: list[Row]) -> list[dict[str, object]]:
    """Returns HP-FT against both ends, and lsHP against the longest probe, paired by seed."""
    pairs = ((HP_BEST, HP0), (HP_BEST, HP_MAX), (LS_HP, HP_MAX))
    return [
        {"row": f"{a} - {b}", "metric": name}
        | as_columns(paired(by_seed(select(rows, row=a), name), by_seed(select(rows, row=b), name)))
        for a, b in pairs
        for name in ("ft_valid_acc", "test_acc", "aie", "feature_distance")
    ]


def show(
    settings: Settings, rows: list[Row], summary: list[dict[str, object]], metric: str
) -> None:
    """Prints the table with the paper's numbers beside ours."""
    column = {"downstream": downstream_of(settings), "pretraining": pretraining_of(settings)}
    printed = printed_row("table1_hpft", column)
    lines = []
    for name in _ORDER:
        taus = sorted({int(row["tau"]) for row in select(rows, row=name)})
        theirs = "-" if printed is None else f"{printed[_PRINTED[name]]:.2f}"
        shown = [
            mean_text(summary, name, m, s)
            for m, s in (("aie", 1), ("ft_valid_acc", 100), ("test_acc", 100))
        ]
        lines.append([name, ", ".join(map(str, taus)), *shown, theirs])
    ours = mean_text(summary, HP_MAX, "hp_train_acc", 100)
    theirs = "-" if printed is None else f"{printed['hp_train_acc']:.2f}"
    lines.append(["HP-train-acc at tau_max", "", "", ours, "", theirs])
    print_table(
        f"Table 1 on {settings.name}: {metric} in %, mean [95 % interval]",
        ["", "tau", "AIE", "FT-val", "test", "paper"],
        lines,
    )
    for found in summary:
        if " - " in str(found["row"]) and found["metric"] == "test_acc":
            told = of_row(found).text(scale=100, sign=True)
            print(f"  {found['row']} on test: {told} points")


if __name__ == "__main__":
    main(__doc__, run)
