"""M linear heads in the span of the training samples: for fewer samples than features.

Every step of SGD adds a mix of samples to the weights. So between two snapshots, with the samples
X (N, D), and the weights W_0 and their momentum V_0 (D, K * M) at the first of the two,

    W = s W_0 + r V_0 + X^T A        V = p W_0 + q V_0 + X^T U

with four numbers a head and two matrices A and U (N, K * M). The logits of the samples b are

    s (X W_0)_b + r (X V_0)_b + (X X^T)_b A + bias

where the products of X stay as they are. A step on B samples then costs 2 B N K M operations and
passes over A and U, instead of 4 B D K M operations and passes over W and V. It is the same
descent in other coordinates; nothing differs but the rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from energytune.tasks import Task
from energytune.training.features import Features, TensorFeatures
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.head_settings import HeadSettings
from energytune.training.linear_group import LinearGroup

__all__ = ["DualLinearGroup", "SampleSpan"]

_LEAST_UNIT = 2.0**-10
_HEADS_AT_ONCE = 8
"""Between weights and coordinates: few classes alone make narrow products, and all heads at once
would take the memory of all weights once more."""


class SampleSpan:
    """The training samples of a pass and their products, which all its groups share.

    Args:
        source: Features (N, D) in one view.
    """

    def __init__(self, source: TensorFeatures) -> None:
        self._source = source

    @classmethod
    def of(cls, features: Features) -> SampleSpan | None:
        """Returns the span of features (N, D) that lie in memory in one view; else None."""
        if not isinstance(features, TensorFeatures) or features.n_views > 1:
            return None
        return cls(features) if len(features.shape) == 2 and features.shape[0] else None

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        n_samples, width = self._source.shape
        return n_samples, width

    @cached_property
    def features(self) -> Tensor:
        """X, (N, D), float32 or float64; the features themselves where they are wide enough."""
        (whole,) = self._source.batches(self.shape[0])
        return whole

    @cached_property
    def gram(self) -> Tensor:
        """X X^T, (N, N), of the dtype of X.

        Summed in float32 where X is: what the rounding of this matrix does to a trajectory is
        less than what the rounding of its steps does.
        """
        return self.features @ self.features.t()


class DualLinearGroup:
    """Linear heads of one width, on the N samples of a span; see the module for the algebra.

    While it trains there are coordinates only. The first of :meth:`logits`, :meth:`pull_norms`,
    :meth:`head_norms` and :meth:`sync` after a step turns them into weights and momentum in the
    runs, and the next step starts from what the runs hold. So what goes on from a snapshot equals
    what was only measured there, bit for bit.

    With N <= D / 2 the coordinates take no more memory than the weights and momentum of a
    :class:`~energytune.training.linear_group.LinearGroup`; larger N are right too.

    Args:
        runs: Each a single linear layer with bias.
        task: Gives the gradient by the logits.
        span: The training samples, on the device of the runs; ``samples`` of a batch index them.

    Attributes:
        runs: As given.
    """

    def __init__(self, runs: Sequence[HeadRun], task: Task, span: SampleSpan) -> None:
        self.runs = runs
        self._task, self._span = task, span
        bias = [layer.bias.detach() for run in runs for layer in run.dense_layers() or ()]
        self._settings = HeadSettings(runs, bias[0])
        self._trained: _Coordinates | None = None
        self._measured: LinearGroup | None = None

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps."""
        self._settings.begin_epoch(epoch, n_steps)

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """Takes one step of SGD with momentum, as torch's does, on samples (B,) of the span."""
        if self._trained is None:
            self._measured = None
            self._trained = _Coordinates(self.runs, self._span, self._settings)
        settings = self._settings
        if settings.next_step():
            self._trained.spread_rates()
        pull = self._trained.logits(batch.samples)
        logits = pull.view(len(pull), -1, len(self.runs))
        self._task.loss_gradient(logits, batch.targets, settings.label_smoothing, out=logits)
        self._trained.descend(batch.samples, pull)

    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K, M) of features (N, D)."""
        return self._at_rest().logits(inputs)

    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns ||W^T e||_2, (N, M) float64, of residuals (N, K, M)."""
        return self._at_rest().pull_norms(residual)

    def head_norms(self) -> Tensor:
        """Returns the L2 norm of each head's weights and biases, (M,) float64."""
        return self._at_rest().head_norms()

    def sync(self) -> None:
        """Puts weights and momentum back into the runs."""
        if self._trained is not None:
            self._trained.write_back()
            self._trained = None

    def _at_rest(self) -> LinearGroup:
        self.sync()
        if self._measured is None:
            self._measured = LinearGroup(self.runs, self._task)
        return self._measured


