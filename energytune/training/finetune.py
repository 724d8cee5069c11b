"""Finetuning: backbone and head are trained together from the probed head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from energytune.config import EngineConfig, FinetuneConfig
from energytune.data import Split
from energytune.errors import ConfigError, TrialFailure
from energytune.models import TaskModel
from energytune.tasks import Task
from energytune.training.early_stop import has_stopped, rank, stop_reason
from energytune.training.engine import forward_of, laid_out
from energytune.training.evaluate import evaluate
from energytune.training.feeding import device_batches
from energytune.training.micro_batch import MicroBatch, memory_shape
from energytune.training.records import FinetuneEpoch
from energytune.training.sgd import Sgd
from energytune.training.team_trainer import TeamTrainer
from energytune.training.train_epoch import Course, EpochTrainer, Share

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
        engine: How it computes.

    Raises:
        ConfigError: If a batch has fewer samples than there are processes.
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
        engine: EngineConfig = EngineConfig(),  # noqa: B008 - it is frozen
    ) -> None:
        self.model = model.to(device)
        laid_out(model, engine)
        self.epoch = 0
        self.best: FinetuneEpoch | None = None
        self._best_state: dict[str, Tensor] = {}
        self._train, self._valid, self._task = train, valid, task
        self._config, self._ft_lr, self._device = config, ft_lr, device
        self._engine, self._predict = engine, forward_of(model, engine, device)
        course = Course(config, ft_lr, seed, label_smoothing, engine)
        self._optimizer = Sgd(
            list(model.named_parameters()),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        one_input, _ = next(iter(valid.batches(1, order=torch.tensor([0]))))
        self._eval_batch = max(1, min(_EVAL_BATCH, _EVAL_ELEMENTS // max(1, one_input.numel())))
        share = Share(n_processes=engine.n_processes)
        if config.batch_size < share.n_processes:
            raise ConfigError(
                f"finetune.batch_size must be at least {share.n_processes}, the number of "
                f"processes that share a batch, got {config.batch_size}."
            )
        shape = memory_shape(model.spec(), one_input.shape[1:], device, engine)
        micro = MicroBatch(shape, share.largest(config.batch_size))
        make = EpochTrainer if share.n_processes == 1 else TeamTrainer
        self._trainer: EpochTrainer | TeamTrainer = make(
            model, task, course, self._optimizer, micro, device
        )

    def __iter__(self) -> Iterator[FinetuneEpoch]:
        """Yields the remaining epochs, up to the last or up to the early stop.

        Raises:
            TrialFailure: If the training or validation loss is not finite, there is not enough
                memory, or a helper process is lost.
        """
        try:
            yield from self._epochs()
        finally:
            self._trainer.close()

    def _epochs(self) -> Iterator[FinetuneEpoch]:
        while self.epoch < self._config.epochs and not self.stop_reason:
            self.epoch += 1
            train_loss, train_acc = self._train_one_epoch()
            self.model.eval()
            batches = device_batches(
                self._valid, self._eval_batch, device=self._device, engine=self._engine
            )
            outcome = evaluate(
                self._predict, ((x, y) for x, y, _ in batches), self._task, self._device
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
        self._trainer.close()  # helper processes are told anew
        self.epoch = state["epoch"]
        self.best = None if state["best"] is None else FinetuneEpoch(**state["best"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state(state["momentum"])
        self._best_state = dict(state["best_model"])

    def _train_one_epoch(self) -> tuple[float, float]:
        return self._trainer.run(self._train, self.epoch).result()

    def _keep_if_best(self, record: FinetuneEpoch) -> None:
        best = self.best
        if best is None or rank(record.valid_acc, record.valid_loss) > rank(
            best.valid_acc, best.valid_loss
        ):
            self.best = record
            self._best_state = _copies(self.model.state_dict())


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
