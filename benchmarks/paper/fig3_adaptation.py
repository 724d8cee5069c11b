"""Figures 3 and 11 to 15: how finetuning moves the features, against tau.

    python -m benchmarks.paper.fig3_adaptation

Means over the training samples of ||z_T - z_0||, cos(z_T, z_0), z_T . z_0 and ||z_T|| after the
LAST finetuning epoch, which is the same for all taus; the best epoch by validation would compare
features after different times. The raw rows have both.
"""

from __future__ import annotations

from time import perf_counter

from benchmarks.paper.drawing import band, new_figure
from benchmarks.paper.experiment import main
from benchmarks.paper.output import paths, print_table, write_results
from benchmarks.paper.settings import Settings, bench_of
from benchmarks.paper.statistics import (
    Row,
    as_columns,
    effect,
    mean_text,
    of_row,
    select,
    spearman,
    summary_rows,
)
from benchmarks.paper.sweep import sweep
from energytune.report.style import line_style, save_figure, tau_axis

METRICS = {
    "feature_distance": "||z_T - z_0||",
    "feature_cosine": "cos(z_T, z_0)",
    "feature_dot": "z_T . z_0",
    "feature_norm": "||z_T||",
}


def run(settings: Settings) -> None:
    """Runs the experiment on one task."""
    started = perf_counter()
    rows = [{"row": f"tau={result.arm.tau}", **result.row()} for result in sweep(settings)]
    summary = summary_rows(rows, ["row"], [*METRICS, "aie"]) + trends(rows)
    metric = bench_of(settings, 0).splits.task.metric
    write_results(
        settings, "fig3_adaptation", rows, summary, wall_s=perf_counter() - started, metric=metric
    )
    draw(settings, rows)
    lines = [
        [str(tau), *(mean_text(summary, f"tau={tau}", name) for name in ("aie", *METRICS))]
        for tau in sorted({row["tau"] for row in rows})
    ]
    print_table(
        f"Fig. 3 on {settings.name}: features after the last epoch",
        ["tau", "AIE", *METRICS.values()],
        lines,
    )
    for row in summary:
        if row["row"] == "Spearman with tau":
            print(f"  Spearman of {row['metric']} with tau: {of_row(row).text(sign=True)}")


def trends(rows: list[Row]) -> list[dict[str, object]]:
    """Returns the mean over seeds of each metric's rank correlation with tau."""
    found = []
    for name in METRICS:
        values = []
        for seed in sorted({row["seed"] for row in rows}):
            own = select(rows, seed=seed)
            values.append(spearman([r["tau"] for r in own], [r[name] for r in own]))
        found.append({"row": "Spearman with tau", "metric": name, **as_columns(effect(values))})
    return found


def draw(settings: Settings, rows: list[Row]) -> None:
    """Draws the four metrics: each seed as a thin line, the mean with its interval."""
    taus = sorted({int(row["tau"]) for row in rows})
    title = f"{settings.name}: features before and after finetuning, {settings.n_seeds} seeds"
    figure, four = new_figure(2, 2, title)
    for i, (axes, (name, label)) in enumerate(zip(four, METRICS.items(), strict=True)):
        for seed in sorted({row["seed"] for row in rows}):
            own = select(rows, seed=seed)
            colour = line_style(i)["color"]
            values = [row[name] for row in own]
            axes.plot([row["tau"] for row in own], values, color=colour, alpha=0.25, linewidth=0.7)
        values = [effect(r[name] for r in select(rows, tau=tau)) for tau in taus]
        band(axes, taus, values, i)
        tau_axis(axes)
        axes.set_ylabel(label)
    save_figure(figure, paths(settings, "fig3_adaptation")["figure"])


if __name__ == "__main__":
    main(__doc__, run)
