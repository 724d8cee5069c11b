"""One epoch of finetuning in one process: the whole of every batch, or a share of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from energytune.config import EngineConfig, FinetuneConfig
from energytune.data import Split
from energytune.seeds import derive_seed
from energytune.tasks import Task
from energytune.tasks.base import Meter
from energytune.training.engine import training_forward
from energytune.training.feeding import device_batches
from energytune.training.micro_batch import MicroBatch, is_out_of_memory, pieces
from energytune.training.order import epoch_order, seed_dropout
from energytune.training.sgd import Sgd

__all__ = ["Course", "EpochTotals", "EpochTrainer", "MeanGradient", "Share"]

MeanGradient = Callable[[list[Tensor], int], list[Tensor]]
"""Gradient of a share and its number of labels, to the gradient of the whole batch."""


@dataclass(frozen=True)
class Course:
    """What the steps of a finetune follow, the same in all of its processes.

    Attributes:
        config: Schedule and optimiser.
        ft_lr: Peak learning rate, > 0.
        seed: Seed of batch order, augmentation and dropout.
        label_smoothing: ``ft_label_smoothing``, in [0, 1).
        engine: How it is computed.
    """

    config: FinetuneConfig
    ft_lr: float
    seed: int
    label_smoothing: float
    engine: EngineConfig

    def order(self, n_samples: int, epoch: int) -> Tensor:
        """Returns the order of an epoch from 1, (N,) int64."""
        return epoch_order(n_samples, self.seed, "finetune", epoch, self.config.batch_size)

    def lr(self, step: int, n_steps: int) -> float:
        """Returns the learning rate of a step from 0, where an epoch has ``n_steps``."""
        if self.config.schedule == "constant":
            return self.ft_lr
        progress = step / (n_steps * self.config.epochs)
        return self.ft_lr * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Share:
    """Which part of each batch a process takes.

    Attributes:
        rank: Of the process, from 0.
        n_processes: >= 1.
    """

    rank: int = 0
    n_processes: int = 1

    def largest(self, batch_size: int) -> int:
        """Returns the samples of the largest share of a batch."""
        return -(-batch_size // self.n_processes)

    def of(self, batch: Tensor) -> Tensor:
        """Returns the part of a batch's indices, never empty.

        A batch of fewer samples than processes leaves some without one. They take the first
        sample, which counts nothing: all of them must go through the network for its batch
        normalisation to be synchronised.
        """
        part = batch.tensor_split(self.n_processes)[self.rank]
        return part if len(part) else batch[:1]

    def counts(self, n_samples: int) -> bool:
        """Returns whether the share of a batch of ``n_samples`` is more than a stand-in."""
        return self.rank < n_samples

    def n_pieces(self, n_samples: int, size: int) -> int:
        """Returns into how many pieces every process parts its share, the same number in all."""
        return min(
            len(pieces(self.largest(n_samples), size)), max(1, n_samples // self.n_processes)
        )


@dataclass
class EpochTotals:
    """What an epoch adds up to.

    Attributes:
        loss: Sum of the loss over the labelled entries, scalar float64.
        n_labelled: Labelled entries.
        meter: Saw all logits.
    """

    loss: Tensor
    n_labelled: int
    meter: Meter

    def merge(self, other: EpochTotals) -> None:
        """Adds the totals of another process."""
        self.loss = self.loss + other.loss.to(self.loss.device)
        self.n_labelled += other.n_labelled
        self.meter.merge(other.meter)

    def result(self) -> tuple[float, float]:
        """Returns the mean loss in nats, and the score in [0, 1]."""
        return float(self.loss) / max(self.n_labelled, 1), float(self.meter.compute())


class EpochTrainer:
    """Trains a network epoch by epoch, in place.

    Alone, it halves a batch that does not fit into memory and goes on with the part of the step
    that is left: gradients of the pieces before count, for the weights have not changed. With
    others it must not, since they would wait for it: there it raises.

    Args:
        network: Inputs (N, ...) to logits (N, K, ...).
        task: Loss and score.
        course: What the steps follow.
        optimizer: Of the network's parameters.
        micro: How many samples go through at once.
        device: Where the network lies.
        share: The part of each batch.
        mean_gradient: Makes the gradient of the batch from that of the shares; None is alone.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        course: Course,
        optimizer: Sgd,
        micro: MicroBatch,
        device: torch.device,
        share: Share = Share(),
        mean_gradient: MeanGradient | None = None,
    ) -> None:
        self._network, self._task, self._course = network, task, course
        self._optimizer, self._micro, self._device = optimizer, micro, device
        self._share, self._mean_gradient = share, mean_gradient
        self._forward = training_forward(network, course.engine, device)

    def run(self, split: Split, epoch: int) -> EpochTotals:
        """Trains for one epoch, from 1, on its share of every batch.

        Raises:
            TrialFailure: If not even an eighth of a batch fits into memory.
            RuntimeError: If it is not alone and its share does not fit.
        """
        self._network.train()
        course, rank = self._course, self._share.rank
        streams = (rank,) if rank else ()
        seed_dropout(self._device, course.seed, "finetune dropout", epoch, *streams)
        zero = torch.zeros((), dtype=torch.float64, device=self._device)
        totals = EpochTotals(zero, 0, self._task.meter())
        batch_size = course.config.batch_size
        order = course.order(len(split), epoch)
        sizes = [min(batch_size, len(order) - i) for i in range(0, len(order), batch_size)]
        step = (epoch - 1) * len(sizes)
        for n_samples, (inputs, targets, labels) in zip(
            sizes,
            self._batches(split, order, epoch),
            strict=False,  # timing ends an epoch early
        ):
            gradients = self._gradients(inputs, targets, labels, totals, n_samples)
            self._optimizer.apply(gradients, course.lr(step, len(sizes)))
            step += 1
        return totals

    def close(self) -> None:
        """Has nothing to do: nothing of it runs between epochs."""

    def _batches(
        self, split: Split, order: Tensor, epoch: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yields inputs and targets on the device, and the targets as they came."""
        course, share, size = self._course, self._share, self._course.config.batch_size
        if share.n_processes > 1:
            order = torch.cat([share.of(batch) for batch in torch.split(order, size)])
            size = len(share.of(torch.arange(size)))
        yield from device_batches(
            split,
            size,
            device=self._device,
            engine=course.engine,
            order=order,
            augment=course.config.augment,
            seed=derive_seed(course.seed, "finetune augment", epoch),
        )

    def _gradients(
        self,
        inputs: Tensor,
        targets: Tensor,
        labels: Tensor,
        totals: EpochTotals,
        n_samples: int,
    ) -> list[Tensor]:
        """Returns the gradient of the batch's mean loss, one tensor per parameter.

        Args:
            inputs: The share, on the device.
            targets: Of the inputs, on the device.
            labels: The same, where they are counted without waiting for the device.
            totals: Added to.
            n_samples: Of the whole batch.
        """
        if self._mean_gradient is None:
            return self._alone(inputs, targets, labels, totals)
        n_labels = self._task.n_labelled(labels)
        counts = self._share.counts(n_samples)
        seen = totals if counts else EpochTotals(totals.loss * 0, 0, self._task.meter())
        summed: list[Tensor] | None = None
        n_pieces = self._share.n_pieces(n_samples, self._micro.size)
        for part in torch.arange(len(inputs)).tensor_split(n_pieces):
            where = slice(int(part[0]), int(part[-1]) + 1)
            gradients = self._piece(inputs[where], targets[where], labels[where], seen, n_labels)
            summed = _added(summed, gradients)
        return self._mean_gradient(summed or [], n_labels if counts else 0)

    def _alone(
        self, inputs: Tensor, targets: Tensor, labels: Tensor, totals: EpochTotals
    ) -> list[Tensor]:
        n_labels = self._task.n_labelled(labels)
        summed: list[Tensor] | None = None
        done = 0
        while done < len(inputs) or summed is None:
            left = len(inputs) - done
            size = left if left <= self._micro.size else pieces(left, self._micro.size)[0]
            where = slice(done, done + size)
            try:
                gradients = self._piece(
                    inputs[where], targets[where], labels[where], totals, n_labels
                )
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                said = str(error)
            else:
                summed = _added(summed, gradients)
                done += size
                continue
            self._micro.halve(self._device, said)
        return summed

    def _piece(
        self, inputs: Tensor, targets: Tensor, labels: Tensor, totals: EpochTotals, n_labels: int
    ) -> list[Tensor]:
        """Returns the gradient of a piece, weighted by its part of the batch's labels."""
        logits = self._forward(inputs)
        loss = self._task.loss(logits, targets, self._course.label_smoothing)
        n_here = self._task.n_labelled(labels)
        weighted = loss if n_here == n_labels else loss * (n_here / n_labels)
        gradients = self._optimizer.gradients(weighted)
        totals.meter.update(logits, targets)
        totals.loss += loss.detach() * n_here
        totals.n_labelled += n_here
        return gradients


def _added(summed: list[Tensor] | None, gradients: list[Tensor]) -> list[Tensor]:
    """Adds gradients to a sum, in place; there is none before the first piece."""
    if summed is None:
        return gradients
    torch._foreach_add_(summed, gradients)
    return summed
