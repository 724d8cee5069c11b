"""One chain of dense layers by itself: a single head, with or without a dense tail.

The arithmetic is that of :mod:`energytune.training.dense_group` with one head; without its
dimension of heads a step takes half as many calls into torch, which on small layers is its time.
A trial probes its head in this way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from energytune.tasks import Multiclass, Task
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.sgd import Sgd

__all__ = ["ChainGroup"]


class ChainGroup:
    """A single chain of dense layers, on features (N, D), trained in place.

    Args:
        run: A chain of dense layers with bias.
        task: Gives the gradient by the logits.
        targets: Of the training split, (N,); None where a batch's ``samples`` don't index them.

    Attributes:
        runs: The run alone.
    """

    def __init__(self, run: HeadRun, task: Task, targets: Tensor | None) -> None:
        self.runs: Sequence[HeadRun] = (run,)
        self._task = task
        self._layers = run.dense_layers() or []
        self._optimizer = Sgd(
            run.named_parameters(),
            momentum=run.config.momentum,
            weight_decay=run.config.weight_decay,
            buffers=run.momentum,
        )
        self._soft_targets: Tensor | None = None
        if isinstance(task, Multiclass) and targets is not None:
            dtype = self._layers[0].weight.dtype
            self._soft_targets = task.soft_targets(targets, run.label_smoothing, dtype)
        self._epochs_done, self._n_steps, self._step = 0, 1, 0
        self._hidden: list[Tensor] = []

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps."""
        self._epochs_done, self._n_steps, self._step = epoch - 1, n_steps, 0

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """Takes one step of SGD with momentum on inputs (B, D).

        With the pull G on a layer's output ([Ren2023]_, Eq. 2) and its input h, the gradients are
        G^T h and the sum of G, and G W is the pull on h.
        """
        config = self.runs[0].config
        lr = config.lr_at(self._epochs_done + self._step / self._n_steps)
        self._step += 1
        pull = self._pull(self._forward(batch.inputs), batch)
        gradients: list[Tensor] = []
        for index in reversed(range(len(self._layers))):
            if self._layers[index].relu:
                pull.mul_(self._hidden[index + 1] > 0)
            gradients += [pull.sum(dim=0), pull.t() @ self._hidden[index]]
            if index:
                pull = pull @ self._layers[index].weight
        self._optimizer.apply(gradients[::-1], lr)

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K, 1) of features (N, D)."""
        return self._forward(inputs).unsqueeze(-1)

    @torch.no_grad()
    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns the norm of the gradient by the features, (N, 1) float64, of (N, K, 1)."""
        pull: Tensor = residual[..., 0].neg()
        for index in reversed(range(len(self._layers))):
            if self._layers[index].relu:
                pull = pull * (self._hidden[index + 1] > 0)
            pull = pull @ self._layers[index].weight
        norms: Tensor = torch.linalg.vector_norm(pull, dim=1, keepdim=True, dtype=torch.float64)
        return norms

    @torch.no_grad()
    def head_norms(self) -> Tensor:
        """Returns the L2 norm of all weights and biases, (1,) float64."""
        parts = [part for layer in self._layers for part in (layer.weight, layer.bias)]
        norms = [torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts]
        whole: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return whole.unsqueeze(0)

    def sync(self) -> None:
        """Has nothing to do: the run's own tensors are trained."""

    def _forward(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K), and keeps what goes into each layer."""
        self._hidden = [inputs]
        for layer in self._layers:
            output = F.linear(self._hidden[-1], layer.weight, layer.bias)
            self._hidden.append(output.relu_() if layer.relu else output)
        return self._hidden[-1]

    def _pull(self, logits: Tensor, batch: Batch) -> Tensor:
        """Returns the gradient of the mean loss by the logits, (B, K)."""
        if self._soft_targets is None:
            smoothing = self.runs[0].label_smoothing
            return self._task.loss_gradient(logits, batch.targets, smoothing)
        pull = self._task.probs(logits)
        pull.sub_(self._soft_targets.index_select(0, batch.samples))
        return pull.div_(len(pull))
