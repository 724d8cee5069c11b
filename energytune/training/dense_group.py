"""M chains of dense layers, trained side by side by hand-written back-propagation.

For MLP heads, and for tails of dense layers with any head behind them. The first layer reads the
shared features, so that it is one wide product of all heads; the others are batched products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from energytune.tasks import Task
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.head_settings import HeadSettings

__all__ = ["DenseGroup"]


class _Layer:
    """One layer of all chains: weights (M, in, out), biases (M, out), and their momentum.

    The first layer's weights lie in memory as (in, M, out), so that they are a matrix too.
    """

    def __init__(self, runs: Sequence[HeadRun], index: int) -> None:
        layers = [(run.dense_layers() or [])[index] for run in runs]
        names = [[n for n, _ in run.named_parameters()][2 * index : 2 * index + 2] for run in runs]
        self.relu = layers[0].relu
        dim = 1 if index == 0 else 0
        self._of_runs = [
            ((layer.weight, layer.bias), (run.momentum[names_[0]], run.momentum[names_[1]]))
            for run, layer, names_ in zip(runs, layers, names, strict=True)
        ]
        self.weight, self.weight_buffer = (
            torch.stack([pair[i][0].detach().t() for pair in self._of_runs], dim=dim)
            for i in (0, 1)
        )
        if index == 0:
            self.flat, self.flat_buffer = self.weight.flatten(1), self.weight_buffer.flatten(1)
            self.weight = self.weight.transpose(0, 1)
            self.weight_buffer = self.weight_buffer.transpose(0, 1)
        self.bias, self.bias_buffer = (
            torch.stack([pair[i][1].detach() for pair in self._of_runs]) for i in (0, 1)
        )

    def update(self, settings: HeadSettings) -> None:
        """Adds the weight decay to the momentum and takes the step."""
        for value, buffer in ((self.weight, self.weight_buffer), (self.bias, self.bias_buffer)):
            shape = (-1,) + (1,) * (value.ndim - 1)
            if settings.weight_decay is not None:
                buffer.addcmul_(value, settings.weight_decay.view(shape))
            value.addcmul_(buffer, settings.lr.view(shape), value=-1)

    def sync(self) -> None:
        """Copies everything back to the runs."""
        for m, ((weight, bias), (weight_buffer, bias_buffer)) in enumerate(self._of_runs):
            weight.copy_(self.weight[m].t())
            bias.copy_(self.bias[m])
            weight_buffer.copy_(self.weight_buffer[m].t())
            bias_buffer.copy_(self.bias_buffer[m])


class DenseGroup:
    """Chains of dense layers of the same widths, on features (N, D).

    Args:
        runs: Each a chain of at least two dense layers with bias.
        task: Gives the gradient by the logits.

    Attributes:
        runs: As given.
    """

    def __init__(self, runs: Sequence[HeadRun], task: Task) -> None:
        self.runs = runs
        self._task = task
        with torch.no_grad():
            self._layers = [_Layer(runs, i) for i in range(len(runs[0].dense_layers() or ()))]
        self._settings = HeadSettings(runs, self._layers[0].bias)
        self._hidden: list[Tensor] = []

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps."""
        self._settings.begin_epoch(epoch, n_steps)

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """Takes one step of SGD with momentum, as torch's does, on inputs (B, D).

        With the pull G on a layer's output ([Ren2023]_, Eq. 2) and its input h, the gradients are
        h^T G and the sum of G, and G W^T is the pull on h.
        """
        inputs, targets, settings = batch.inputs, batch.targets, self._settings
        settings.next_step()
        logits = self.logits(inputs)
        pull = self._task.loss_gradient(logits, targets, settings.label_smoothing)
        pull = self._through_last(pull.permute(2, 0, 1))  # (M, B, K)
        for index in reversed(range(len(self._layers))):
            layer = self._layers[index]
            before = self._pull_before(index, pull)
            layer.bias_buffer.mul_(settings.momentum).add_(pull.sum(dim=1))
            if index:
                hidden = self._hidden[index - 1].transpose(1, 2)
                layer.weight_buffer.baddbmm_(hidden, pull, beta=settings.momentum)
            else:
                wide = pull.transpose(0, 1).reshape(len(inputs), -1)
                layer.flat_buffer.addmm_(inputs.t(), wide, beta=settings.momentum)
            layer.update(settings)
            pull = before

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K, M) of features (N, D)."""
        first = self._layers[0]
        n_heads = len(self.runs)
        wide = torch.addmm(first.bias.view(-1), inputs, first.flat)
        if first.relu:
            wide.relu_()
        output = wide.view(len(inputs), n_heads, -1).transpose(0, 1)
        self._hidden = [output]
        for layer in self._layers[1:]:
            output = torch.baddbmm(layer.bias.unsqueeze(1), output, layer.weight)
            self._hidden.append(output.relu_() if layer.relu else output)
        return output.permute(1, 2, 0)

    @torch.no_grad()
    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns the norm of the gradient by the features, (N, M) float64, of (N, K, M)."""
        pull = self._through_last(residual.neg().permute(2, 0, 1))
        for index in reversed(range(1, len(self._layers))):
            pull = self._pull_before(index, pull)
        weights = self._layers[0].weight
        # head by head: all at once would be M times the features
        norms = [
            torch.linalg.vector_norm(pull[m] @ weights[m].t(), dim=1, dtype=torch.float64)
            for m in range(len(self.runs))
        ]
        return torch.stack(norms, dim=1)

    @torch.no_grad()
    def head_norms(self) -> Tensor:
        """Returns the L2 norm of all weights and biases of each chain, (M,) float64."""
        squares = [
            value.double().square().flatten(1).sum(dim=1)
            for layer in self._layers
            for value in (layer.weight, layer.bias)
        ]
        return torch.stack(squares).sum(dim=0).sqrt()

    @torch.no_grad()
    def sync(self) -> None:
        """Puts weights and momentum back into the runs."""
        for layer in self._layers:
            layer.sync()

    def _through_last(self, pull: Tensor) -> Tensor:
        """Returns the pull before the last layer's ReLU, where there is one."""
        return pull * (self._hidden[-1] > 0) if self._layers[-1].relu else pull

    def _pull_before(self, index: int, pull: Tensor) -> Tensor:
        """Returns the pull on the output of the layer before, (M, B, in); the first has none."""
        if index == 0:
            return pull
        before = torch.bmm(pull, self._layers[index].weight.transpose(1, 2))
        if self._layers[index - 1].relu:
            before.mul_(self._hidden[index - 1] > 0)
        return before
