"""A trial's run in MLflow that was begun and has not ended: which of its points are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from energytune.tracking.curves import (
    best_epoch,
    end_points,
    epoch_points,
    on_grid,
    snapshot_points,
)
from energytune.tracking.journal import Point
from energytune.training import FinetuneEpoch
from energytune.trial import EpochsDone, Event, ProbeDone, TrialRecord

__all__ = ["OpenRun"]


class OpenRun:
    """Turns events and the record at the end into points, none of them twice.

    Args:
        uid: The run's.
        ft_epochs: Finetuning epochs of a whole trial, which set the grid of the curve's points;
            None leaves the curve to the end.
        written: Finetuning epochs whose points were written by an earlier start of the search.
        probed: Whether the probing curve was.

    Attributes:
        uid: The run's.
    """

    def __init__(
        self,
        uid: str,
        ft_epochs: int | None,
        *,
        written: Iterable[int] = (),
        probed: bool = False,
    ) -> None:
        self.uid, self._ft_epochs = uid, ft_epochs
        self._probed = probed
        self._written: set[int] = set(written)
        self._waiting: list[Point] = []
        self._best: FinetuneEpoch | None = None
        self._last_take_s = -math.inf

    def add(self, event: Event, now_s: float) -> None:
        """Takes an event; its points wait until they are written.

        Args:
            event: Of this trial.
            now_s: Seconds since the epoch.
        """
        now = round(1000 * now_s)
        if isinstance(event, ProbeDone) and not self._probed:
            self._waiting += snapshot_points(event.snapshots, now, event.seconds)
            self._probed = True
            self._last_take_s = now_s
        elif isinstance(event, EpochsDone):
            earlier = [] if self._best is None else [self._best]
            self._best = best_epoch([*earlier, *event.epochs])
            if self._ft_epochs is None:
                return
            kept = [e for e in event.epochs if on_grid(e.epoch, self._ft_epochs)]
            self._waiting += self._epochs(kept, event.seconds / max(1, len(event.epochs)), now)

    def take(self, now_s: float, every_s: float) -> list[Point]:
        """Returns the points that wait, once it is ``every_s`` after the last ones; else none."""
        if not self._waiting or now_s - self._last_take_s < every_s:
            return []
        points, self._waiting, self._last_take_s = self._waiting, [], now_s
        return points

    def rest(self, record: TrialRecord, now_ms: int) -> list[Point]:
        """Returns all points that the run lacks at its end, those that wait included.

        Args:
            record: The trial, ended in any state.
            now_ms: Its end, milliseconds since the epoch.
        """
        points = list(self._waiting)
        ft_start = now_ms - round(1000 * record.seconds_ft)
        if not self._probed:
            points += snapshot_points(record.snapshots, ft_start, record.seconds_hp)
        best = best_epoch(record.epochs)
        if best is not None:
            points += self._curve(record.epochs, best, record.seconds_ft, now_ms)
            points.append(("ft/best_valid_acc", best.valid_acc, now_ms, 0))
        if record.finished is not None:
            points += end_points(record.finished, now_ms)
        seconds = {"time/hp_s": record.seconds_hp, "time/ft_s": record.seconds_ft}
        return points + [(key, value, now_ms, 0) for key, value in seconds.items()]

    def so_far(self, now_ms: int) -> list[Point]:
        """Returns what is known of a trial that was interrupted: points that wait, and its best."""
        points, self._waiting = self._waiting, []
        if self._best is None:
            return points
        return [*points, ("ft/best_valid_acc", self._best.valid_acc, now_ms, 0)]

    def _curve(
        self, epochs: Sequence[FinetuneEpoch], best: FinetuneEpoch, seconds: float, now_ms: int
    ) -> list[Point]:
        n_epochs = self._ft_epochs or epochs[-1].epoch
        must = {epochs[0].epoch, epochs[-1].epoch, best.epoch}
        kept = [e for e in epochs if e.epoch in must or on_grid(e.epoch, n_epochs)]
        n_run = max(1, epochs[-1].epoch)
        points: list[Point] = []
        for epoch in kept:
            if epoch.epoch not in self._written:
                share = 1 - epoch.epoch / n_run
                points += epoch_points(epoch, now_ms - round(1000 * seconds * share))
        return points

    def _epochs(self, epochs: list[FinetuneEpoch], seconds: float, now_ms: int) -> list[Point]:
        points: list[Point] = []
        for epoch in epochs:
            if epoch.epoch not in self._written:
                self._written.add(epoch.epoch)
                late = round(1000 * seconds * (epochs[-1].epoch - epoch.epoch))
                points += epoch_points(epoch, now_ms - late)
        return points
