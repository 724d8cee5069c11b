"""Successive halving that pauses: nothing is judged by too few, and nothing is thrown away.

Halving as it is built into schedulers stops a trial for good at a rung, and lets the first trials
run to the end since there is nothing yet to compare them with. Here a trial waits at a rung until
enough others have come there, and goes on if it is among the best of them: the original form of
asynchronous halving ([Li2020]_, Algorithm 2).

.. [Li2020] L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-tzur, M. Hardt, B. Recht,
   A. Talwalkar. A system for massively parallel hyperparameter tuning. MLSys 2020.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from energytune.errors import ConfigError
from energytune.optimizer.rungs import REDUCTION_FACTOR

__all__ = ["Rungs"]

_Place = tuple[float, int]
"""(minus the value, number): ascending is best first, of equals the earliest."""


class _Ranking:
    """Trials with a value each, kept in order: a change or a look costs O(log n), not a sort."""

    def __init__(self) -> None:
        self.places: list[_Place] = []
        self._values: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, number: int) -> bool:
        return number in self._values

    def put(self, number: int, value: float) -> None:
        self.drop(number)
        self._values[number] = value
        insort(self.places, (-value, number))

    def drop(self, number: int) -> None:
        if number in self._values:
            del self.places[self.rank(number)]
            del self._values[number]

    def value(self, number: int) -> float:
        return self._values[number]

    def rank(self, number: int) -> int:
        """Returns how many are before ``number``, those of its value but earlier included."""
        return bisect_left(self.places, (-self._values[number], number))

    def n_better(self, value: float) -> int:
        """Returns how many values are strictly greater."""
        return bisect_left(self.places, (-value, -1))


class Rungs:
    """Who is paused where, and who goes on; pure bookkeeping of numbers.

    What it says depends on the values that it was given, not on their order.

    Args:
        epochs: Finetuning epochs at which a trial may be paused, each >= 1.
        reduction_factor: eta >= 2: of n trials that came to a rung, the best n // eta go on.

    Attributes:
        epochs: Ascending.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    def __init__(self, epochs: Iterable[int], reduction_factor: int = REDUCTION_FACTOR) -> None:
        self.epochs = tuple(sorted(set(epochs)))
        if self.epochs and self.epochs[0] < 1:
            raise ConfigError(
                f"epochs must all be at least 1. Got {list(self.epochs)}. Epochs are counted "
                "from 1."
            )
        if reduction_factor < 2:
            raise ConfigError(
                f"reduction_factor must be at least 2. Got {reduction_factor}. Give no epochs to "
                "let all trials go on."
            )
        self._eta = reduction_factor
        self._came = {epoch: _Ranking() for epoch in self.epochs}
        self._waiting = {epoch: _Ranking() for epoch in self.epochs}
        self._paused: dict[int, int] = {}

    @property
    def paused(self) -> dict[int, int]:
        """The trials that wait: number -> epoch."""
        return dict(self._paused)

    def goes_on(self, number: int, epoch: int, value: float) -> bool:
        """Takes a trial's best value so far at a rung; returns False if it has to wait there."""
        self.came(number, epoch, value)
        if self.is_among_best(number, epoch):
            return True
        self.pause(number, epoch)
        return False

    def came(self, number: int, epoch: int, value: float) -> None:
        """Takes note of a trial's best value up to a rung, whether it waits there or not."""
        self._came[epoch].put(number, value)

    def is_among_best(self, number: int, epoch: int) -> bool:
        """Returns whether a trial is one of the best n // eta that came to a rung."""
        came = self._came[epoch]
        return number in came and came.rank(number) < len(came) // self._eta

    def pause(self, number: int, epoch: int) -> None:
        """Lets a trial wait at a rung that it came to."""
        self.resume(number)
        self._waiting[epoch].put(number, self._came[epoch].value(number))
        self._paused[number] = epoch

    def resume(self, number: int) -> None:
        """Lets a trial wait no longer, whatever its value."""
        epoch = self._paused.pop(number, None)
        if epoch is not None:
            self._waiting[epoch].drop(number)

    def next(self) -> int | None:
        """Returns a trial that waits and may go on now, no longer waiting; None if none may.

        The highest rung first, there the best, of equals the earliest.
        """
        for epoch in reversed(self.epochs):
            waiting = self._waiting[epoch]
            # If the best that waits may not go on, no other may.
            if waiting.places and self.is_among_best(number := waiting.places[0][1], epoch):
                self.resume(number)
                return number
        return None

    def best_first(self) -> Iterator[int]:
        """Yields the trials that wait: the highest rung first, there the best, then the earliest.

        Nothing may be changed until the last one has been taken.
        """
        for epoch in reversed(self.epochs):
            yield from (number for _, number in self._waiting[epoch].places)

    def explain(self, number: int) -> str:
        """Returns why a waiting trial waits, with the numbers."""
        epoch = self._paused[number]
        came = self._came[epoch]
        value = came.value(number)
        others = [-place[0] for place in came.places[:2] if place[1] != number]
        told = f"paused at epoch {epoch}"
        if not others:
            return f"{told}: FT-valid-acc {value:.4f}, no other trial came there"
        return (
            f"{told}: {came.n_better(value)} of {len(came) - 1} other trials better, "
            f"best {others[0]:.4f} against {value:.4f}"
        )

    def ended(self, number: int, value: float | None) -> None:
        """Is told that a trial has ended.

        Args:
            number: Of the trial.
            value: Its best value, which counts at the rungs that it did not come to since it
                stopped by itself; None if it failed, and counts nowhere any more.
        """
        self.resume(number)
        for came in self._came.values():
            if value is None:
                came.drop(number)
            elif number not in came:
                came.put(number, value)
