"""Shows the effect on the embedded digits: an interior tau beats both ends.

Sweeps tau with a linear head, without smoothing, at one finetuning rate, over many seeds. A seed
cuts the data, pretrains a backbone, and initialises the head and orders the batches; with
--fixed-backbone it does the last two only, on the split and backbone that the package ships. The
interior tau is chosen by mean validation accuracy; test accuracy is only reported.

    python benchmarks/embedded_effect.py                      # 20 seeds, minutes
    python benchmarks/embedded_effect.py --seeds 2 --ft-epochs 5 --out effect.csv
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the sweep runs one process a core

from machine import RESULTS, hardware, metadata, write_json

from energytune.config import FinetuneConfig, ProbeConfig, Recipe
from energytune.report.intervals import paired_t_interval
from energytune.trial import Job, Tested
from energytune.trial.bench import BenchSpec
from energytune.trial.builder import RecordBuilder
from energytune.trial.run import run_trial

TAUS = (0, 1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Row:
    """One finetuning run: accuracies in [0, 1], seconds without the probing shared with others."""

    seed: int
    tau: int
    hp_train_acc: float
    aie: float
    head_norm: float
    ft_train_acc: float
    best_epoch: int
    best_valid_acc: float
    test_acc: float
    feature_distance: float
    feature_cosine: float
    feature_dot: float
    feature_norm: float
    seconds: float


def main() -> None:
    """Runs the sweep, writes the rows and the summary, and prints the summary."""
    options = parse()
    taus = sorted(set(options.taus))
    started = perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        sweep = partial(sweep_seed, options=options, taus=taus, scratch=Path(scratch))
        if options.fixed_backbone:
            prepare(options, Path(scratch))  # pretrain once, before every process would do it
        rows: list[Row] = []
        with get_context("spawn").Pool(options.processes) as pool:
            for of_seed in pool.imap_unordered(sweep, range(options.seeds)):
                rows += of_seed
                print(f"seed {of_seed[0].seed}: {line(of_seed)}", flush=True)
    rows.sort(key=lambda row: (row.seed, row.tau))
    summary = summarise(rows, taus)
    write_csv(options.out, rows)
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    head = metadata(settings=settings, wall_s=round(perf_counter() - started, 1))
    write_json(options.out.with_suffix(".json"), {**head, "summary": summary})
    print_summary(summary)
    print(f"\n{options.out}\n{options.out.with_suffix('.json')}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds, from 0")
    parser.add_argument("--taus", type=int, nargs="+", default=TAUS)
    parser.add_argument("--ft-lr", type=float, default=0.01)
    parser.add_argument("--ft-epochs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--fixed-backbone",
        action="store_true",
        help="all seeds share the package's split and backbone",
    )
    parser.add_argument("--out", type=Path, help="CSV file; default: under benchmarks/results")
    options = parser.parse_args()
    name = "embedded_effect" + ("-fixed_backbone" if options.fixed_backbone else "")
    if options.dataset != "digits":
        name += f"-{options.dataset}"
    options.out = options.out or RESULTS / f"{name}-{hardware()}.csv"
    return options


def prepare(options: argparse.Namespace, scratch: Path, weights: Path | None = None) -> Any:
    """Builds the bench; the backbone is pretrained if it is not in the scratch cache yet."""
    return BenchSpec(
        dataset=options.dataset,
        backbone="digits-mlp",
        probe=ProbeConfig(),
        finetune=FinetuneConfig(epochs=options.ft_epochs, patience=None),
        cache=scratch,
        checkpoint=weights,
        model_dir=scratch / f"models-{os.getpid()}",
    ).build()


def sweep_seed(
    seed: int, *, options: argparse.Namespace, taus: Sequence[int], scratch: Path
) -> list[Row]:
    """Runs every tau with one seed, ascending, so that each goes on where the last one ended."""
    weights = None
    if not options.fixed_backbone:
        from energytune.data import embedded
        from energytune.training.pretrain import pretrain_embedded

        embedded._SPLIT_SEED = seed  # no setting on purpose: a search must not move its splits
        weights = pretrain_embedded(options.dataset, "digits-mlp", scratch, seed=seed)
    bench = prepare(options, scratch, weights)
    return list(run_taus(bench, seed, taus, options.ft_lr))


def run_taus(bench: Any, seed: int, taus: Sequence[int], ft_lr: float) -> Iterator[Row]:
    """Yields one row a tau."""
    for tau in taus:
        started = perf_counter()
        job = Job(f"s{seed}-tau{tau}", 0, Recipe(tau=tau, ft_lr=ft_lr), seed, "test")
        builder = RecordBuilder(job)
        *events, tested = run_trial(bench, job)
        for event in events:
            builder.add(event)
        record = builder.build("COMPLETE")
        probe, finished = record.probe, record.finished
        if probe is None or finished is None or not isinstance(tested, Tested):
            raise RuntimeError(f"{job.id} ended early")
        Path(finished.model_path or "").unlink()
        yield Row(
            seed=seed,
            tau=tau,
            hp_train_acc=probe.train_acc,
            aie=probe.aie,
            head_norm=probe.head_norm,
            ft_train_acc=record.epochs[-1].train_acc,
            best_epoch=finished.best_epoch,
            best_valid_acc=finished.objective,
            test_acc=tested.test.accuracy,
            **finished.adaptation,
            seconds=perf_counter() - started,
        )


def summarise(rows: list[Row], taus: Sequence[int]) -> dict[str, Any]:
    """Means by tau, and the interior tau (chosen on validation) against both ends (on test)."""
    numbers = [name for name in asdict(rows[0]) if name not in ("seed", "tau")]
    by_tau = []
    for tau in taus:
        own = [row for row in rows if row.tau == tau]
        means = {name: fmean(getattr(row, name) for row in own) for name in numbers}
        spread = stdev(row.test_acc for row in own) if len(own) > 1 else None
        by_tau.append({"tau": tau, **means, "test_acc_stdev": spread})
    interior = [mean for mean in by_tau if taus[0] < mean["tau"] < taus[-1]]
    chosen = max(interior, key=lambda mean: mean["best_valid_acc"])["tau"]
    return {
        "n_seeds": len({row.seed for row in rows}),
        "by_tau": by_tau,
        "chosen_tau": chosen,
        "chosen_by": "mean validation accuracy over all seeds, ends excluded",
        "test_difference": {
            f"tau={chosen} - tau={end}": difference(rows, chosen, end)
            for end in (taus[0], taus[-1])
        },
        "ft_train_acc_at_tau_0": by_tau[0]["ft_train_acc"],
    }


def difference(rows: list[Row], tau: int, other: int) -> dict[str, Any]:
    """Paired difference in test accuracy over seeds, with its t interval."""
    by_run = {(row.seed, row.tau): row.test_acc for row in rows}
    seeds = sorted({row.seed for row in rows})
    paired = paired_t_interval([by_run[seed, tau] - by_run[seed, other] for seed in seeds])
    interval = paired.interval
    return {
        "mean": paired.mean,
        "interval_95": None if interval is None else [interval.low, interval.high],
        "n_pairs": paired.n,
        "excludes_zero": paired.excludes_zero,
        "n_seeds_better": sum(by_run[seed, tau] > by_run[seed, other] for seed in seeds),
    }


def line(rows: list[Row]) -> str:
    """Returns test accuracy by tau in one line."""
    return "  ".join(f"{row.tau}: {100 * row.test_acc:.1f}" for row in rows)


def write_csv(path: Path, rows: list[Row]) -> None:
    """Writes one line a run; floats are rounded to 6 digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow(
                {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()}
            )


