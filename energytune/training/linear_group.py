"""M linear heads as one wide product, class-major.

The weights are one matrix (D, K * M), with the heads of a class side by side. One product gives
the logits of all heads, the softmax runs over rows of M neighbours, and one more product adds all
gradients to the momentum. The heads share batches and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from energytune.science.energy import linear_pull_norms
from energytune.tasks import Task
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.head_settings import HeadSettings

__all__ = ["LinearGroup"]


class LinearGroup:
    """Linear heads of one width, on features (N, D).

    Args:
        runs: Each a single linear layer with bias.
        task: Gives the gradient by the logits.

    Attributes:
        runs: As given.
    """

    def __init__(self, runs: Sequence[HeadRun], task: Task) -> None:
        self.runs = runs
        self._task = task
        self._layers = [layer for run in runs for layer in run.dense_layers() or ()]
        self._names = [tuple(name for name, _ in run.named_parameters()) for run in runs]
        with torch.no_grad():
            weights = [layer.weight.t() for layer in self._layers]
            self._weight = torch.stack(weights, dim=2)  # (D, K, M)
            self._bias = torch.stack([layer.bias for layer in self._layers], dim=1)  # (K, M)
            self._weight_buffer = torch.stack(
                [r.momentum[w].t() for r, (w, _) in self._named()], dim=2
            )
            self._bias_buffer = torch.stack([r.momentum[b] for r, (_, b) in self._named()], dim=1)
        self._settings = HeadSettings(runs, self._bias)
        self._n_classes, self._n_heads = self._bias.shape
        self._pull = self._bias.new_empty(0)
        self._spread_rates()

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps."""
        self._settings.begin_epoch(epoch, n_steps)

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """Takes one step of SGD with momentum, as torch's does, on inputs (B, D)."""
        inputs, targets = batch.inputs, batch.targets
        settings = self._settings
        if settings.next_step():
            self._spread_rates()
        n_samples = len(inputs)
        if len(self._pull) < n_samples:
            self._pull = inputs.new_empty(n_samples, self._bias.numel())
        pull = self._pull[:n_samples]
        torch.addmm(self._bias.view(-1), inputs, self._flat(self._weight), out=pull)
        logits = pull.view(n_samples, self._n_classes, self._n_heads)
        self._task.loss_gradient(logits, targets, settings.label_smoothing, out=logits)
        weight_buffer, bias_buffer = self._flat(self._weight_buffer), self._bias_buffer.view(-1)
        weight_buffer.addmm_(inputs.t(), pull, beta=settings.momentum)
        bias_buffer.mul_(settings.momentum).add_(pull.sum(dim=0))
        if settings.weight_decay is not None:
            self._weight_buffer.addcmul_(self._weight, settings.weight_decay)
            self._bias_buffer.addcmul_(self._bias, settings.weight_decay)
        self._flat(self._weight).addcmul_(weight_buffer, self._wide_lr, value=-1)
        self._bias.view(-1).addcmul_(bias_buffer, self._wide_lr, value=-1)

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K, M) of features (N, D)."""
        wide = torch.addmm(self._bias.view(-1), inputs, self._flat(self._weight))
        return wide.view(len(inputs), self._n_classes, self._n_heads)

    @torch.no_grad()
    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns ||W^T e||_2, (N, M) float64, of residuals (N, K, M)."""
        return linear_pull_norms(residual, self._weight)

    @torch.no_grad()
    def head_norms(self) -> Tensor:
        """Returns the L2 norm of each head's weights and biases, (M,) float64."""
        squares = self._weight.double().square().sum(dim=(0, 1))
        return (squares + self._bias.double().square().sum(dim=0)).sqrt()

    @torch.no_grad()
    def sync(self) -> None:
        """Puts weights and momentum back into the runs."""
        for m, (layer, (run, (weight, bias))) in enumerate(
            zip(self._layers, self._named(), strict=True)
        ):
            layer.weight.copy_(self._weight[:, :, m].t())
            layer.bias.copy_(self._bias[:, m])
            run.momentum[weight].copy_(self._weight_buffer[:, :, m].t())
            run.momentum[bias].copy_(self._bias_buffer[:, m])

    def _named(self) -> list[tuple[HeadRun, tuple[str, ...]]]:
        return list(zip(self.runs, self._names, strict=True))

    def _spread_rates(self) -> None:
        self._wide_lr = self._settings.lr.repeat(self._n_classes)  # (K * M,), a class after another

    @staticmethod
    def _flat(weight: Tensor) -> Tensor:
        return weight.view(len(weight), -1)
