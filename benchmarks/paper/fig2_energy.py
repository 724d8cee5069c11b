"""Figure 2: energy against tau, p0[y] of each sample, and ||dL/dz|| while finetuning.

    python -m benchmarks.paper.fig2_energy

dL/dz of a sample's own loss is minus direction times energy (Eq. 2). The paper reads it as the
direction, since the energy is common to all its lines; here ``pull_per_energy`` is their ratio of
means. p0[y] is the probability of the true class at the start of finetuning; for several labels or
pixels the mean over those that are there.
"""

from __future__ import annotations

from dataclasses import asdict
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.machine import write_csv
from benchmarks.paper.arms import Arm, run_arm
from benchmarks.paper.compute import kept, run_seeds
from benchmarks.paper.drawing import band, epoch_axis, new_figure, tau_name
from benchmarks.paper.experiment import main
from benchmarks.paper.output import paths, print_table, rounded, write_results
from benchmarks.paper.settings import Settings, bench_of, some_of
from benchmarks.paper.start import PullWatch
from benchmarks.paper.statistics import Row, effect, geometric, of_row, select, summary_rows
from benchmarks.paper.sweep import sweep
from energytune.config import snapshot_epochs
from energytune.report.style import save_figure, tau_axis

_N_TAUS = 5
_QUANTILES = tuple(round(0.05 * i, 2) for i in range(21))


def watched_seed(settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Returns the pull along finetuning and the quantiles of p0[y], for some taus."""
    bench, rows = bench_of(settings, seed), []
    for tau in some_of(settings.taus, _N_TAUS):
        arm = Arm(tau, settings.ft_lr, settings.head_arch)

        def watched(arm: Arm = arm) -> dict[str, Any]:
            epochs = snapshot_epochs(bench.spec.finetune.epochs)
            watch = PullWatch(bench, epochs, arm.ft_label_smoothing)
            result = run_arm(bench, arm, seed, watch=watch, keep_samples=True)
            quantiles = np.quantile(result.p0_samples, _QUANTILES).tolist()
            return {"pull": watch.rows, "p0": quantiles, "failure": result.failure}

        found = kept(settings, bench, "fig2", {"arm": asdict(arm), "seed": seed}, watched)
        rows.append({"seed": seed, "tau": tau, **found})
    return rows


def run(settings: Settings) -> None:
    """Runs the experiment on one task."""
    started = perf_counter()
    swept = [result.row() for result in sweep(settings)]
    watched = run_seeds(settings, watched_seed)
    heads = [{"seed": row["seed"], "tau": row["tau"]} for row in watched]
    rows = [
        {**head, **pull} for head, row in zip(heads, watched, strict=True) for pull in row["pull"]
    ]
    p0 = [
        {**head, "quantile": quantile, "p0": value}
        for head, row in zip(heads, watched, strict=True)
        for quantile, value in zip(_QUANTILES, row["p0"], strict=True)
    ]
    summary = summary_rows(rows, ["tau", "epoch"], ["pull_norm", "energy", "pull_per_energy"])
    summary += [
        {"tau": row["tau"], "epoch": 0, **{k: row[k] for k in row if k != "tau"}}
        for row in summary_rows(swept, ["tau"], ["aie", "p0_true"])
    ]
    metric = bench_of(settings, 0).splits.task.metric
    write_results(
        settings, "fig2_energy", rows, summary, wall_s=perf_counter() - started, metric=metric
    )
    files = paths(settings, "fig2_energy")
    write_csv(settings.out / f"fig2_energy-{settings.name}-p0.csv", [rounded(row) for row in p0])
    draw(settings, swept, p0, rows)
    last = max(row["epoch"] for row in rows)
    told = [0, 1, 8, last]
    lines = [
        [
            str(tau),
            of_row(select(summary, tau=tau, metric="aie")[0]).text(3),
            of_row(select(summary, tau=tau, metric="p0_true")[0]).text(3),
        ]
        + [
            of_row(found[0]).text(3) if found else "-"
            for epoch in told
            for found in [select(summary, tau=tau, epoch=epoch, metric="pull_norm")]
        ]
        for tau in some_of(settings.taus, _N_TAUS)
    ]
    header = ["tau", "AIE", "mean p0[y]", *(f"||dL/dz|| at epoch {epoch}" for epoch in told)]
    print_table(f"Fig. 2 on {settings.name}", header, lines)
    print(f"  {files['figure']}")


def draw(settings: Settings, swept: list[Row], p0: list[Row], rows: list[Row]) -> None:
    """Draws energy against tau, p0[y] by quantile, and the pull as a geometric mean."""
    taus = sorted({int(row["tau"]) for row in swept})
    title = f"{settings.name}: energy, p0[y] and pull on the features, {settings.n_seeds} seeds"
    figure, (energy, samples, pull) = new_figure(1, 3, title)
    for i, (name, label) in enumerate((("aie", "AIE"), ("p0_true", "mean p0[y]"))):
        values = [effect(r[name] for r in select(swept, tau=tau)) for tau in taus]
        band(energy, taus, values, i, label)
    tau_axis(energy)
    energy.set_ylabel("at the end of probing")
    epochs = sorted({int(row["epoch"]) for row in rows})
    for i, tau in enumerate(some_of(taus, _N_TAUS)):
        name = tau_name(tau, settings.tau_max)
        own = [effect(r["p0"] for r in select(p0, tau=tau, quantile=q)) for q in _QUANTILES]
        band(samples, _QUANTILES, own, i, name)
        own = [geometric(r["pull_norm"] for r in select(rows, tau=tau, epoch=e)) for e in epochs]
        band(pull, epochs, own, i, name)
    samples.set_xlabel("share of the training samples")
    samples.set_ylabel("p0[y], sorted")
    epoch_axis(pull)
    pull.set_ylabel("mean of ||dL/dz||")
    pull.set_yscale("log")
    energy.legend(fontsize=8)
    lines, names = pull.get_legend_handles_labels()  # those of the middle are the same
    figure.legend(lines, names, fontsize=8, loc="outside lower right", ncols=len(names))
    save_figure(figure, paths(settings, "fig2_energy")["figure"])


if __name__ == "__main__":
    main(__doc__, run)
