"""What a target is: its loss, its residual, its score.

This is the only room that knows about softmax and sigmoid. Targets are one class of a sample
(:class:`Multiclass`), several yes-or-no labels of a sample, some of them missing
(:class:`MultiLabel`), or one class of every pixel (:class:`PerPixel`).

All but the names load on first use: who only reads what models have scored needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from energytune.on_demand import on_demand
from energytune.tasks.names import SCORE_NAMES

if TYPE_CHECKING:
    from energytune.tasks.base import Meter, Smoothing, Task
    from energytune.tasks.multiclass import Multiclass
    from energytune.tasks.multilabel import MultiLabel
    from energytune.tasks.per_pixel import PerPixel

__all__ = ["SCORE_NAMES", "Meter", "MultiLabel", "Multiclass", "PerPixel", "Smoothing", "Task"]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "base": ("Meter", "Smoothing", "Task"),
        "multiclass": ("Multiclass",),
        "multilabel": ("MultiLabel",),
        "per_pixel": ("PerPixel",),
    },
    "SCORE_NAMES",
)
