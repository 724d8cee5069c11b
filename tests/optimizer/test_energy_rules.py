from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.config import Recipe
from energytune.optimizer.energy_rules import (
    Probed,
    Tolerances,
    at_floor_since,
    collapsed,
    redundant,
)
from energytune.training import ProbeSnapshot

PLAIN: dict[str, Any] = {"tau": 64, "head_arch": "linear", "label_smoothing": 0.0, "ft_lr": 0.01}


def probed(
    number: int = 0,
    aie: tuple[float, ...] = (0.9, 0.5),
    acc: tuple[float, ...] = (0.1, 0.8),
    norm: float = 3.0,
    loss: float = 0.7,
    **recipe: Any,
) -> Probed:
    """The snapshots end at tau, one an octave."""
    whole = Recipe(**(PLAIN | recipe))
    n = len(aie)
    return Probed(
        number,
        whole,
        tuple(
            ProbeSnapshot(whole.tau >> (n - 1 - i), acc[i], 0.5, 0.7, loss, aie[i], norm, 0.5)
            for i in range(n)
        ),
    )


@pytest.mark.parametrize(
    ("change", "is_redundant"),
    [
        ({}, True),
        ({"tau": 96}, True),  # another tau, the same start
        ({"label_smoothing": 0.05}, True),
        ({"head_arch": "mlp"}, False),
        ({"reinit_depth": 1}, False),
        ({"ft_lr": 0.011}, True),
        ({"ft_lr": 0.00909091}, True),
        ({"ft_lr": 0.0112}, False),
        ({"ft_lr": 0.009}, False),
        ({"aie": (0.9, 0.505)}, True),
        ({"aie": (0.9, 0.495)}, True),
        ({"aie": (0.9, 0.506)}, False),
        ({"acc": (0.1, 0.805)}, True),
        ({"acc": (0.1, 0.81)}, False),
        ({"norm": 30.0, "loss": 9.0}, True),  # neither is part of the start's energy
    ],
)
def test_redundant_means_the_same_start(change: dict[str, Any], is_redundant: bool) -> None:
    reason = redundant(probed(5, **change), [probed(2)])
    assert (reason is not None) == is_redundant
    if reason:
        assert "starts like trial 2" in reason
        assert "AIE" in reason
        assert "against 0.5000" in reason


def test_tolerances_are_settings() -> None:
    tight = Tolerances(train_acc=0.0, aie=0.0, lr_ratio=1.0)
    assert redundant(probed(5, aie=(0.9, 0.501)), [probed(2)], tight) is None
    assert redundant(probed(5), [probed(2)], tight) is not None
    assert redundant(probed(5), []) is None


@pytest.mark.parametrize(
    ("trajectory", "since"),
    [
        ({"aie": (0.5, 0.003, 0.001), "acc": (0.9, 1.0, 1.0)}, 32),  # at 0
        ({"aie": (0.5, 0.006, 0.0055), "acc": (0.9, 1.0, 1.0)}, None),  # still, but above 0
        ({"aie": (0.5, 0.3, 0.004), "acc": (0.9, 1.0, 1.0)}, None),  # just arrived
        ({"aie": (0.5, 0.003, 0.001), "acc": (0.9, 0.99, 1.0)}, None),  # still learns
        # eps * sqrt((K - 1) / K) = 0.0949 for 10 classes
        (
            {"aie": (0.5, 0.0955, 0.095), "acc": (0.9, 1.0, 1.0), "label_smoothing": 0.1},
            32,
        ),
        ({"aie": (0.5, 0.12, 0.118), "acc": (0.9, 1.0, 1.0), "label_smoothing": 0.1}, None),
        # a first epoch that changes nothing is no plateau
        ({"aie": (0.95, 0.95), "acc": (0.1, 0.1), "tau": 2}, None),
        ({"aie": (0.001,), "acc": (1.0,), "tau": 0}, None),
    ],
)
def test_floor_of_a_trajectory(trajectory: dict[str, Any], since: int | None) -> None:
    assert at_floor_since(probed(**trajectory), Tolerances()) == since


def test_beyond_the_floor_all_taus_are_one_recipe() -> None:
    tolerances = Tolerances(aie=0.005)
    settled = probed(1, aie=(0.5, 0.0045, 0.0045), acc=(0.9, 1.0, 1.0), tau=64)
    # further down by more than the tolerance: only the floor says that they are the same
    later = probed(7, aie=(0.001, -0.001), acc=(1.0, 1.0), tau=1024)
    reason = redundant(later, [settled], tolerances)
    assert reason is not None
    assert "tau=64 and tau=1024 are one recipe, finetuned in trial 1" in reason
    assert redundant(settled, [later], tolerances) is not None

    on_the_way = probed(1, aie=(0.9, 0.5, 0.3), acc=(0.9, 1.0, 1.0), tau=64)
    assert redundant(later, [on_the_way], tolerances) is None
    smoothed = probed(1, aie=(0.5, 0.19, 0.19), acc=(0.9, 1, 1), tau=64, label_smoothing=0.2)
    assert redundant(later, [smoothed], tolerances) is None


@given(
    st.lists(st.floats(0, 1.4), min_size=2, max_size=2),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_redundancy_is_symmetric_and_not_monotone(aies: list[float], accs: list[float]) -> None:
    """More or less energy than the others is never a reason by itself."""
    one = probed(1, aie=(0.9, aies[0]), acc=(0.1, accs[0]))
    two = probed(2, aie=(0.9, aies[1]), acc=(0.1, accs[1]))
    assert (redundant(one, [two]) is None) == (redundant(two, [one]) is None)
    if abs(aies[0] - aies[1]) > 0.0051:
        assert redundant(one, [two]) is None


def peers(n: int, **recipe: Any) -> list[Probed]:
    return [probed(i, norm=1.0 + i, loss=0.1 * (1 + i), **recipe) for i in range(n)]


@pytest.mark.parametrize(
    ("norm", "loss", "others", "is_collapsed"),
    [
        (50.0, 5.0, peers(10), True),
        (50.0, 5.0, peers(9), False),  # too few to compare with
        (50.0, 0.05, peers(10), False),  # a large head that validates well
        (0.5, 5.0, peers(10), False),
        (9.5, 0.95, peers(10), True),  # above 9 of 10
        (8.5, 0.95, peers(10), False),  # above 8 of 10
        (10.0, 1.0, peers(10), True),  # as large as the largest, above 9 of 10
        (50.0, 5.0, peers(10, head_arch="mlp"), False),  # norms of other heads do not compare
        (50.0, 5.0, peers(10, reinit_depth=2), False),
        (50.0, 5.0, [*peers(10), *peers(90, head_arch="mlp")], True),
    ],
)
def test_collapse_needs_norm_and_loss_in_the_worst_decile(
    norm: float, loss: float, others: list[Probed], is_collapsed: bool
) -> None:
    reason = collapsed(probed(99, norm=norm, loss=loss), others)
    assert (reason is not None) == is_collapsed
    if reason:
        assert f"{norm:.3g}" in reason
        assert "10 probed trials" in reason


def test_a_head_that_is_not_finite_has_collapsed() -> None:
    reason = collapsed(probed(1, loss=math.nan), [])
    assert reason == "collapsed: non-finite after probing, valid_loss = nan"


@given(st.floats(0, 1.4), st.floats(0, 1))
def test_collapse_does_not_look_at_energy_or_accuracy(aie: float, acc: float) -> None:
    assert collapsed(probed(99, aie=(0.9, aie), acc=(0.1, acc)), peers(20)) is None
