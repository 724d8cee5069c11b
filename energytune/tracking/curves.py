"""Which points of a trial's curves go to MLflow, and under which names.

MLflow's cost and its charts' speed are set by the number of points: a curve keeps about
:data:`MAX_POINTS` epochs on an even grid that depends on the number of epochs alone, and always
the first, the last and the best epoch. The full curves are in the run folder's records.
"""

from __future__ import annotations

from collections.abc import Iterable

from energytune.tracking.journal import Point
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, TestResult

__all__ = [
    "MAX_POINTS",
    "best_epoch",
    "end_points",
    "epoch_points",
    "on_grid",
    "points_on_test",
    "snapshot_points",
]

MAX_POINTS = 40
"""Points a curve keeps, its first, last and best apart."""


def on_grid(epoch: int, n_epochs: int) -> bool:
    """Whether an epoch (from 1) of ``n_epochs`` is kept, without looking at its values."""
    stride = -(-n_epochs // MAX_POINTS)
    return epoch in (1, n_epochs) or epoch % stride == 0


def best_epoch(epochs: Iterable[FinetuneEpoch]) -> FinetuneEpoch | None:
    """Returns the epoch with the highest validation accuracy; ties: lower loss, then earlier."""
    return min(epochs, key=lambda e: (-e.valid_acc, e.valid_loss, e.epoch), default=None)


def snapshot_points(snapshots: Iterable[ProbeSnapshot], end_ms: int, seconds: float) -> list[Point]:
    """Returns the ``hp/`` metrics of all snapshots; the step is the probing epoch.

    Args:
        snapshots: Ascending; there are about two an octave, so none is left out.
        end_ms: When probing ended.
        seconds: How long it took; the timestamps are spread over it.
    """
    points: list[Point] = []
    shown = list(snapshots)
    last = max(1, shown[-1].epoch) if shown else 1
    for shot in shown:
        at = end_ms - round(1000 * seconds * (1 - shot.epoch / last))
        values = {
            "hp/aie": shot.aie,  # first: MLflow's compare page draws the first of the metrics
            "hp/train_acc": shot.train_acc,
            "hp/valid_acc": shot.valid_acc,
            "hp/valid_loss": shot.valid_loss,
            "hp/head_norm": shot.head_norm,
            "hp/pull_norm": shot.pull_norm,
            "hp/aie_balanced": shot.aie_balanced,
            "hp/aie_per_label": shot.aie_per_label,
            "hp/foreground_acc": shot.foreground_acc,
        }
        known = [(key, value) for key, value in values.items() if value is not None]
        points += [(key, value, at, shot.epoch) for key, value in known]
    return points


def epoch_points(epoch: FinetuneEpoch, at_ms: int) -> list[Point]:
    """Returns the ``ft/`` metrics of one finetuning epoch; the step is the epoch."""
    values = {
        "ft/train_acc": epoch.train_acc,
        "ft/train_loss": epoch.train_loss,
        "ft/valid_acc": epoch.valid_acc,
        "ft/valid_loss": epoch.valid_loss,
    }
    return [(key, value, at_ms, epoch.epoch) for key, value in values.items()]


def end_points(finished: Finished, at_ms: int) -> list[Point]:
    """Returns the single numbers of a complete trial: objective, adaptation, test."""
    values = {"objective": finished.objective, "ft/best_epoch": float(finished.best_epoch)}
    values |= {f"adaptation/{name}": value for name, value in finished.adaptation.items()}
    points = [(key, float(value), at_ms, 0) for key, value in values.items()]
    return points if finished.test is None else points + points_on_test(finished.test, at_ms)


def points_on_test(test: TestResult, at_ms: int) -> list[Point]:
    """Returns the ``test/`` metrics of a confirmed model."""
    return [("test/accuracy", test.accuracy, at_ms, 0), ("test/loss", test.loss, at_ms, 0)]
