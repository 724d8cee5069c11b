"""Figure 6: how fast the backbone's kernel drifts while finetuning.

    python -m benchmarks.paper.fig6_kernel

kappa(n, n') of 50 training samples (2,500 pairs; fewer where a kernel takes long), at some epochs
t: means over the pairs of ||kappa_t - kappa_(t-1)||_F and ||kappa_t - kappa_0||_F, for a random
backbone from tau = 0 and for the pretrained one after several taus. A random and a pretrained
kernel differ in size, so both are also divided by the mean of ||kappa_0||_F.

Features that are maps are averaged over their positions first. Embedding tables, which have no
derivative in forward mode, are not among the weights that count.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.paper.arms import Arm, run_arm
from benchmarks.paper.compute import kept, run_seeds
from benchmarks.paper.drawing import band, epoch_axis, new_figure
from benchmarks.paper.experiment import main
from benchmarks.paper.output import paths, print_table, write_results
from benchmarks.paper.settings import Settings, bench_of, random_bench, some_of
from benchmarks.paper.statistics import Row, geometric, of_row, select, summary_rows
from energytune.models import TaskModel
from energytune.report.style import save_figure
from energytune.science.kernel import KernelDrift, empirical_kernel
from energytune.seeds import derive_seed
from energytune.trial.bench import Bench

RANDOM = "random, tau = 0"
EPOCHS = (1, 4, 16)
"""Watched epochs beside the last one; each needs the kernel of the epoch before it as well."""
_N_TAUS = 3
_METRICS = ("step", "from_start", "relative_step", "relative_from_start")
_CHUNK = 128


def pretrained(tau: int) -> str:
    """Returns the name of a pretrained backbone's line."""
    return f"pretrained, tau = {tau}"


class KernelWatch:
    """Watches the kernel of some training samples while finetuning.

    Attributes:
        rows: One a watched epoch: the drift, and the mean size of kappa_0.
    """

    def __init__(self, bench: Bench, n_samples: int, seed: int) -> None:
        n_train, last = len(bench.splits.train), bench.spec.finetune.epochs
        generator = torch.Generator().manual_seed(derive_seed(seed, "kernel samples"))
        some = torch.randperm(n_train, generator=generator)[:n_samples]
        batches = bench.splits.train.batches(n_samples, order=some)
        self._inputs: Tensor = next(iter(batches))[0].to(bench.device)
        self._wanted = {epoch for epoch in EPOCHS if epoch < last} | {last}
        self._needed = self._wanted | {epoch - 1 for epoch in self._wanted} | {0}
        self._drift: KernelDrift | None = None
        self.rows: list[dict[str, float]] = []

    def __call__(self, epoch: int, model: TaskModel) -> None:
        if epoch not in self._needed:
            return
        kernel = kernel_of(model.backbone, self._inputs)
        if self._drift is None:
            self._drift = KernelDrift(kernel)
            return
        drift = self._drift.update(kernel)
        if epoch in self._wanted:
            self.rows.append({"epoch": epoch, **drift.to_dict()})


def kernel_of(backbone: nn.Module, inputs: Tensor) -> Tensor:
    """Returns kappa of all pairs, of maps that of their mean over positions."""
    with torch.no_grad():
        is_map = backbone(inputs[:1]).ndim == 4
    parts = (nn.AdaptiveAvgPool2d(1), nn.Flatten()) if is_map else ()
    network = nn.Sequential(backbone, *parts).eval()
    tables = {
        f"{name}." for name, module in network.named_modules() if isinstance(module, nn.Embedding)
    }
    names = [
        name
        for name, weight in network.named_parameters()
        if weight.requires_grad and not name.startswith(tuple(tables))
    ]
    return empirical_kernel(network, inputs, parameters=names, chunk_size=_CHUNK)


def watched_seed(settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Returns the drift of one seed's backbones; nothing of a finetune that diverged."""
    bench = bench_of(settings, seed)
    lines = [(RANDOM, random_bench(settings, seed), 0)]
    lines += [(pretrained(tau), bench, tau) for tau in some_of(settings.taus, _N_TAUS)]
    rows = []
    for name, own, tau in lines:
        arm = Arm(tau, settings.ft_lr, settings.head_arch)
        n_samples = settings.n_kernel_samples

        def watched(own: Bench = own, arm: Arm = arm, n: int = n_samples) -> list[dict[str, Any]]:
            watch = KernelWatch(own, n, seed)
            result = run_arm(own, arm, seed, watch=watch)
            scores = {"ft_train_acc": result.ft_train_acc, "test_acc": result.test_acc}
            return [] if result.failure else [{**row, **scores} for row in watch.rows]

        parts = {"tau": tau, "rate": arm.ft_lr, "head": arm.head_arch, "seed": seed}
        parts |= {"samples": n_samples, "epochs": EPOCHS}
        found = kept(settings, own, "kernel", parts, watched)
        rows += [{"seed": seed, "row": name, "tau": tau, **row} for row in found]
    return rows


def run(settings: Settings) -> None:
    """Runs the experiment on one task."""
    started = perf_counter()
    rows = run_seeds(settings, watched_seed, n_seeds=settings.n_kernel_seeds)
    summary = summary_rows(rows, ["row", "epoch"], [*_METRICS, "ft_train_acc", "test_acc"])
    n_samples = min(settings.n_kernel_samples, len(bench_of(settings, 0).splits.train))
    write_results(
        settings,
        "fig6_kernel",
        rows,
        summary,
        wall_s=perf_counter() - started,
        metric=bench_of(settings, 0).splits.task.metric,
        n_kernel_samples=n_samples,
        n_kernel_seeds=settings.n_kernel_seeds,
    )
    draw(settings, rows, n_samples)
    *_, middle, last = sorted({row["epoch"] for row in rows})
    told = [(middle if "step" in metric else last, metric) for metric in _METRICS]
    lines = [
        [name]
        + [
            of_row(select(summary, row=name, epoch=epoch, metric=metric)[0]).text(3)
            for epoch, metric in told
        ]
        for name in dict.fromkeys(row["row"] for row in rows)
    ]
    header = ["backbone", *(f"{m.replace('_', ' ')} at epoch {epoch}" for epoch, m in told)]
    print_table(f"Fig. 6 on {settings.name}, {n_samples} samples", header, lines)


def draw(settings: Settings, rows: list[Row], n_samples: int) -> None:
    """Draws geometric means of the drift of a step and since the start, as it is and relative."""
    title = f"{settings.name}: drift of the kernel, {n_samples**2:,} pairs of samples"
    figure, four = new_figure(2, 2, title)
    labels = {
        "step": "||kappa_t - kappa_(t-1)||",
        "from_start": "||kappa_t - kappa_0||",
        "relative_step": "step / ||kappa_0||",
        "relative_from_start": "from start / ||kappa_0||",
    }
    for axes, (metric, label) in zip(four, labels.items(), strict=True):
        for i, name in enumerate(dict.fromkeys(row["row"] for row in rows)):
            own = select(rows, row=name)
            epochs = sorted({int(row["epoch"]) for row in own})
            values = [geometric(r[metric] for r in select(own, epoch=e)) for e in epochs]
            band(axes, epochs, values, i, name)
        axes.set_yscale("log")
        axes.set_ylabel(label)
        epoch_axis(axes)
    four[0].legend(fontsize=8)
    save_figure(figure, paths(settings, "fig6_kernel")["figure"])


if __name__ == "__main__":
    main(__doc__, run)
