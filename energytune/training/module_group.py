"""Head sides of any kind, one after the other by autograd, on shared batches.

For tails of real layers: convolutions, attention, normalisation, dropout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from energytune.tasks import Task
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.order import seed_dropout
from energytune.training.sgd import Sgd

__all__ = ["ModuleGroup"]


class ModuleGroup:
    """Head sides that know only how to run forward.

    Args:
        runs: Any head sides.
        task: Gives the loss.
        seed: Seed of dropout and drop path: each head draws as if it were alone.

    Attributes:
        runs: As given.
    """

    def __init__(self, runs: Sequence[HeadRun], task: Task, seed: int) -> None:
        self.runs = runs
        self._task = task
        self._seed = seed
        self._epoch, self._n_steps, self._step = 0, 1, 0
        self._optimizers = [
            Sgd(
                run.named_parameters(),
                momentum=run.config.momentum,
                weight_decay=run.config.weight_decay,
                buffers=run.momentum,
            )
            for run in runs
        ]
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._mode: bool | None = None

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps; puts the head sides into training."""
        self._epoch, self._n_steps, self._step = epoch, n_steps, 0
        self._inputs, self._outputs = [], []
        self._set_mode(True)

    def step(self, batch: Batch) -> None:
        """Takes one step for each head."""
        inputs, targets = batch.inputs, batch.targets
        epochs_done = self._epoch - 1 + self._step / self._n_steps
        for run, optimizer in zip(self.runs, self._optimizers, strict=True):
            seed_dropout(inputs.device, self._seed, "probe dropout", self._epoch, self._step)
            logits = run.model.from_features(inputs)
            loss = self._task.loss(logits, targets, run.label_smoothing)
            optimizer.step(loss, run.config.lr_at(epochs_done))
        self._step += 1

    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits in evaluation mode, (N, K[, ...], M)."""
        self._inputs, self._outputs = [], []
        self._set_mode(False)
        for run in self.runs:
            with torch.enable_grad():
                z = inputs.detach().clone().requires_grad_(True)
                self._inputs.append(z)
                self._outputs.append(run.model.from_features(z))
        return torch.stack([output.detach() for output in self._outputs], dim=-1)

    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns the norm of the gradient by the features at the cut, (N, M) float64.

        In evaluation mode no sample acts on another, so that one backward pass gives them all.
        """
        norms = []
        for m, (z, output) in enumerate(zip(self._inputs, self._outputs, strict=True)):
            (pull,) = torch.autograd.grad(output, z, residual[..., m].neg())
            norms.append(torch.linalg.vector_norm(pull.flatten(1), dim=1, dtype=torch.float64))
        return torch.stack(norms, dim=1)

    def head_norms(self) -> Tensor:
        """Returns the L2 norm of all parameters of each head side, (M,) float64."""
        device = next(iter(self.runs[0].momentum.values())).device
        norms = [run.model.head_norm() for run in self.runs]
        return torch.tensor(norms, dtype=torch.float64, device=device)

    def sync(self) -> None:
        """Has nothing to do: the runs' own tensors are trained."""

    def _set_mode(self, train: bool) -> None:
        if self._mode != train:  # it walks all modules: once a snapshot, not once a batch
            for run in self.runs:
                run.model.set_probe_mode(train)
            self._mode = train
