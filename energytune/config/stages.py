"""Frozen settings of the two training stages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FinetuneConfig", "ProbeConfig"]


class ProbeConfig(BaseModel):
    """Optimiser of head probing (SGD).

    Attributes:
        lr: Learning rate, > 0.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 penalty, >= 0.
        batch_size: Samples a step, >= 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=32, ge=1)


class FinetuneConfig(BaseModel):
    """Schedule and optimiser of finetuning (SGD, cosine); the peak rate is the recipe's.

    Attributes:
        epochs: Finetuning epochs, >= 1.
        momentum: Momentum, in [0, 1).
        weight_decay: L2 penalty, >= 0.
        batch_size: Samples a step, >= 1.
        schedule: ``"cosine"`` falls to 0 at the last step, ``"constant"`` stays.
        augment: Whether training images are augmented (random crop and flip).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=200, ge=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    batch_size: int = Field(default=32, ge=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: bool = True
