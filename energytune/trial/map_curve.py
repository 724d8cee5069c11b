"""The energy map as numbers: a head's curve over tau, and its rows in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from energytune.config import MapHead
from energytune.training import ProbeSnapshot

__all__ = ["MapCurve", "curve_rows"]


@dataclass(frozen=True)
class MapCurve:
    """One head of an energy map.

    Attributes:
        head: Which head.
        snapshots: Ascending in epoch; the first is the random head.
        converged_epoch: Epoch since which HP-train-accuracy has not changed, where the head was
            stopped for that; None if it went on to the end.
        failure: Why it ended early for another reason; "" if it did not.
    """

    head: MapHead
    snapshots: tuple[ProbeSnapshot, ...]
    converged_epoch: int | None = None
    failure: str = ""


def curve_rows(curves: Sequence[MapCurve]) -> Iterator[dict[str, Any]]:
    """Yields one flat row a head and tau: the head, ``tau``, and what was measured there."""
    for curve in curves:
        for snapshot in curve.snapshots:
            stopped = curve.converged_epoch is not None and snapshot is curve.snapshots[-1]
            yield {
                **asdict(curve.head),
                "tau": snapshot.epoch,
                "hp_train_acc": snapshot.train_acc,
                "hp_train_loss": snapshot.train_loss,
                "hp_valid_acc": snapshot.valid_acc,
                "hp_valid_loss": snapshot.valid_loss,
                "aie": snapshot.aie,
                "head_norm": snapshot.head_norm,
                "pull_norm": snapshot.pull_norm,
                "n_views": snapshot.n_views,
                "converged": stopped,
            }
