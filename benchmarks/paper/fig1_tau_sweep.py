"""Figures 1 and 4: the score after finetuning against tau.

    python -m benchmarks.paper.fig1_tau_sweep

Beside it are HP-train-acc and AIE at the end of probing: where they converge, the energy is gone.
Whether an interior tau beats both ends is told by paired differences: for each
seed the tau is chosen by the validation scores of the other seeds.
"""

from __future__ import annotations

from time import perf_counter

from benchmarks.paper.drawing import band, new_figure
from benchmarks.paper.experiment import ARM_METRICS, main
from benchmarks.paper.output import paths, print_table, write_results
from benchmarks.paper.settings import Settings, bench_of
from benchmarks.paper.statistics import Row, effect, mean_text, of_row, select, summary_rows
from benchmarks.paper.sweep import chosen_rows, sweep
from benchmarks.paper.table1 import differences
from energytune.report.style import percent_axis, save_figure, tau_axis


def run(settings: Settings) -> None:
    """Sweeps tau on one task."""
    started = perf_counter()
    rows = [{"row": f"tau={result.arm.tau}", **result.row()} for result in sweep(settings)]
    found = differences(chosen_rows(rows))
    compared = [row for row in found if not str(row["row"]).startswith("ls")]
    summary = summary_rows(rows, ["row"], ARM_METRICS) + compared
    metric = bench_of(settings, 0).splits.task.metric
    write_results(
        settings, "fig1_tau_sweep", rows, summary, wall_s=perf_counter() - started, metric=metric
    )
    draw(settings, rows, metric)
    columns = ("hp_train_acc", "aie", "ft_train_acc", "ft_valid_acc", "test_acc")
    lines = [
        [f"{tau}"]
        + [mean_text(summary, f"tau={tau}", m, 1 if m == "aie" else 100) for m in columns]
        for tau in sorted({row["tau"] for row in rows})
    ]
    header = ["tau", "HP-train", "AIE", "FT-train", "FT-val", "test"]
    print_table(f"Fig. 1 and 4 on {settings.name}: {metric} in %", header, lines)
    for row in select(compared, metric="test_acc"):
        print(f"  {row['row']} on test: {of_row(row).text(scale=100, sign=True)} points")


def draw(settings: Settings, rows: list[Row], metric: str) -> None:
    """Draws scores and energy against tau."""
    taus = sorted({int(row["tau"]) for row in rows})
    title = f"{settings.name}: finetuned score against tau, {settings.n_seeds} seeds"
    figure, (scores, energy) = new_figure(1, 2, title)
    for i, (name, label) in enumerate(
        (("ft_valid_acc", "valid after FT"), ("test_acc", "test after FT"))
    ):
        band(scores, taus, [effect(r[name] for r in select(rows, tau=t)) for t in taus], i, label)
    at = [effect(r["hp_train_acc"] for r in select(rows, tau=t)) for t in taus]
    band(energy, taus, at, 2, "HP-train score")
    band(energy, taus, [effect(r["aie"] for r in select(rows, tau=t)) for t in taus], 3, "AIE")
    percent_axis(scores, metric)
    energy.set_ylabel("at the end of probing")
    for axes in (scores, energy):
        tau_axis(axes)
        axes.legend(fontsize=8)
    save_figure(figure, paths(settings, "fig1_tau_sweep")["figure"])


if __name__ == "__main__":
    main(__doc__, run)
