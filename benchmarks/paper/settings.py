"""What every experiment of the paper shares: which task, how many seeds, which taus."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from benchmarks.machine import RESULTS
from energytune.config import SearchSpace, load_space, snap_to_grid
from energytune.data import DATASETS, get_dataset
from energytune.models import create_backbone
from energytune.paths import cache_dir
from energytune.training.pretrain import pretrain_embedded
from energytune.trial.bench import Bench, BenchSpec

PAPER_RESULTS = RESULTS / "paper"

HP_SMOOTHING = 0.1
"""eps of lsHP: the paper keeps a weight of 0.9 on the label."""


@dataclass(frozen=True)
class Size:
    """How much of a task is run unless the command line says otherwise.

    Attributes:
        n_seeds: Seeds, from 0.
        n_taus: Taus of a sweep: 0, tau_max and others evenly on a log scale.
        tau_max: Longest probe; None is the space's.
        ft_epochs: Finetuning epochs; None is the space's.
        n_kernel_seeds: Seeds of the kernel's drift, which costs the most.
        n_kernel_samples: Training samples between which the kernel is computed; the paper's 50
            where that ends within minutes.
    """

    n_seeds: int = 5
    n_taus: int = 7
    tau_max: int | None = None
    ft_epochs: int | None = None
    n_kernel_seeds: int = 5
    n_kernel_samples: int = 50


EMBEDDED: dict[str, Size] = {
    "digits": Size(n_seeds=10, n_taus=13),
    "digits-rotated": Size(n_seeds=10, n_taus=13),
    "digits-same": Size(n_seeds=5, n_taus=9, n_kernel_samples=25),
    "molecules": Size(n_kernel_samples=16),
    "digit-scenes": Size(n_kernel_samples=6),
}
"""The tasks that need nothing on disk, sized to end within minutes on two cores."""


@dataclass(frozen=True)
class Settings:
    """One task as an experiment runs it; picklable.

    Attributes:
        dataset: Name of the dataset.
        backbone: Name of the backbone.
        space: Settings of both stages, the range of tau and the baselines' rate.
        n_seeds: Seeds, from 0: head initialisation and batch order; with ``own_backbones`` also
            the pretraining of the backbone. The split of the data stays.
        n_taus: Taus of a sweep.
        own_backbones: Whether each seed pretrains a backbone of its own.
        jobs: Processes.
        checkpoint: File with the backbone's weights.
        data_root: Folder of the datasets.
        weights: ``"default"`` or ``"none"``.
        cache: Folder of all caches.
        out: Folder of the results.
        n_threads: CPU threads of one process.
        use_gpu: Whether the first GPU computes.
        pretraining: The paper's name of the pretraining, to find its printed numbers.
        fresh: Whether results of earlier runs are computed again.
        n_kernel_seeds: Seeds of the kernel's drift, at most ``n_seeds``.
        n_kernel_samples: Samples of the kernel.
    """

    dataset: str
    backbone: str
    space: SearchSpace
    n_seeds: int
    n_taus: int
    own_backbones: bool = False
    jobs: int = 1
    checkpoint: Path | None = None
    data_root: Path | None = None
    weights: Literal["default", "none"] = "default"
    cache: Path = Path()
    out: Path = PAPER_RESULTS
    n_threads: int = 1
    use_gpu: bool = False
    pretraining: str = ""
    fresh: bool = False
    n_kernel_seeds: int = 5
    n_kernel_samples: int = 50

    @property
    def taus(self) -> tuple[int, ...]:
        """The taus of a sweep, ascending, from 0 to tau_max."""
        return spread_taus(self.space.tau.high, self.n_taus)

    @property
    def tau_max(self) -> int:
        """The longest probe: LP-FT's, called HP200-FT in the paper."""
        return self.space.tau.high

    @property
    def ft_lr(self) -> float:
        """Peak rate of finetuning, the baselines' of the space."""
        return self.space.baseline(0).ft_lr

    @property
    def head_arch(self) -> str:
        """The baselines' head."""
        return self.space.baseline(0).head_arch

    @property
    def name(self) -> str:
        """The task as part of a file name; a backbone other than the task's own is named."""
        parts = [self.dataset]
        if self.backbone != get_dataset(self.dataset).backbone:
            parts.append(self.backbone)
        if self.checkpoint is not None:
            parts.append(self.checkpoint.stem)
        kept = (c if c.isalnum() or c in "-._" else "_" for c in "-".join(parts))
        return "".join(kept)

    def spec(self, seed: int) -> BenchSpec:
        """Returns the bench of one seed; pretrains its backbone if that is not there yet."""
        checkpoint = self.checkpoint
        if self.own_backbones:
            checkpoint = pretrain_embedded(self.dataset, self.backbone, self.cache, seed=seed)
        return BenchSpec(
            dataset=self.dataset,
            backbone=self.backbone,
            probe=self.space.probe,
            finetune=self.space.finetune,
            cache=self.cache,
            model_dir=self.cache / "paper",
            weights=self.weights,
            checkpoint=checkpoint,
            data_root=self.data_root,
            use_gpu=self.use_gpu,
            n_threads=self.n_threads,
        )


