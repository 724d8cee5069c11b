"""The options of ``energytune probe`` and ``energytune diagnose`` as one value."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from energytune.progress import Progress
    from energytune.search.energy_map import EnergyMap

__all__ = ["ProbeOptions"]

_REPEATED = ("checkpoint", "checkpoint_prefix", "image_size", "weights", "data_root")
"""What the commands that are advised have to repeat, beside dataset and backbone."""


@dataclass(frozen=True)
class ProbeOptions:
    """What was asked for on the command line; None or empty where nothing was said.

    Attributes:
        dataset: ``--dataset``.
        backbone: ``--backbone``.
        checkpoint: ``--checkpoint``.
        checkpoint_prefix: ``--checkpoint-prefix``.
        image_size: ``--image-size``.
        weights: ``--weights``.
        data_root: ``--data-root``.
        space: ``--space``.
        head: Each ``--head``.
        label_smoothing: Each ``--label-smoothing``.
        depth: Each ``--depth``.
        lr: Each ``--lr``.
        weight_decay: Each ``--weight-decay``.
        seeds: ``--seeds``, a number.
        seed: ``--seed``.
        tau_max: ``--tau-max``.
        views: ``--views``.
        batch_size: ``--batch-size``.
        cosine: ``--cosine``.
        converged: ``--converged``.
        device: ``--device``.
        cache_budget: ``--cache-budget``.
    """

    dataset: str = "digits"
    backbone: str | None = None
    checkpoint: Path | None = None
    checkpoint_prefix: str | None = None
    image_size: int | None = None
    weights: str | None = None
    data_root: Path | None = None
    space: str | None = None
    head: tuple[str, ...] = ()
    label_smoothing: tuple[float, ...] = ()
    depth: tuple[int, ...] = ()
    lr: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    seeds: int = 1
    seed: int = 0
    tau_max: int | None = None
    views: int | None = None
    batch_size: int | None = None
    cosine: bool = False
    converged: int | None = None
    device: str = "auto"
    cache_budget: str | None = None

    def run(self, progress: Progress) -> EnergyMap:
        """Probes the heads.

        Raises:
            EnergyTuneError: Whatever is wrong with the options, the data or the weights.
        """
        from energytune.search.probe_map import probe

        values: dict[str, Any] = {
            "backbone": self.backbone,
            "heads": self.head or None,
            "label_smoothings": self.label_smoothing or None,
            "depths": self.depth or None,
            "lrs": self.lr or None,
            "weight_decays": self.weight_decay or None,
            "n_seeds": self.seeds,
            "seed": self.seed,
            "tau_max": self.tau_max,
            "n_views": self.views,
            "batch_size": self.batch_size,
            "cosine": self.cosine,
            "n_converged": self.converged,
            "space": self.space,
            "checkpoint": self.checkpoint,
            "checkpoint_prefix": self.checkpoint_prefix,
            "image_size": self.image_size,
            "weights": self.weights or "default",
            "data_root": self.data_root,
            "device": self.device,
            "cache_budget": self.cache_budget,
        }
        return probe(self.dataset, progress=progress, **values)

    def repeated(self) -> str:
        """Returns the options that an advised command repeats, quoted for a shell."""
        words: list[str] = []
        for name in _REPEATED:
            value = getattr(self, name)
            if value is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)
