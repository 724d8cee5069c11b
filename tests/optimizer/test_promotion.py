from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.errors import ConfigError
from energytune.optimizer.promotion import Rungs

EPOCHS = (2, 6, 18)


class Naive:
    """The same rules, each written down as it is said."""

    def __init__(self, epochs: tuple[int, ...], eta: int) -> None:
        self.epochs, self.eta = epochs, eta
        self.values: dict[int, dict[int, float]] = {epoch: {} for epoch in epochs}
        self.paused: dict[int, int] = {}

    def best(self, epoch: int) -> list[int]:
        values = self.values[epoch]
        ranked = sorted(values, key=lambda number: (-values[number], number))
        return ranked[: len(ranked) // self.eta]

    def goes_on(self, number: int, epoch: int, value: float) -> bool:
        self.values[epoch][number] = value
        if number in self.best(epoch):
            return True
        self.paused[number] = epoch
        return False

    def next(self) -> int | None:
        for epoch in reversed(self.epochs):
            for number in self.best(epoch):
                if self.paused.get(number) == epoch:
                    del self.paused[number]
                    return number
        return None

    def ended(self, number: int, value: float | None) -> None:
        self.paused.pop(number, None)
        for values in self.values.values():
            if value is None:
                values.pop(number, None)
            else:
                values.setdefault(number, value)


def test_of_three_the_best_goes_on_and_nobody_before() -> None:
    rungs = Rungs(EPOCHS, 3)
    assert not rungs.goes_on(0, 2, 0.9)
    assert not rungs.goes_on(1, 2, 0.5)
    assert rungs.next() is None
    assert not rungs.goes_on(2, 2, 0.7)
    assert rungs.paused == {0: 2, 1: 2, 2: 2}
    assert rungs.next() == 0
    assert rungs.next() is None
    assert rungs.paused == {1: 2, 2: 2}
    assert not rungs.goes_on(3, 2, 0.1)
    assert not rungs.goes_on(4, 2, 0.2)
    assert rungs.goes_on(5, 2, 0.8)  # the second of six


def test_by_default_the_best_of_four_goes_on() -> None:
    rungs = Rungs((2,))
    for number, value in enumerate((0.9, 0.5, 0.7)):
        assert not rungs.goes_on(number, 2, value)
    assert rungs.next() is None
    assert not rungs.goes_on(3, 2, 0.8)
    assert [rungs.next(), rungs.next()] == [0, None]
    for number in (4, 5, 6):
        assert not rungs.goes_on(number, 2, 0.1)
    assert rungs.next() is None
    assert not rungs.goes_on(7, 2, 0.2)
    assert [rungs.next(), rungs.next()] == [3, None]  # the second of eight


def test_of_equals_the_earliest_goes_on() -> None:
    rungs = Rungs((1,), 3)
    for number in (2, 0, 1):
        rungs.goes_on(number, 1, 0.5)
    assert [rungs.next(), rungs.next()] == [0, None]


def test_the_highest_rung_comes_first() -> None:
    rungs = Rungs(EPOCHS, 3)
    for number in range(3):
        rungs.came(number, 2, 0.9)
        assert not rungs.goes_on(number, 6, 0.3 - 0.1 * number)
    for number in range(3, 6):
        assert not rungs.goes_on(number, 2, 0.8)
    assert list(rungs.best_first()) == [0, 1, 2, 3, 4, 5]
    assert rungs.next() == 0
    assert list(rungs.best_first()) == [1, 2, 3, 4, 5]


def test_one_that_need_not_wait_counts_all_the_same() -> None:
    rungs = Rungs((4,), 3)
    rungs.came(0, 4, 0.9)
    assert not rungs.goes_on(1, 4, 0.5)
    assert not rungs.goes_on(2, 4, 0.6)
    assert rungs.next() is None  # the best of three is not among those that wait
    rungs.resume(2)
    assert rungs.paused == {1: 4}
    rungs.resume(2)


def test_one_that_stopped_by_itself_counts_at_the_rungs_that_it_did_not_come_to() -> None:
    rungs = Rungs(EPOCHS, 3)
    rungs.came(0, 2, 0.3)
    rungs.ended(0, 0.6)
    for number, value in ((1, 0.5), (2, 0.55)):
        assert not rungs.goes_on(number, 6, value)
    assert rungs.next() is None
    assert rungs.is_among_best(0, 6)
    for number, value in ((3, 0.4), (4, 0.2)):  # what it had at a rung it came to stays
        rungs.goes_on(number, 2, value)
    assert rungs.next() == 3


def test_one_that_failed_counts_nowhere() -> None:
    rungs = Rungs(EPOCHS, 3)
    for number, value in enumerate((0.9, 0.5, 0.4)):
        rungs.goes_on(number, 2, value)
    rungs.ended(0, None)
    assert rungs.next() is None
    rungs.goes_on(3, 2, 0.1)
    assert rungs.next() == 1


def test_why_it_waits() -> None:
    rungs = Rungs((16,))
    rungs.goes_on(0, 16, 0.9)
    assert rungs.explain(0) == "paused at epoch 16: FT-valid-acc 0.9000, no other trial came there"
    for number, value in ((1, 0.912), (2, 0.9), (3, 0.2)):
        rungs.goes_on(number, 16, value)
    assert rungs.explain(0) == (
        "paused at epoch 16: 1 of 3 other trials better, best 0.9120 against 0.9000"
    )
    assert rungs.explain(1).endswith("0 of 3 other trials better, best 0.9000 against 0.9120")
    with pytest.raises(KeyError):
        rungs.explain(4)


@pytest.mark.parametrize(
    ("epochs", "factor", "told"),
    [((0, 4), 3, r"epochs .* \[0, 4\]"), ((4,), 1, "reduction_factor .* Got 1")],
)
def test_what_makes_no_rungs(epochs: tuple[int, ...], factor: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Rungs(epochs, factor)
    assert Rungs(()).next() is None


Step = tuple[str, int, float]


def walk(steps: list[Step]) -> Iterator[tuple[str, int, int, float]]:
    """Yields legal calls: a trial comes to one rung after the other, and ends once."""
    rung: dict[int, int] = {}
    for what, number, value in steps:
        place = rung.get(number, 0)
        if place > len(EPOCHS):
            continue
        if what == "come" and place < len(EPOCHS):
            rung[number] = place + 1
            yield "come", number, EPOCHS[place], value
        elif what in ("end", "fail"):
            rung[number] = len(EPOCHS) + 1
            yield what, number, 0, value
        elif what == "next":
            yield "next", 0, 0, 0.0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "come", "next", "end", "fail"]),
        st.integers(0, 14),
        st.sampled_from([0.1, 0.3, 0.5, 0.5001, 0.9]),
    ),
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(2, 4))
def test_it_says_what_the_naive_rules_say(steps: list[Step], eta: int) -> None:
    rungs, naive = Rungs(EPOCHS, eta), Naive(EPOCHS, eta)
    for what, number, epoch, value in walk(steps):
        if what == "come":
            rungs.resume(number)
            naive.paused.pop(number, None)
            assert rungs.goes_on(number, epoch, value) == naive.goes_on(number, epoch, value)
        elif what == "next":
            assert rungs.next() == naive.next()
        else:
            told = value if what == "end" else None
            rungs.ended(number, told)
            naive.ended(number, told)
        assert rungs.paused == naive.paused
        assert sorted(rungs.best_first()) == sorted(naive.paused)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(2, 4), st.randoms())
def test_of_n_trials_the_best_n_over_eta_have_gone_on(
    values: list[float], eta: int, random: object
) -> None:
    """Whatever the order in which they came."""
    rungs = Rungs((5,), eta)
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    gone = [number for number in order if rungs.goes_on(number, 5, values[number])]
    while (number := rungs.next()) is not None:
        gone.append(number)
    ranked = sorted(order, key=lambda number: (-values[number], number))
    assert set(ranked[: len(values) // eta]) <= set(gone)
    assert set(rungs.paused) == set(order) - set(gone)
    assert len(gone) == len(set(gone))
