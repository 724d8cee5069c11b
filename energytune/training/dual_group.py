"""M linear heads in the span of the training samples: for fewer samples than features.

Every step of SGD adds a mix of samples to the weights, so that between two snapshots, with the
samples X (N, D) and the weights W_0 and momentum V_0 (D, K * M) at the first of them,

    W_t = s_t W_0 + r_t V_0 + X^T A_t        V_t = p_t W_0 + q_t V_0 + X^T U_t

with four numbers a head and A, U (N, K * M). The logits of samples b are then

    s X_b W_0 + r X_b V_0 + (X X^T)_b A + bias

of which X W_0, X V_0 and X X^T do not change. A step costs 2 B N K M operations for a batch of B
and passes over A and U, instead of 4 B D K M and passes over W and V. It is the same algorithm in
other coordinates, so nothing differs but the rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from energytune.science.energy import linear_pull_norms
from energytune.tasks import Task
from energytune.training.features import Features, TensorFeatures
from energytune.training.head_group import Batch
from energytune.training.head_run import HeadRun
from energytune.training.head_settings import HeadSettings

__all__ = ["DualLinearGroup", "SampleSpan"]

_SMALLEST_UNIT = 2.0**-10
"""Of the momentum, before it is written out: far from where float32 loses digits."""


class SampleSpan:
    """The training samples of a pass and their products, which all its groups share.

    Args:
        features: (N, D), float32 or float64.

    Attributes:
        features: As given.
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features

    @classmethod
    def of(cls, features: Features) -> SampleSpan | None:
        """Returns the span of features (N, D) that lie in memory in one view, else None."""
        if not isinstance(features, TensorFeatures) or features.n_views > 1:
            return None
        if len(features.shape) != 2 or 0 in features.shape:
            return None
        (whole,) = features.batches(features.shape[0])
        return cls(whole)

    @cached_property
    def gram(self) -> Tensor:
        """X X^T, (N, N), of the dtype of the features; made when it is first asked for."""
        return self.features @ self.features.t()


class DualLinearGroup:
    """Linear heads of one width, on features (N, D); best for N far below D.

    While it trains, weights and momentum exist as coordinates only. The first call of
    :meth:`logits`, :meth:`pull_norms`, :meth:`head_norms` or :meth:`sync` after a step writes
    them into the runs, and the next epoch starts from what the runs hold. So training that goes
    on from a snapshot equals training that was measured there, bit for bit.

    Args:
        runs: Each a single linear layer with bias.
        task: Gives the gradient by the logits.
        span: The training samples; the batches' ``samples`` index them.

    Attributes:
        runs: As given.
    """

    def __init__(self, runs: Sequence[HeadRun], task: Task, span: SampleSpan) -> None:
        self.runs = runs
        self._task, self._span = task, span
        self._layers = [layer for run in runs for layer in run.dense_layers() or ()]
        self._names = [tuple(name for name, _ in run.named_parameters()) for run in runs]
        self._settings = HeadSettings(runs, self._layers[0].bias.detach())
        self._segment: _Segment | None = None
        self._at_rest: tuple[Tensor, Tensor] | None = None

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps."""
        self._settings.begin_epoch(epoch, n_steps)
        if self._segment is None:
            self._at_rest = None
            weight, bias = self._stacked(0)
            weight_buffer, bias_buffer = self._stacked(1)
            self._segment = _Segment(
                self._span, (weight, weight_buffer), (bias, bias_buffer), self._settings
            )

    @torch.no_grad()
    def step(self, batch: Batch) -> None:
        """Takes one step of SGD with momentum, as torch's does, on the batch's samples (B,).

        Raises:
            RuntimeError: If no epoch was begun.
        """
        if self._segment is None:
            raise RuntimeError("begin_epoch() comes before step().")
        settings, targets = self._settings, batch.targets
        if settings.next_step():
            self._segment.spread_rates()
        pull = self._segment.logits(batch.samples)
        logits = pull.view(len(pull), -1, len(self.runs))
        self._task.loss_gradient(logits, targets, settings.label_smoothing, out=logits)
        self._segment.descend(batch.samples, pull)

    @torch.no_grad()
    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits (N, K, M) of features (N, D)."""
        weight, bias = self._rest()
        wide = torch.addmm(bias.view(-1), inputs, weight.flatten(1))
        return wide.view(len(inputs), *bias.shape)

    @torch.no_grad()
    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns ||W^T e||_2, (N, M) float64, of residuals (N, K, M)."""
        return linear_pull_norms(residual, self._rest()[0])

    @torch.no_grad()
    def head_norms(self) -> Tensor:
        """Returns the L2 norm of each head's weights and biases, (M,) float64."""
        weight, bias = self._rest()
        squares = weight.double().square().sum(dim=(0, 1))
        return (squares + bias.double().square().sum(dim=0)).sqrt()

    @torch.no_grad()
    def sync(self) -> None:
        """Puts weights and momentum back into the runs."""
        if self._segment is None:
            return
        weights, buffers = (self._stacked(part)[0] for part in (0, 1))
        weight, weight_buffer = self._segment.weights(weights.flatten(1), buffers.flatten(1))
        bias, bias_buffer = self._segment.biases
        shape = (len(weight), -1, len(self.runs))
        for m, (run, layer) in enumerate(zip(self.runs, self._layers, strict=True)):
            weight_name, bias_name = self._names[m]
            layer.weight.copy_(weight.view(shape)[:, :, m].t())
            run.momentum[weight_name].copy_(weight_buffer.view(shape)[:, :, m].t())
            layer.bias.copy_(bias.view(shape[1:])[:, m])
            run.momentum[bias_name].copy_(bias_buffer.view(shape[1:])[:, m])
        self._segment = None

    def _rest(self) -> tuple[Tensor, Tensor]:
        """Returns weights (D, K, M) and biases (K, M) as the runs hold them."""
        self.sync()
        if self._at_rest is None:
            self._at_rest = self._stacked(0)
        return self._at_rest

    @torch.no_grad()
    def _stacked(self, part: int) -> tuple[Tensor, Tensor]:
        """Returns (D, K, M) and (K, M): of weights and biases, or with ``part`` 1 of momenta."""
        pairs: list[tuple[Tensor, Tensor]] = [(la.weight, la.bias) for la in self._layers]
        if part:
            pairs = [
                (run.momentum[weight], run.momentum[bias])
                for run, (weight, bias) in zip(self.runs, self._names, strict=True)
            ]
        weights, biases = zip(*pairs, strict=True)
        return torch.stack([w.t() for w in weights], dim=2), torch.stack(biases, dim=1)