def print_summary(summary: dict[str, Any]) -> None:
    """Prints the table by tau and the paired differences."""
    print(f"\nMeans over {summary['n_seeds']} seeds (accuracies in %)")
    print("   tau  HP-train     AIE  |head|  FT-train  FT-valid   test   +-   feature distance")
    for mean in summary["by_tau"]:
        spread = mean["test_acc_stdev"]
        told = "   -" if spread is None else f"{100 * spread:4.1f}"
        print(
            f"{mean['tau']:6d}  {100 * mean['hp_train_acc']:8.1f}  {mean['aie']:6.3f}"
            f"  {mean['head_norm']:6.2f}  {100 * mean['ft_train_acc']:8.1f}"
            f"  {100 * mean['best_valid_acc']:8.1f}  {100 * mean['test_acc']:5.1f}  {told}"
            f"  {mean['feature_distance']:8.2f}"
        )
    print(f"\nInterior tau by validation: {summary['chosen_tau']}. On test, paired over seeds:")
    for name, paired in summary["test_difference"].items():
        told = "no interval from one seed"
        if paired["interval_95"]:
            low, high = paired["interval_95"]
            verdict = "excludes" if paired["excludes_zero"] else "includes"
            told = f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}, {verdict} 0"
        print(
            f"  {name}: {100 * paired['mean']:+.2f} points, {told}; "
            f"better on {paired['n_seeds_better']} of {paired['n_pairs']} seeds"
        )


if __name__ == "__main__":
    main()