@lru_cache(maxsize=2)
def bench_of(settings: Settings, seed: int) -> Bench:
    """Returns the bench of a seed; the last two are kept, for work comes seed by seed."""
    return settings.spec(seed if settings.own_backbones else 0).build()


def random_bench(settings: Settings, seed: int) -> Bench:
    """Returns the same task with a backbone of random weights."""
    bench = bench_of(settings, seed)
    old = bench.backbone
    backbone = create_backbone(
        old.name,
        weights="none",
        seed=seed,
        input_shape=old.input_shape,
        spatial=old.map_size is not None,
    )
    return Bench(bench.spec, bench.splits, backbone)


def spread_taus(tau_max: int, n_taus: int) -> tuple[int, ...]:
    """Returns 0, 1, ..., ``tau_max``: evenly on a log scale, on the probe's snapshot epochs.

    Args:
        tau_max: Last tau, >= 1.
        n_taus: How many, >= 3; fewer come back where the grid has no more.
    """
    steps = n_taus - 2
    wanted = [tau_max ** (step / steps) for step in range(steps + 1)]
    return tuple(sorted({0, *(snap_to_grid(round(tau), 0, tau_max) for tau in wanted)}))


def some_of(values: Sequence[int], n: int) -> tuple[int, ...]:
    """Returns ``n`` of the values, the first and the last among them, evenly by their index."""
    if len(values) <= n:
        return tuple(values)
    return tuple(values[round(i * (len(values) - 1) / (n - 1))] for i in range(n))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that all experiments have."""
    add = parser.add_argument
    add("--dataset", help=f"default: one after the other {', '.join(EMBEDDED)}")
    add("--backbone", help="default: the dataset's")
    add("--checkpoint", type=Path, help="the backbone's weights, such as MoCo's")
    add("--data-root", type=Path, help="folder that holds the datasets' folders")
    add("--weights", choices=("default", "none"), default="default")
    add("--space", help="name or YAML file of a search space; default: the dataset's")
    add("--seeds", type=int, help="number of seeds, from 0; default: 5 or more, by the dataset")
    add("--taus", type=int, help="number of taus of a sweep; default: by the dataset")
    add("--tau-max", type=int, help="longest probe; default: the space's")
    add("--ft-epochs", type=int, help="finetuning epochs; default: the space's")
    add("--kernel-samples", type=int, help="samples of the kernel; default: 50, fewer by dataset")
    add("--ft-lr", type=float, help="peak finetuning rate; default: the space's baseline")
    add("--patience", type=float, help="share of epochs without a new best that end a finetune; "
        "default: none, every finetune has the same number of epochs")  # fmt: skip
    add("--fixed-backbone", action="store_true", help="all seeds share the package's backbone")
    add("--jobs", type=int, default=1, help="processes")
    add("--threads", type=int, default=1, help="CPU threads of one process")
    add("--gpu", action="store_true", help="compute on the first GPU")
    add("--out", type=Path, default=PAPER_RESULTS, help="folder of the results")
    add("--fresh", action="store_true", help="compute again what earlier runs have kept")
    add("--pretraining", default="", help="the paper's name of the pretraining, such as MoCo-IN, "
        "whose printed numbers are shown")  # fmt: skip


def settings_of(options: argparse.Namespace) -> list[Settings]:
    """Returns the tasks that the command line asks for."""
    names = [options.dataset] if options.dataset else [n for n in EMBEDDED if n in DATASETS]
    return [_settings(name, options) for name in names]


def _settings(name: str, options: argparse.Namespace) -> Settings:
    entry = get_dataset(name)
    size = EMBEDDED.get(name, Size())
    backbone = options.backbone or entry.backbone
    own = entry.pretrains and options.weights == "default" and options.checkpoint is None
    return Settings(
        dataset=name,
        backbone=backbone,
        space=_space(options.space or entry.space, size, options),
        n_seeds=options.seeds or size.n_seeds,
        n_taus=options.taus or size.n_taus,
        own_backbones=own and not options.fixed_backbone,
        jobs=options.jobs,
        checkpoint=options.checkpoint,
        data_root=options.data_root,
        weights=options.weights,
        cache=cache_dir(),
        out=options.out,
        n_threads=options.threads,
        use_gpu=options.gpu,
        pretraining=options.pretraining,
        fresh=options.fresh,
        n_kernel_seeds=min(size.n_kernel_seeds, options.seeds or size.n_seeds),
        n_kernel_samples=options.kernel_samples or size.n_kernel_samples,
    )


def _space(name: str, size: Size, options: argparse.Namespace) -> SearchSpace:
    space = load_space(name)
    tau_max = options.tau_max or size.tau_max or space.tau.high
    epochs = options.ft_epochs or size.ft_epochs or space.finetune.epochs
    finetune = {"epochs": epochs, "patience": options.patience}
    rate = space.ft_lr
    if options.ft_lr is not None:
        low, high = min(rate.low, options.ft_lr), max(rate.high, options.ft_lr)
        rate = rate.model_copy(update={"low": low, "high": high, "default": options.ft_lr})
    return space.model_copy(
        update={
            "tau": space.tau.model_copy(update={"low": 0, "high": tau_max}),
            "ft_lr": rate,
            "finetune": space.finetune.model_copy(update=finetune),
        }
    )