class _Segment:
    """The coordinates of M heads between two snapshots; K * M columns, a class after another.

    Args:
        span: The samples.
        weights: W_0 and V_0, (D, K, M).
        biases: The biases and their momentum, (K, M).
        settings: The heads' optimisers.
    """

    @torch.no_grad()
    def __init__(
        self,
        span: SampleSpan,
        weights: tuple[Tensor, Tensor],
        biases: tuple[Tensor, Tensor],
        settings: HeadSettings,
    ) -> None:
        self._features, self._gram, self._settings = span.features, span.gram, settings
        self._n_classes, n_heads = biases[0].shape
        # X W_0 and X V_0
        self._start, self._start_buffer = (span.features @ w.flatten(1) for w in weights)
        self.biases = biases[0].flatten(), biases[1].flatten()
        # A and U: the momentum is kept divided by a unit, so that its decay is no pass over it
        self._mix, self._buffer = torch.zeros_like(self._start), torch.zeros_like(self._start)
        self._unit = 1.0
        one = torch.ones_like(self.biases[0])
        self._s, self._r, self._p, self._q = one, 0 * one, 0 * one, one.clone()
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
        output.addcmul_(self._start_buffer.index_select(0, samples), self._r).add_(self.biases[0])
        return output.addmm_(self._gram.index_select(0, samples), self._mix)

    def descend(self, samples: Tensor, pull: Tensor) -> None:
        """Takes a step, given the gradient by the logits, (B, K * M)."""
        momentum = self._settings.momentum
        self._unit *= momentum
        if self._unit < _SMALLEST_UNIT:
            self._buffer.mul_(self._unit)
            self._unit = 1.0
        self._buffer.index_add_(0, samples, pull, alpha=1.0 / self._unit)
        self._p.mul_(momentum)
        self._q.mul_(momentum)
        bias, bias_buffer = self.biases
        bias_buffer.mul_(momentum).add_(pull.sum(dim=0))
        if self._decay is not None:
            self._buffer.addcmul_(self._mix, self._decay, value=1.0 / self._unit)
            self._p.addcmul_(self._s, self._decay)
            self._q.addcmul_(self._r, self._decay)
            bias_buffer.addcmul_(bias, self._decay)
        self._mix.addcmul_(self._buffer, self._lr, value=-self._unit)
        self._s.addcmul_(self._p, self._lr, value=-1)
        self._r.addcmul_(self._q, self._lr, value=-1)
        bias.addcmul_(bias_buffer, self._lr, value=-1)

    def weights(self, weight: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weights and momentum now, (D, K * M), given those at the start."""
        mixed = torch.addmm(weight * self._s, self._features.t(), self._mix)
        mixed.addcmul_(buffer, self._r)
        moved = torch.mul(buffer, self._q).addcmul_(weight, self._p)
        return mixed, moved.addmm_(self._features.t(), self._buffer, alpha=self._unit)
