"""What a target is: its loss, its residual, its score.

This is the only room that knows about softmax and sigmoid. Targets are one class of a sample
(:class:`Multiclass`), several yes-or-no labels of a sample, some of them missing
(:class:`MultiLabel`), or one class of every pixel (:class:`PerPixel`).

All but the names load on first use: who only reads what models have scored needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from energytune.tasks.names import SCORE_NAMES

if TYPE_CHECKING:
    from energytune.tasks.base import Meter, Smoothing, Task
    from energytune.tasks.multiclass import Multiclass
    from energytune.tasks.multilabel import MultiLabel
    from energytune.tasks.per_pixel import PerPixel

__all__ = ["SCORE_NAMES", "Meter", "MultiLabel", "Multiclass", "PerPixel", "Smoothing", "Task"]

_HOME_OF = {
    "Meter": "base",
    "MultiLabel": "multilabel",
    "Multiclass": "multiclass",
    "PerPixel": "per_pixel",
    "Smoothing": "base",
    "Task": "base",
}


def __getattr__(name: str) -> Any:
    """Imports the module in which ``name`` lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return sorted(__all__)
