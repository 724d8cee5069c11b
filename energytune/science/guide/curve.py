"""What the rules read: the head trajectories of an energy map, and the numbers of one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from energytune.errors import DataError

__all__ = ["HeadCurve"]

_SERIES = ("train_acc", "valid_acc", "valid_loss", "aie", "head_norm", "pull_norm")

_STILL = 0.01
"""Change in score and in AIE over the last octave of tau up to which a head counts as standing
still: twice the tolerance within which the pruner calls two heads the same start."""

_ROUNDING = 1 + 1e-9
"""Lets a difference of exactly the tolerance count as within it, in floating point."""

_FEWEST_EPOCHS = 8
"""Shorter trajectories have no octave that tells anything: epochs 1 to 4 are the first steps."""


@dataclass(frozen=True)
class HeadCurve:
    """One head trajectory of an energy map: a head, trained from one seed, seen at some epochs.

    The series have one entry an epoch. A head that has diverged says so by ``failure``, or by
    NaN or inf in its series; no rule reads its numbers.

    Attributes:
        head_arch: ``"linear"`` or ``"mlp"``.
        label_smoothing: eps in head probing, in [0, 1).
        reinit_depth: Number of reinitialised last blocks, >= 0.
        lr: Learning rate of head probing, > 0.
        seed: Seed of the head and the order of the samples.
        epochs: Finished probing epochs, ascending; the first is 0, the random head.
        train_acc: Score on the training set, in [0, 1].
        valid_acc: Score on the validation set, in [0, 1].
        valid_loss: Loss on the validation set without smoothing, in nats.
        aie: Average initial energy on the training set, >= 0.
        head_norm: L2 norm of all head parameters.
        pull_norm: Mean norm of the gradient that a sample's features see at the cut, ||W^T e||_2
            for a linear head.
        converged_epoch: Epoch since which the training score did not change, where probing was
            ended for that; None if it went on to the end.
        weight_decay: L2 penalty of head probing, >= 0.
        failure: Why probing ended early, for another reason than convergence; "" if it did not.

    Raises:
        DataError: The epochs don't ascend from 0, or the series differ in length. A head that
            failed may have no epoch.
    """

    head_arch: str
    label_smoothing: float
    reinit_depth: int
    lr: float
    seed: int
    epochs: tuple[int, ...]
    train_acc: tuple[float, ...]
    valid_acc: tuple[float, ...]
    valid_loss: tuple[float, ...]
    aie: tuple[float, ...]
    head_norm: tuple[float, ...]
    pull_norm: tuple[float, ...]
    converged_epoch: int | None
    weight_decay: float = 0.0
    failure: str = ""

    def __post_init__(self) -> None:
        """Checks the epochs and the lengths."""
        pairs = zip(self.epochs, self.epochs[1:], strict=False)
        from_0 = self.epochs[:1] == (0,) or (self.failure and not self.epochs)
        if not from_0 or any(one >= two for one, two in pairs):
            raise DataError(
                "The epochs of a head curve must ascend from 0, the random head; "
                f"got {self.epochs}. Pass the snapshots of one head and one seed, sorted by tau."
            )
        for name in _SERIES:
            if len(getattr(self, name)) != len(self.epochs):
                raise DataError(
                    f"{name} of a head curve must have one entry an epoch, {len(self.epochs)}; "
                    f"got {len(getattr(self, name))}. Pass every column of the same snapshots."
                )

    @property
    def head(self) -> tuple[str, float, int, float, float]:
        """What is trained and how, without the seed; sorts plain heads first."""
        return (
            self.head_arch,
            self.label_smoothing,
            self.reinit_depth,
            self.lr,
            self.weight_decay,
        )

    @property
    def finite(self) -> bool:
        """Whether the head did not fail and every number is finite."""
        return not self.failure and all(
            math.isfinite(x) for name in _SERIES for x in getattr(self, name)
        )

    @property
    def tau_max(self) -> int:
        """The last epoch."""
        return self.epochs[-1]

    def half_way(self) -> int | None:
        """Returns the index of the last epoch in the first half of the trajectory.

        From there to the end is the last octave of tau. None if the trajectory is too short to
        have one.
        """
        if self.tau_max < _FEWEST_EPOCHS:
            return None
        return max(i for i, epoch in enumerate(self.epochs) if epoch <= self.tau_max / 2)

    def stands_still(self) -> bool:
        """Returns whether larger taus would hardly change score and energy."""
        if self.converged_epoch is not None:
            return True
        i = self.half_way()
        return (
            i is not None
            and abs(self.train_acc[-1] - self.train_acc[i]) <= _STILL * _ROUNDING
            and abs(self.aie[-1] - self.aie[i]) <= _STILL * _ROUNDING
        )

    def at_least_since(self, train_acc: float) -> int | None:
        """Returns the index from which the training score stays at ``train_acc`` or above."""
        below = [i for i, value in enumerate(self.train_acc) if not value >= train_acc]
        since = below[-1] + 1 if below else 0
        return since if since < len(self.epochs) else None

    def tau_with_energy(self, aie: float, up_to: int | None = None) -> int:
        """Returns the probed tau whose energy is nearest to ``aie``; the smallest of equals.

        Args:
            aie: The wanted energy.
            up_to: Largest tau to choose; None is the last one.
        """
        last = self.tau_max if up_to is None else up_to
        among = [i for i, epoch in enumerate(self.epochs) if epoch <= last]
        return self.epochs[min(among, key=lambda i: abs(self.aie[i] - aie))]
