"""What a backbone of the package is pretrained on before it meets its downstream dataset."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import cast

from torch import Tensor

from energytune.data.catalog import get_dataset
from energytune.errors import MissingDataError
from energytune.tasks import Task

__all__ = ["PretrainConfig", "PretrainSet", "has_pretraining_set", "pretraining_set"]


@dataclass(frozen=True)
class PretrainConfig:
    """How an embedded backbone is pretrained: SGD with a cosine schedule.

    Attributes:
        epochs: Passes over the pretraining samples.
        lr: Peak learning rate.
        momentum: In [0, 1).
        weight_decay: L2 penalty.
        batch_size: Samples a step.
    """

    epochs: int = 40
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 64


@dataclass(frozen=True)
class PretrainSet:
    """What an embedded backbone is pretrained on; disjoint from all downstream splits.

    Attributes:
        images: Network inputs, (N, ...) float32.
        targets: What the task wants, (N,) or (N, L).
        task: The pretraining task, of one target or several labels a sample.
        config: How it is trained.
        fingerprint: sha256 (hex) over inputs and targets.
    """

    images: Tensor
    targets: Tensor
    task: Task
    config: PretrainConfig
    fingerprint: str


def has_pretraining_set(name: str) -> bool:
    """Returns whether the backbone of a dataset is pretrained on data that come with it.

    Raises:
        UnknownNameError: No dataset has that name.
    """
    return get_dataset(name).pretrains


def pretraining_set(name: str) -> PretrainSet:
    """Returns what the backbone of an embedded dataset is pretrained on.

    Raises:
        UnknownNameError: No dataset has that name.
        MissingDataError: The dataset brings nothing to pretrain on.
    """
    entry = get_dataset(name)
    if not entry.pretrains:
        raise MissingDataError(
            f"Dataset {name!r} brings nothing to pretrain a backbone on. Pass --checkpoint FILE "
            "(energytune pretrain makes one), or --weights none for a random backbone."
        )
    family = import_module(f"energytune.data.{entry.family}")
    return cast(PretrainSet, family.pretraining_set(entry))