class _Coordinates:
    """M heads between two snapshots, on their way from what the runs hold.

    All that has K * M columns has the heads of a class side by side.

    Args:
        runs: The heads; untouched until :meth:`write_back`.
        span: The samples.
        settings: The heads' optimisers.
    """

    @torch.no_grad()
    def __init__(self, runs: Sequence[HeadRun], span: SampleSpan, settings: HeadSettings) -> None:
        self._span, self._settings = span, settings
        layers = [layer for run in runs for layer in run.dense_layers() or ()]
        momenta = [[run.momentum[name] for name, _ in run.named_parameters()] for run in runs]
        # of each head the parameter (K, D) or (K,), and its momentum
        self._weights = [(la.weight, m[0]) for la, m in zip(layers, momenta, strict=True)]
        self._biases = [(la.bias, m[1]) for la, m in zip(layers, momenta, strict=True)]
        self._n_classes = len(layers[0].bias)

        self._start, self._start_buffer = (
            _products(span.features, [pair[i] for pair in self._weights]) for i in (0, 1)
        )
        self._bias, self._bias_buffer = (
            torch.stack([pair[i].detach() for pair in self._biases], dim=1).flatten()
            for i in (0, 1)
        )
        # U is kept divided by a unit that shrinks with it: its decay then needs no pass over it
        self._mix, self._buffer = torch.zeros_like(self._start), torch.zeros_like(self._start)
        self._unit = 1.0
        # s, r, p, q of the module, (K * M,)
        one, nought = torch.ones_like(self._bias), torch.zeros_like(self._bias)
        self._s, self._r, self._p, self._q = one, nought, nought.clone(), one.clone()
        decay = settings.weight_decay
        self._decay = None if decay is None else decay.repeat(self._n_classes)
        self.spread_rates()

    def spread_rates(self) -> None:
        """Takes over the learning rates of the settings."""
        self._lr = self._settings.lr.repeat(self._n_classes)

    def logits(self, samples: Tensor) -> Tensor:
        """Returns logits (B, K * M) of samples (B,)."""
        output = self._start.index_select(0, samples)
        if self._decay is not None:
            output.mul_(self._s)
        output.addcmul_(self._start_buffer.index_select(0, samples), self._r).add_(self._bias)
        return output.addmm_(self._span.gram.index_select(0, samples), self._mix)

    def descend(self, samples: Tensor, pull: Tensor) -> None:
        """Takes a step on samples (B,), given the gradient by their logits, (B, K * M)."""
        momentum = self._settings.momentum
        self._unit *= momentum
        if self._unit < _LEAST_UNIT:
            self._buffer.mul_(self._unit)
            self._unit = 1.0
        self._buffer.index_add_(0, samples, pull, alpha=1.0 / self._unit)
        self._bias_buffer.mul_(momentum).add_(pull.sum(dim=0))
        self._p.mul_(momentum)
        self._q.mul_(momentum)
        if self._decay is not None:
            self._buffer.addcmul_(self._mix, self._decay, value=1.0 / self._unit)
            self._bias_buffer.addcmul_(self._bias, self._decay)
            self._p.addcmul_(self._s, self._decay)
            self._q.addcmul_(self._r, self._decay)
        self._mix.addcmul_(self._buffer, self._lr, value=-self._unit)
        self._bias.addcmul_(self._bias_buffer, self._lr, value=-1)
        self._s.addcmul_(self._p, self._lr, value=-1)
        self._r.addcmul_(self._q, self._lr, value=-1)

    @torch.no_grad()
    def write_back(self) -> None:
        """Puts weights and momentum into the runs; the coordinates are then of no more use."""
        x, n_heads = self._span.features, len(self._weights)
        mixed, mixed_buffer = (_mixtures(x, mix, n_heads) for mix in (self._mix, self._buffer))
        bias, bias_buffer = (b.view(-1, n_heads) for b in (self._bias, self._bias_buffer))
        for m, ((weight, buffer), of_bias) in enumerate(
            zip(self._weights, self._biases, strict=True)
        ):
            started = weight * self._p[m]
            weight.mul_(self._s[m]).addcmul_(buffer, self._r[m]).add_(next(mixed))
            buffer.mul_(self._q[m]).add_(started).add_(next(mixed_buffer), alpha=self._unit)
            of_bias[0].copy_(bias[:, m])
            of_bias[1].copy_(bias_buffer[:, m])


def _products(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Returns X W, (N, K * M), of M heads (K, D), with the heads of a class side by side."""
    n_classes = len(weights[0])
    wide = x.new_empty(len(x), n_classes, len(weights))
    for first in range(0, len(weights), _HEADS_AT_ONCE):
        part = slice(first, first + _HEADS_AT_ONCE)
        product = x @ torch.cat(list(weights[part])).t()
        wide[:, :, part] = product.view(len(x), -1, n_classes).transpose(1, 2)
    return wide.flatten(1)


def _mixtures(x: Tensor, mix: Tensor, n_heads: int) -> Iterator[Tensor]:
    """Yields A^T X, (K, D), of each of M heads, given A (N, K * M)."""
    by_head = mix.view(len(x), -1, n_heads).permute(2, 1, 0)
    for part in torch.split(by_head, _HEADS_AT_ONCE):
        yield from (part.flatten(0, 1) @ x).view(len(part), -1, x.shape[1])
