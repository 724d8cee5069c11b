"""A table of one seed in which the curves of a few recipes are given; the others stay at 0.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.samplers import RandomSampler

from benchmarks.tabular.grid import FT_EPOCHS, HEADS, TASKS, TableRecipe, recipes
from benchmarks.tabular.method import Method, params_of
from benchmarks.tabular.table import Table

FT_S, HP_S = 2.0, 0.5
MAP_EPOCHS = 3000
"""What the map costs, in epochs of one head."""
"""Seconds of one finetuning and one probing epoch."""
ORDER = recipes()


def by_tau(tau: int, ft_lr: float = 0.01) -> TableRecipe:
    """A linear head at the last layer, without smoothing."""
    return TableRecipe(tau, "linear", 0.0, 0, 0.01, ft_lr)


def rising(end: float, n_epochs: int = FT_EPOCHS) -> list[float]:
    """Epoch e has e / n of ``end`` until n, and stays there."""
    return [end * min(e, n_epochs) / n_epochs for e in range(1, FT_EPOCHS + 1)]


def hand_made_table(
    curves: Mapping[TableRecipe, Sequence[float]],
    scores: Mapping[TableRecipe, float] | None = None,
    *,
    task: str = "digits-mlp",
) -> Table:
    """A curve that is shorter than 100 epochs diverges there."""
    valid = np.full((1, len(ORDER), FT_EPOCHS), 0.1)
    test = np.full((1, len(ORDER), FT_EPOCHS), 0.1)
    for recipe, curve in curves.items():
        place = ORDER.index(recipe)
        valid[0, place] = np.nan
        valid[0, place, : len(curve)] = curve
    for recipe, score in (scores or {}).items():
        test[0, ORDER.index(recipe)] = score
    probes = {
        (0, head, epoch): {
            "epoch": epoch,
            "train_acc": 0.9 + epoch / 1e5,
            "train_loss": 0.3,
            "valid_acc": 0.8,
            "valid_loss": 0.7,
            "aie": 0.8 / (1 + epoch),
            "head_norm": 2.0,
            "pull_norm": 0.4,
        }
        for head in HEADS
        for epoch in (0, 4, 32, 128, 512, 2048)
    }
    return Table(
        TASKS[task],
        ORDER,
        valid_acc=valid,
        valid_loss=np.ones_like(valid),
        train_acc=valid,
        test_acc=test,
        failed=np.isnan(valid).any(axis=2),
        ft_epoch_s=np.full(len(ORDER), FT_S),
        hp_epoch_s=dict.fromkeys(HEADS, HP_S),
        map_s=MAP_EPOCHS * HP_S,
        proxies=probes,
    )


def one_after_another(recipes: Sequence[TableRecipe]) -> Method:
    """A search that begins these recipes in turn."""
    return Method(
        lambda _replay, seed: RandomSampler(seed=seed), first=tuple(map(params_of, recipes))
    )
