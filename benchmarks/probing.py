"""What probing many linear heads costs, against what one would write today.

By turns, on the same features, batches and optimiser (SGD, momentum 0.9, label smoothing 0.1):

ours        one pass of the package over M heads
sequential  one head after the other: nn.Linear, cross_entropy, autograd, torch.optim.SGD
summed      all heads in one loop, the sum of their losses, one optimiser: the linear evaluation of
            DINOv2, written from its description
sklearn     LogisticRegression for one head, fitted to the end; beside it one of ours that is
            probed until its accuracy stands still

python benchmarks/probing.py                               # a quiet machine, 10 minutes
python benchmarks/probing.py --heads 1 8 --widths 512 --out probing.json
python benchmarks/probing.py --device cuda
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import RESULTS, hardware, idle_load, metadata, write_csv, write_json
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from energytune.config import ProbeConfig
from energytune.models.head_only import head_model
from energytune.tasks import Multiclass
from energytune.training.features import TensorFeatures
from energytune.training.head_groups import dual_pays
from energytune.training.head_run import HeadRun
from energytune.training.probe import probe_heads
from energytune.training.probe_data import ProbeData

SMOOTHING, LR, MOMENTUM = 0.1, 0.03, 0.9
STRETCHES = [11, 16, 23, 32, 45, 64]
"""Epochs of neighbouring snapshots: each stretch between two is a repetition."""
N_PEAK = 2048
GB, GFLOP = 1e9, 1e9


def main() -> None:
    """Measures every cell, writes the rows and the summary, and prints both."""
    options = parse()
    torch.set_num_threads(options.threads)
    load_before = idle_load()
    if load_before > 0.2:
        print(f"Warning: {load_before:.1f} CPUs are busy with other things; times will be long.")
    device = torch.device(options.device)
    limits = {"peak_gflops": peak_gflops(device), "copy_gb_s": copy_gb_s(device)}
    rows = []
    for width, n_classes, batch in product(options.widths, options.classes, options.batches):
        cell = Cell(options, width, n_classes, batch, device)
        for n_heads in options.heads:
            rows.append(cell.race(n_heads, limits))
            print(line(rows[-1]), flush=True)
    converged = [
        converged_head(options, width, n_classes, device)
        for width, n_classes in product(options.widths, options.classes)
    ]
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    name = torch.cuda.get_device_name() if device.type == "cuda" else None
    head = metadata(settings=settings, gpu=name, cpus_busy_before=round(load_before, 2), **limits)
    summary = summarise(rows)
    write_csv(options.out.with_suffix(".csv"), rows)
    write_csv(options.out.with_name(options.out.stem + "-converged.csv"), converged)
    write_json(options.out, {**head, "summary": summary, "rows": rows, "converged": converged})
    for row in converged:
        print(row)
    for key, value in summary.items():
        print(f"{key}: {value}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--heads", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048], help="D")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100], help="C")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--samples", type=int, default=1000, help="N")
    parser.add_argument("--out", type=Path, help="JSON file; default: under benchmarks/results")
    options = parser.parse_args()
    where = hardware() if options.device == "cpu" else f"{options.device}-{hardware()}"
    name = f"probing-n{options.samples}-{options.threads}threads-{where}.json"
    options.out = options.out or RESULTS / name
    return options


def peak_gflops(device: torch.device, n_tries: int = 10) -> float:
    """Returns the rate of a large float32 matrix product, the best of some tries."""
    a, b = (torch.randn(N_PEAK, N_PEAK, device=device) for _ in range(2))
    out = torch.empty_like(a)
    best = min(timed(lambda: torch.mm(a, b, out=out), device) for _ in range(n_tries))
    return round(2 * N_PEAK**3 / best / GFLOP, 1)


def copy_gb_s(device: torch.device) -> float:
    """Returns bytes read and written a second by a copy of 256 MB, the best of five."""
    source = torch.zeros(1 << 26, device=device)
    target = torch.empty_like(source)
    best = min(timed(lambda: target.copy_(source), device) for _ in range(5))
    return round(2 * 4 * len(source) / best / GB, 1)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Returns the seconds of ``work``, queued kernels of a GPU included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - started


class Cell:
    """Features of one width and one number of classes, and the three contenders on them."""

    def __init__(
        self,
        options: argparse.Namespace,
        width: int,
        n_classes: int,
        batch: int,
        device: torch.device,
    ) -> None:
        self.options, self.device, self.batch = options, device, batch
        self.width, self.n_classes, self.n_samples = width, n_classes, options.samples
        self.features, self.targets = clusters(options.samples, width, n_classes)
        self.features, self.targets = self.features.to(device), self.targets.to(device)

    def race(self, n_heads: int, limits: dict[str, float]) -> dict[str, Any]:
        """Times the contenders by turns; seconds are those of one head and epoch."""
        ours = self.ours(n_heads)
        n_single = min(n_heads, 4)
        sequential = [self.sequential() for _ in range(n_single)]
        summed = self.summed(n_heads)
        contenders: dict[str, Callable[[], float]] = {
            "ours": ours.next_stretch,
            "sequential": lambda: sum(timed(one, self.device) for one in sequential) / n_single,
            "summed": lambda: timed(summed, self.device) / n_heads,
            "peak": lambda: 1 / peak_gflops(self.device, n_tries=2),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for name in ("sequential", "summed"):
            contenders[name]()  # the first epoch allocates; ours has begun already
        for repeat in range(len(STRETCHES) - 1):
            names = list(contenders)
            for name in names[repeat % 4 :] + names[: repeat % 4]:
                times[name].append(contenders[name]())
        return self.row(n_heads, times, limits)

    def row(
        self, n_heads: int, times: dict[str, list[float]], limits: dict[str, float]
    ) -> dict[str, Any]:
        """Returns the medians, the paired ratios, and the device's limit for plain SGD."""
        names = ("ours", "sequential", "summed")
        mid = {name: median(values) for name, values in times.items()}
        flop = 4 * self.n_samples * self.width * self.n_classes  # of one head and epoch
        n_steps = -(-self.n_samples // self.batch)
        # a step reads and writes weights and momentum at least once
        n_bytes = 4 * 4 * self.width * self.n_classes * n_steps
        floor_s = max(flop / (limits["peak_gflops"] * GFLOP), n_bytes / (limits["copy_gb_s"] * GB))
        row: dict[str, Any] = {
            "N": self.n_samples,
            "D": self.width,
            "C": self.n_classes,
            "batch": self.batch,
            "M": n_heads,
            "form": self.form(n_heads),
            **{f"{name}_ms": round(1e3 * mid[name], 4) for name in names},
        }
        for other in ("sequential", "summed"):
            ratios = [a / b for a, b in zip(times[other], times["ours"], strict=True)]
            row[f"over_{other}"] = round(median(ratios), 2)
            row[f"over_{other}_least"] = round(min(ratios), 2)
            row[f"over_{other}_most"] = round(max(ratios), 2)
        gflops = [flop / seconds / GFLOP for seconds in times["ours"]]
        # the machine is noisy: the peak is taken in the same turn
        shares = [rate * peak for rate, peak in zip(gflops, times["peak"], strict=True)]
        row["gflops"] = round(median(gflops), 1)
        row["share_of_peak"] = round(median(shares), 3)
        row["share_of_peak_most"] = round(max(shares), 3)
        row["physical_limit_ms"] = round(1e3 * floor_s, 4)
        return row

    def form(self, n_heads: int) -> str:
        """Returns how ours computes in the stretches that are timed."""
        pays = [
            dual_pays(
                self.n_samples,
                self.width,
                batch_size=self.batch,
                n_columns=n_heads * self.n_classes,
                n_epochs=after - before,
            )
            for before, after in pairwise(STRETCHES)
        ]
        return "dual" if all(pays) else "both" if any(pays) else "direct"

    def ours(self, n_heads: int) -> Ours:
        """Returns the package's own pass over fresh heads."""
        config = ProbeConfig(lr=LR, momentum=MOMENTUM, batch_size=self.batch)
        runs = [
            HeadRun(
                head_model("linear", self.width, self.n_classes, seed=m).to(self.device),
                config,
                SMOOTHING,
            )
            for m in range(n_heads)
        ]
        data = ProbeData(
            TensorFeatures(self.features),
            self.targets,
            TensorFeatures(self.features[:1]),
            self.targets[:1],
        )
        n_workers = self.options.threads if self.device.type == "cpu" else 1
        return Ours(runs, data, Multiclass(self.n_classes), n_workers)

    def sequential(self) -> Callable[[], None]:
        """Returns a function that trains one head for an epoch, the plain way."""
        head = nn.Linear(self.width, self.n_classes).to(self.device)
        optimizer = torch.optim.SGD(head.parameters(), lr=LR, momentum=MOMENTUM)

        def epoch() -> None:
            for batch in torch.randperm(self.n_samples).to(self.device).split(self.batch):
                logits = head(self.features[batch])
                loss = cross_entropy(logits, self.targets[batch], label_smoothing=SMOOTHING)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        return epoch

    def summed(self, n_heads: int) -> Callable[[], None]:
        """Returns a function that trains all heads for an epoch by the sum of their losses."""
        heads = nn.ModuleList(nn.Linear(self.width, self.n_classes) for _ in range(n_heads)).to(
            self.device
        )
        optimizer = torch.optim.SGD(
            [{"params": head.parameters(), "lr": LR} for head in heads], momentum=MOMENTUM
        )

        def epoch() -> None:
            for batch in torch.randperm(self.n_samples).to(self.device).split(self.batch):
                inputs, targets = self.features[batch], self.targets[batch]
                losses = [
                    cross_entropy(head(inputs), targets, label_smoothing=SMOOTHING)
                    for head in heads
                ]
                optimizer.zero_grad()
                torch.stack(losses).sum().backward()
                optimizer.step()

        return epoch


class Ours:
    """The package's own pass over M heads, one stretch between two snapshots at a time.

    What is timed is the training alone, with whatever a stretch takes to begin; what is measured
    at a snapshot has no counterpart in the other contenders.
    """

    def __init__(
        self, runs: list[HeadRun], data: ProbeData, task: Multiclass, n_workers: int
    ) -> None:
        self._n_heads, self._epoch, self._ended = len(runs), 0, 0.0
        self._device = data.device
        self._outcomes = probe_heads(
            runs,
            data,
            task,
            seed=0,
            tau=STRETCHES[-1],
            n_workers=n_workers,
            on_epoch=self._on_epoch,
        )
        self._to(STRETCHES[0])

    def next_stretch(self) -> float:
        """Trains up to the next snapshot; returns the seconds of one head and epoch."""
        before = self._epoch
        after = STRETCHES[STRETCHES.index(before) + 1]
        started = perf_counter()
        self._to(after)
        return (self._ended - started) / ((after - before) * self._n_heads)

    def _to(self, epoch: int) -> None:
        while self._epoch < epoch:
            next(self._outcomes)
        for _ in range(self._n_heads - 1):  # the other heads' snapshots of this epoch
            next(self._outcomes)

    def _on_epoch(self, epoch: int) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self._epoch, self._ended = epoch, perf_counter()


def clusters(n_samples: int, width: int, n_classes: int) -> tuple[Tensor, Tensor]:
    """Returns features that look like pooled ones, >= 0, around one centre a class."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, n_classes, (n_samples,), generator=generator)
    centres = torch.randn(n_classes, width, generator=generator)
    noise = torch.randn(n_samples, width, generator=generator)
    return torch.relu(0.3 * centres[targets] + noise), targets


def converged_head(
    options: argparse.Namespace, width: int, n_classes: int, device: torch.device
) -> dict[str, Any]:
    """Returns what one head costs to the end, by scikit-learn and by probing.

    Both have the same penalty: weight decay w of the mean loss is C = 1 / (N w).
    """
    from sklearn.linear_model import LogisticRegression

    decay, n_samples = 1e-3, options.samples
    features, targets = clusters(n_samples, width, n_classes)
    fit = LogisticRegression(C=1 / (n_samples * decay), max_iter=10_000)
    sklearn_s = timed(lambda: fit.fit(features.numpy(), targets.numpy()), torch.device("cpu"))
    config = ProbeConfig(lr=LR, momentum=MOMENTUM, batch_size=32, weight_decay=decay)
    data = ProbeData(
        TensorFeatures(features.to(device)),
        targets.to(device),
        TensorFeatures(features[:1].to(device)),
        targets[:1].to(device),
    )
    run = HeadRun(head_model("linear", width, n_classes, seed=0).to(device), config)
    seen: list[Any] = []

    def probing() -> None:
        pairs = probe_heads([run], data, Multiclass(n_classes), seed=0, tau=4096, n_converged=3)
        seen.extend(snapshot for _, snapshot in pairs)

    probe_s = timed(probing, device)
    return {
        "D": width,
        "C": n_classes,
        "sklearn_s": round(sklearn_s, 3),
        "sklearn_iterations": int(fit.n_iter_.max()),
        "sklearn_train_acc": float(fit.score(features.numpy(), targets.numpy())),
        "ours_s": round(probe_s, 3),
        "ours_epochs": seen[-1].epoch,
        "ours_train_acc": seen[-1].train_acc,
        "ours_n_taus": len(seen),
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the least ratio over the rows that the targets speak of."""
    summary: dict[str, Any] = {}
    for n_classes in sorted({row["C"] for row in rows}):
        for width, batch in sorted({(row["D"], row["batch"]) for row in rows}):
            chosen = [
                row["over_sequential"]
                for row in rows
                if (row["C"], row["D"], row["batch"]) == (n_classes, width, batch)
                and row["M"] >= 32
            ]
            if chosen:
                key = f"C={n_classes} D={width} batch={batch}, M >= 32: over sequential, least"
                summary[key] = min(chosen)
    for row in rows:
        if (row["D"], row["M"]) == (2048, 128):
            key = f"D=2048 M=128 C={row['C']} batch={row['batch']}: share of peak ({row['form']})"
            summary[key] = row["share_of_peak"]
    return summary


def line(row: dict[str, Any]) -> str:
    """Returns a row as text."""
    return "  ".join(f"{name} {value}" for name, value in row.items())


if __name__ == "__main__":
    main()
