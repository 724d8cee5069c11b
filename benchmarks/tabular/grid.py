"""What the table holds: tasks, recipes, seeds. Fixed once for all; a change is a new table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

__all__ = [
    "FT_EPOCHS",
    "GRID",
    "HEADS",
    "MAP_TAU_MAX",
    "N_SEEDS",
    "TASKS",
    "Head",
    "TableRecipe",
    "TaskName",
    "recipes",
]

FT_EPOCHS = 100
"""Finetuning epochs. At a rate of 0.01 or 0.03 the training accuracy reaches 1 at every tau; at
0.003 and tau = 0 it may not, which is for a tuner to find out."""
N_SEEDS = 5
MAP_TAU_MAX = 512
"""Epochs of the energy map that a search probes; larger taus count as this one."""

GRID: dict[str, tuple[Any, ...]] = {
    "tau": (0, 4, 32, 128, 512, 2048),
    "head_arch": ("linear", "mlp"),
    "label_smoothing": (0.0, 0.15),
    "reinit_depth": (0, 1),
    "hp_lr": (0.01, 0.03),
    "ft_lr": (0.003, 0.01, 0.03),
}
"""Dimension -> values. ``hp_lr`` is the constant rate of head probing."""


@dataclass(frozen=True)
class TaskName:
    """One task of the table.

    Attributes:
        name: Unique.
        dataset: Embedded dataset.
        backbone: Embedded backbone, pretrained for the dataset.
        role: On ``"design"`` tasks defaults and methods are chosen; ``"heldout"`` ones are only
            reported on.
    """

    name: str
    dataset: str
    backbone: str
    role: Literal["design", "heldout"]


_DESIGN = ("digits", "digits-rotated", "digits-same")
"""The datasets on which the package's earlier defaults were chosen."""
_HELDOUT = ("digits-fewshot", "digits-halves", "digits-inverted", "digits-permuted", "digits-rot90")

TASKS: dict[str, TaskName] = {
    f"{dataset}-{net}": TaskName(f"{dataset}-{net}", dataset, f"digits-{net}", role)
    for role, datasets in (("design", _DESIGN), ("heldout", _HELDOUT))
    for net in ("mlp", "cnn")
    for dataset in datasets
}
"""All tasks by name; no dataset is in both roles."""


@dataclass(frozen=True)
class Head:
    """What is probed; one trajectory gives every tau."""

    head_arch: str
    label_smoothing: float
    reinit_depth: int
    hp_lr: float


HEADS: tuple[Head, ...] = tuple(
    Head(*values)
    for values in product(
        GRID["head_arch"], GRID["label_smoothing"], GRID["reinit_depth"], GRID["hp_lr"]
    )
)


@dataclass(frozen=True)
class TableRecipe:
    """One recipe of the table, in canonical form: at tau = 0 nothing is smoothed or probed."""

    tau: int
    head_arch: str
    label_smoothing: float
    reinit_depth: int
    hp_lr: float
    ft_lr: float

    @property
    def head(self) -> Head:
        """What is probed."""
        return Head(self.head_arch, self.label_smoothing, self.reinit_depth, self.hp_lr)

    def canonical(self) -> TableRecipe:
        """Returns the recipe that is run for this one."""
        if self.tau > 0:
            return self
        plain = (GRID["label_smoothing"][0], self.reinit_depth, GRID["hp_lr"][0])
        return TableRecipe(0, self.head_arch, *plain, self.ft_lr)


def recipes() -> list[TableRecipe]:
    """Returns all 252 different recipes."""
    every = (TableRecipe(*values).canonical() for values in product(*GRID.values()))
    return list(dict.fromkeys(every))
