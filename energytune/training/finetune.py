"""Finetuning: backbone and head are trained together from the probed head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from energytune.config import FinetuneConfig
from energytune.data import Split
from energytune.errors import TrialFailure
from energytune.models import TaskModel
from energytune.seeds import derive_seed
from energytune.tasks import Task
from energytune.training.early_stop import has_stopped, rank, stop_reason
from energytune.training.evaluate import evaluate
from energytune.training.order import epoch_order, seed_dropout
from energytune.training.records import FinetuneEpoch
from energytune.training.sgd import Sgd

__all__ = ["Finetuner"]

_EVAL_BATCH = 1024
_EVAL_ELEMENTS = 1 << 24
"""Numbers in the inputs of one forward pass of the evaluation: 111 images of 224 x 224 pixels."""


class Finetuner:
    """One finetuning run; iterating it yields one record an epoch.

    It can be stopped at any yield and resumed from :meth:`state` in another process: batch order
    and augmentation depend on (seed, epoch) only. The weights of the best epoch by validation
    accuracy are kept; ties go to the lower validation loss, then to the earlier epoch. With a
    patience it ends by itself when that many epochs have brought no new best.

    Args:
        model: Trained in place, on ``device``.
        train: Training split.
        valid: Validation split.
        task: Loss and score.
        config: Schedule and optimiser.
        ft_lr: Peak learning rate, > 0.
        seed: Seed of batch order, augmentation and dropout.
        device: Where it computes.
        label_smoothing: ``ft_label_smoothing``, in [0, 1).
    """

    def __init__(
        self,
        model: TaskModel,
        train: Split,
        valid: Split,
        task: Task,
        config: FinetuneConfig,
        *,
        ft_lr: float,
        seed: int,
        device: torch.device,
        label_smoothing: float = 0.0,
    ) -> None:
        self.model = model.to(device)
        self.epoch = 0
        self.best: FinetuneEpoch | None = None
        self._best_state: dict[str, Tensor] = {}
        self._train, self._valid, self._task = train, valid, task
        self._config, self._ft_lr, self._seed = config, ft_lr, seed
        self._device, self._label_smoothing = device, label_smoothing
        self._optimizer = Sgd(
            list(model.named_parameters()),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        one_input, _ = next(iter(valid.batches(1, order=torch.tensor([0]))))
        self._eval_batch = max(1, min(_EVAL_BATCH, _EVAL_ELEMENTS // max(1, one_input.numel())))
        n_used = len(epoch_order(len(train), seed, "finetune", 1, config.batch_size))
        self._n_steps = math.ceil(n_used / config.batch_size)

    def __iter__(self) -> Iterator[FinetuneEpoch]:
        """Yields the remaining epochs, up to the last or up to the early stop.

        Raises:
            TrialFailure: If the training or validation loss is not finite.
        """
        while self.epoch < self._config.epochs and not self.stop_reason:
            self.epoch += 1
            train_loss, train_acc = self._train_one_epoch()
            self.model.eval()
            outcome = evaluate(
                self.model, self._valid.batches(self._eval_batch), self._task, self._device
            )
            if not (math.isfinite(train_loss) and math.isfinite(outcome.loss)):
                raise TrialFailure(
                    f"Finetuning diverged: train loss {train_loss}, validation loss "
                    f"{outcome.loss} at epoch {self.epoch}. Lower ft_lr = {self._ft_lr:g}."
                )
            record = FinetuneEpoch(
                epoch=self.epoch,
                train_loss=train_loss,
                train_acc=train_acc,
                valid_loss=outcome.loss,
                valid_acc=outcome.accuracy,
            )
            self._keep_if_best(record)
            yield record

    @property
    def stop_reason(self) -> str:
        """Why it has ended before its last epoch; empty while it goes on and at the last one.

        It follows from the epochs so far, so a resumed run ends where an uninterrupted one does.
        """
        patience, best = self._config.patience_epochs, self.best
        if patience is None or best is None or self.epoch >= self._config.epochs:
            return ""
        stopped = has_stopped(self.epoch, best.epoch, patience)
        return stop_reason(best.epoch, patience) if stopped else ""

    def load_best(self) -> None:
        """Puts the best epoch's weights into the model; there must have been an epoch."""
        self.model.load_state_dict(self._best_state)

    def state(self) -> dict[str, Any]:
        """Returns all that :meth:`load_state` needs to go on: tensors and JSON values.

        The tensors are copies: they stay as they are when training goes on.
        """
        return {
            "epoch": self.epoch,
            "best": None if self.best is None else asdict(self.best),
            "model": _copies(self.model.state_dict()),
            "momentum": _copies(self._optimizer.state()),
            "best_model": dict(self._best_state),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes back to the end of the epoch at which ``state`` was taken."""
        self.epoch = state["epoch"]
        self.best = None if state["best"] is None else FinetuneEpoch(**state["best"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state(state["momentum"])
        self._best_state = dict(state["best_model"])

    def _lr(self, step: int) -> float:
        if self._config.schedule == "constant":
            return self._ft_lr
        progress = step / (self._n_steps * self._config.epochs)
        return self._ft_lr * 0.5 * (1.0 + math.cos(math.pi * progress))

    def _train_one_epoch(self) -> tuple[float, float]:
        self.model.train()
        seed_dropout(self._device, self._seed, "finetune dropout", self.epoch)
        order = epoch_order(
            len(self._train), self._seed, "finetune", self.epoch, self._config.batch_size
        )
        augmentation = derive_seed(self._seed, "finetune augment", self.epoch)
        batches = self._train.batches(
            self._config.batch_size, order=order, augment=self._config.augment, seed=augmentation
        )
        total_loss = torch.zeros((), dtype=torch.float64, device=self._device)
        n_labelled = 0
        meter = self._task.meter()
        step = (self.epoch - 1) * self._n_steps
        for inputs, targets in batches:
            inputs = inputs.to(self._device, non_blocking=True)
            targets = targets.to(self._device, non_blocking=True)
            logits = self.model(inputs)
            loss = self._task.loss(logits, targets, self._label_smoothing)
            self._optimizer.step(loss, self._lr(step))
            n_here = self._task.n_labelled(targets)
            total_loss += loss.detach() * n_here
            n_labelled += n_here
            meter.update(logits, targets)
            step += 1
        return float(total_loss) / max(n_labelled, 1), float(meter.compute())

    def _keep_if_best(self, record: FinetuneEpoch) -> None:
        best = self.best
        if best is None or rank(record.valid_acc, record.valid_loss) > rank(
            best.valid_acc, best.valid_loss
        ):
            self.best = record
            self._best_state = _copies(self.model.state_dict())


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
