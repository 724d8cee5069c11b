"""The settings of several head sides as tensors that broadcast over their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from energytune.tasks import Smoothing
from energytune.training.head_run import HeadRun

__all__ = ["HeadSettings"]


class HeadSettings:
    """Learning rate, weight decay and label smoothing of M runs; one momentum for all.

    Args:
        runs: The head sides, of one momentum
            (:func:`~energytune.training.head_groups.check_together`).
        like: Gives dtype and device.

    Attributes:
        lr: Learning rate of the current step, (M,).
        weight_decay: L2 penalty, (M,); None if all are 0.
        label_smoothing: eps, one number if all have the same, else (M,).
        momentum: In [0, 1).
    """

    def __init__(self, runs: Sequence[HeadRun], like: Tensor) -> None:
        self._configs = [run.config for run in runs]
        self._moves = any(config.schedule != "constant" for config in self._configs)
        self._epochs_done, self._n_steps, self._step = 0, 1, 0
        self.momentum = self._configs[0].momentum
        self.lr = like.new_tensor([config.lr for config in self._configs])
        decay = [config.weight_decay for config in self._configs]
        self.weight_decay = like.new_tensor(decay) if any(decay) else None
        smoothings = [run.label_smoothing for run in runs]
        same = len(set(smoothings)) == 1
        self.label_smoothing: Smoothing = smoothings[0] if same else like.new_tensor(smoothings)

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Goes to the first step of an epoch, counted from 1."""
        self._epochs_done, self._n_steps, self._step = epoch - 1, n_steps, 0

    def next_step(self) -> bool:
        """Sets :attr:`lr` for the next step; returns whether it may differ from the last one."""
        if not self._moves:
            return False
        done = self._epochs_done + self._step / self._n_steps
        self._step += 1
        rates = [config.lr_at(done) for config in self._configs]
        self.lr.copy_(torch.tensor(rates, dtype=self.lr.dtype), non_blocking=True)
        return True
