"""Head sides that are trained side by side on the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from energytune.training.head_run import HeadRun

__all__ = ["Batch", "HeadGroup"]


@dataclass(frozen=True)
class Batch:
    """Samples of one step.

    Attributes:
        inputs: Features at the cut, (B, ...).
        targets: Their targets, (B,) or (B, ...).
        samples: Their indices in the training split, (B,) int64; (0,) where positions of a
            feature map are samples of their own.
    """

    inputs: Tensor
    targets: Tensor
    samples: Tensor


class HeadGroup(Protocol):
    """M head sides of one shape, trained together; each as if it were alone.

    Between :meth:`step` and :meth:`sync` the group holds the weights, not the runs.

    Attributes:
        runs: The head sides, in the order of the last dimension of all that is returned.
    """

    runs: Sequence[HeadRun]

    def begin_epoch(self, epoch: int, n_steps: int) -> None:
        """Is told the epoch, from 1, and its number of steps; training begins."""
        ...

    def step(self, batch: Batch) -> None:
        """Takes one step on a batch for every head."""
        ...

    def logits(self, inputs: Tensor) -> Tensor:
        """Returns logits in evaluation mode, (N, K[, ...], M), of inputs (N, ...)."""
        ...

    def pull_norms(self, residual: Tensor) -> Tensor:
        """Returns how hard each sample is pulled, for the inputs of the last :meth:`logits`.

        Args:
            residual: Target minus prediction, of the shape of those logits.

        Returns:
            The L2 norm of the gradient of a sample's loss by its features, (N, M) float64; for a
            linear head ||W^T e||_2. See :attr:`ProbeSnapshot.pull_norm`.
        """
        ...

    def head_norms(self) -> Tensor:
        """Returns the L2 norm of all parameters of each head side, (M,) float64."""
        ...

    def sync(self) -> None:
        """Puts weights and momentum back into the runs."""
        ...
