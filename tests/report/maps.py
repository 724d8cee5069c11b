"""Energy maps made by hand, as frames: numbers that can be told by heart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

TAUS = (0, 1, 2, 4, 8, 16)


def head_rows(
    head_arch: str = "linear",
    *,
    smoothing: float = 0.0,
    depth: int = 0,
    lr: float = 0.03,
    decay: float = 0.0,
    seed: int = 0,
    taus: Sequence[int] = TAUS,
    shift: float = 0.0,
    converged: bool = False,
) -> list[dict[str, object]]:
    """Rows of one head: accuracy 1 - 0.9 / (1 + tau) + shift, AIE 1 / (1 + tau) + shift."""
    return [
        {
            "head_arch": head_arch,
            "label_smoothing": smoothing,
            "reinit_depth": depth,
            "lr": lr,
            "weight_decay": decay,
            "seed": seed,
            "tau": tau,
            "hp_train_acc": 1 - 0.9 / (1 + tau) + shift,
            "hp_valid_acc": 0.5,
            "hp_valid_loss": 1.0,
            "aie": 1 / (1 + tau) + shift,
            "head_norm": 2.0,
            "pull_norm": 0.5,
            "n_views": 1,
            # The row in which a head was stopped.
            "converged": converged and tau == taus[-1],
        }
        for tau in taus
    ]


def frame(*heads: list[dict[str, object]]) -> pd.DataFrame:
    """All rows of some heads."""
    return pd.DataFrame([row for rows in heads for row in rows])
