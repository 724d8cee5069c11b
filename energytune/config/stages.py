"""Frozen settings of the two training stages."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FinetuneConfig", "ProbeConfig"]


class ProbeConfig(BaseModel):
    """Optimiser of head probing (SGD).

    Attributes:
        lr: Learning rate, > 0.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 penalty, >= 0.
        batch_size: Samples a step, >= 1.
        schedule: ``"constant"``, or ``"cosine"``, which falls from ``lr`` to 0 over
            ``schedule_epochs`` and stays there. One trajectory gives every tau in either case; with
            ``"cosine"`` these are stops on the way down, not runs that end at a rate of 0.
        schedule_epochs: Epochs of the cosine; needed with it and refused without.
        n_views: 1 trains on the evaluation transform; V > 1 trains on V augmented views in turn,
            one an epoch, and still measures on the evaluation transform.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=32, ge=1)
    schedule: Literal["constant", "cosine"] = "constant"
    schedule_epochs: int | None = Field(default=None, ge=1)
    n_views: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _cosine_has_an_end(self) -> Self:
        if (self.schedule == "cosine") != (self.schedule_epochs is not None):
            raise ValueError(
                "schedule_epochs must be given with schedule = cosine and only then, got "
                f"schedule = {self.schedule} and schedule_epochs = {self.schedule_epochs}"
            )
        return self

    def lr_at(self, epochs_done: float) -> float:
        """Returns the learning rate after so many epochs (fractions for steps), >= 0."""
        if self.schedule_epochs is None:
            return self.lr
        progress = min(1.0, epochs_done / self.schedule_epochs)
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * progress))


class FinetuneConfig(BaseModel):
    """Schedule and optimiser of finetuning (SGD, cosine); the peak rate is the recipe's.

    Attributes:
        epochs: Finetuning epochs, >= 1.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 penalty, >= 0.
        batch_size: Samples a step, >= 1.
        schedule: ``"cosine"`` falls to 0 at the last step, ``"constant"`` stays.
        augment: Whether training images are augmented (random crop and flip).
        patience: Share of ``epochs``, in (0, 1], without a new best on validation after which a
            finetune stops by itself; None never stops it, nor does 1. The schedule is that of all
            ``epochs`` in any case. The default loses nothing that can be told from noise
            (``benchmarks/results/patience-design.csv``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=200, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=32, ge=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: bool = True
    patience: float | None = Field(default=0.2, gt=0, le=1, allow_inf_nan=False)

    @property
    def patience_epochs(self) -> int | None:
        """Epochs without a new best that end a finetune: rounded up, >= 1; None never ends it."""
        if self.patience is None:
            return None
        # Rounding first: 0.07 * 100 is 7.000000000000001, and means 7.
        return max(1, math.ceil(round(self.patience * self.epochs, 9)))
