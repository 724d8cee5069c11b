"""The lines of an energy map: one a head, over its seeds. Figure and terminal table read these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from energytune.errors import DataError

__all__ = ["HEAD_COLUMNS", "MEASURED_COLUMNS", "HeadLine", "head_lines", "head_names"]

HEAD_COLUMNS = ("reinit_depth", "head_arch", "label_smoothing", "lr", "weight_decay")
"""What is trained and how; lines are sorted by these, in this order."""

MEASURED_COLUMNS = ("hp_train_acc", "aie")

_NEEDED = (*HEAD_COLUMNS, "seed", "tau", *MEASURED_COLUMNS, "converged")


@dataclass(frozen=True, eq=False)
class HeadLine:
    """One head of a map over its seeds.

    A seed that was stopped as converged counts with its last values from there on.

    Attributes:
        head_arch: ``"linear"`` or ``"mlp"``.
        label_smoothing: eps in [0, 1).
        reinit_depth: Number of reinitialised last blocks, >= 0.
        lr: Probing rate, > 0.
        weight_decay: L2 penalty, >= 0.
        n_seeds: Seeds, >= 1.
        mean: Means over seeds: one row a tau (the index, ascending), columns
            :data:`MEASURED_COLUMNS`.
        low: Smallest values over seeds, shaped like ``mean``.
        high: Largest values over seeds, shaped like ``mean``.
        converged: Whether every seed was stopped as converged.
    """

    head_arch: str
    label_smoothing: float
    reinit_depth: int
    lr: float
    weight_decay: float
    n_seeds: int
    mean: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    converged: bool


def head_lines(frame: pd.DataFrame) -> list[HeadLine]:
    """Returns the lines of a map, shallow cuts and plain heads first.

    Args:
        frame: One row a head, seed and tau, with the columns :data:`HEAD_COLUMNS`, ``seed``,
            ``tau``, :data:`MEASURED_COLUMNS` and ``converged`` (True in the row in which a head
            was stopped, or in all of its rows); others are not read.

    Raises:
        DataError: A column is missing, or there is no row.
    """
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise DataError(
            f"An energy map must have the columns {', '.join(_NEEDED)}; it lacks "
            f"{', '.join(missing)}. Make it with `energytune probe --json`."
        )
    if frame.empty:
        raise DataError("An energy map must have at least one row, got none. Probe a head first.")
    groups = frame.groupby(list(HEAD_COLUMNS), sort=True)
    return [_line(rows) for _, rows in groups]


def _line(rows: pd.DataFrame) -> HeadLine:
    """Returns the line of one head from the rows of its seeds."""
    stopped = rows.groupby("seed")["converged"].any()
    taus = sorted(rows["tau"].unique())
    seeds = []
    for seed, own in rows.groupby("seed"):
        values = own.set_index("tau")[list(MEASURED_COLUMNS)].astype(float).reindex(taus)
        seeds.append(values.ffill() if stopped[seed] else values)
    by_tau = pd.concat(seeds).groupby(level="tau")
    head = rows.iloc[0]
    return HeadLine(
        head_arch=str(head["head_arch"]),
        label_smoothing=float(head["label_smoothing"]),
        reinit_depth=int(head["reinit_depth"]),
        lr=float(head["lr"]),
        weight_decay=float(head["weight_decay"]),
        n_seeds=len(seeds),
        mean=by_tau.mean(),
        low=by_tau.min(),
        high=by_tau.max(),
        converged=bool(stopped.all()),
    )


def head_names(lines: Sequence[HeadLine]) -> list[str]:
    """Returns what tells each head apart: ``"mlp ls=0.1 k=1"``; rates and decays if they vary."""
    many_rates = len({line.lr for line in lines}) > 1
    many_decays = len({line.weight_decay for line in lines}) > 1
    names = []
    for line in lines:
        parts = [line.head_arch]
        if line.label_smoothing:
            parts.append(f"ls={line.label_smoothing:g}")
        if line.reinit_depth:
            parts.append(f"k={line.reinit_depth}")
        if many_rates:
            parts.append(f"lr={line.lr:g}")
        if many_decays:
            parts.append(f"wd={line.weight_decay:g}")
        names.append(" ".join(parts))
    return names
