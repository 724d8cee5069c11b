"""A recipe: the configuration of a trial without its seed."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DIMENSIONS", "HEAD_ARCHS", "HeadArch", "Recipe"]

HeadArch = Literal["linear", "mlp", "aspp"]
HEAD_ARCHS: tuple[HeadArch, ...] = ("linear", "mlp", "aspp")
"""All heads; ``aspp`` needs a backbone that gives maps."""
DIMENSIONS = ("tau", "head_arch", "label_smoothing", "reinit_depth", "ft_lr")
"""The searched dimensions, in the order in which every table shows them."""


class Recipe(BaseModel):
    """How a task head is prepared and finetuned; immutable and hashable.

    Attributes:
        tau: Head-probing epochs, >= 0. 0 is plain finetuning from a random head.
        head_arch: ``"linear"``, ``"mlp"`` (one hidden layer), or DeepLabV3's ``"aspp"`` on maps.
        label_smoothing: Smoothing in head probing, in [0, 1), PyTorch's convention
            ``eps`` = 1 - eta_HP of [Ren2023]_: target = (1 - eps) one-hot + eps uniform.
        reinit_depth: Number of last blocks that are reinitialised and merged into the head.
        ft_lr: Peak learning rate of finetuning, > 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tau: int = Field(ge=0)
    head_arch: HeadArch = "linear"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    reinit_depth: int = Field(default=0, ge=0)
    ft_lr: float = Field(gt=0.0, allow_inf_nan=False)

    def canonical(self) -> Recipe:
        """Returns the representative of all recipes that are the same run.

        With ``tau = 0`` nothing is probed, so label smoothing in probing has no effect.
        """
        if self.tau == 0 and self.label_smoothing != 0.0:
            return self.model_copy(update={"label_smoothing": 0.0})
        return self

    def to_dict(self) -> dict[str, Any]:
        """Returns the dimensions as plain JSON values, in the order of :data:`DIMENSIONS`."""
        return {name: getattr(self, name) for name in DIMENSIONS}

    def key(self) -> str:
        """Returns 16 hex digits that address the canonical recipe by content."""
        text = json.dumps(self.canonical().to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def label(self) -> str:
        """Returns a short text that tells recipes apart: ``"mlp tau=9 ls=0.1 k=1 lr=0.01"``."""
        parts = [self.head_arch, f"tau={self.tau}"]
        if self.label_smoothing:
            parts.append(f"ls={self.label_smoothing:g}")
        if self.reinit_depth:
            parts.append(f"k={self.reinit_depth}")
        parts.append(f"lr={self.ft_lr:g}")
        return " ".join(parts)
