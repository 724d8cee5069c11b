from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import ConfigError
from energytune.optimizer.energy_rules import (
    ProbedTable,
    Tolerances,
    at_floor_since,
    collapsed,
    redundant,
)
from energytune.optimizer.probed import Probed

PLAIN: dict[str, Any] = {
    "tau": 64,
    "head_arch": "linear",
    "label_smoothing": 0.0,
    "reinit_depth": 0,
    "ft_lr": 0.01,
}


def probed(
    number: int = 0,
    aie: tuple[float, ...] = (0.9, 0.5),
    acc: tuple[float, ...] = (0.1, 0.8),
    norm: float = 3.0,
    loss: float = 0.7,
    without: tuple[str, ...] = (),
    **recipe: Any,
) -> Probed:
    """The snapshots end at tau, one an octave."""
    whole = PLAIN | recipe
    n = len(aie)
    numbers = [
        {
            "epoch": whole["tau"] >> (n - 1 - i),
            "train_acc": acc[i],
            "valid_loss": loss,
            "aie": aie[i],
            "head_norm": norm,
        }
        for i in range(n)
    ]
    kind = ("head_arch", "reinit_depth", "own")
    return Probed(
        number,
        ", ".join(f"{name}={whole[name]!r}" for name in kind if name in whole),
        whole["tau"],
        whole["label_smoothing"],
        whole["ft_lr"],
        tuple({k: v for k, v in one.items() if k not in without} for one in numbers),
    )


def complete(*trials: Probed) -> ProbedTable:
    return ProbedTable((trial, True) for trial in trials)


def unfinished(trials: list[Probed]) -> ProbedTable:
    return ProbedTable((trial, False) for trial in trials)


@pytest.mark.parametrize(
    ("change", "is_redundant"),
    [
        ({}, True),
        ({"tau": 96}, True),  # another tau, the same start
        ({"label_smoothing": 0.05}, True),
        ({"head_arch": "mlp"}, False),
        ({"reinit_depth": 1}, False),
        ({"own": 0.1}, False),  # a parameter of the user's own
        ({"ft_lr": None}, False),
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
    reason = redundant(probed(5, **change), complete(probed(2)))
    assert (reason is not None) == is_redundant
    if reason:
        assert "starts like trial 2" in reason
        assert "AIE" in reason
        assert "against 0.5000" in reason


def test_tolerances_are_settings() -> None:
    tight = Tolerances(train_acc=0.0, aie=0.0, lr_ratio=1.0)
    assert redundant(probed(5, aie=(0.9, 0.501)), complete(probed(2)), tight) is None
    assert redundant(probed(5), complete(probed(2)), tight) is not None
    assert redundant(probed(5), complete()) is None


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
    reason = redundant(later, complete(settled), tolerances)
    assert reason is not None
    assert "tau=64 and tau=1024 are one recipe, finetuned in trial 1" in reason
    assert redundant(settled, complete(later), tolerances) is not None

    on_the_way = probed(1, aie=(0.9, 0.5, 0.3), acc=(0.9, 1.0, 1.0), tau=64)
    assert redundant(later, complete(on_the_way), tolerances) is None
    smoothed = probed(1, aie=(0.5, 0.19, 0.19), acc=(0.9, 1, 1), tau=64, label_smoothing=0.2)
    assert redundant(later, complete(smoothed), tolerances) is None


@given(
    st.lists(st.floats(0, 1.4), min_size=2, max_size=2),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_redundancy_is_symmetric_and_not_monotone(aies: list[float], accs: list[float]) -> None:
    """More or less energy than the others is never a reason by itself."""
    one = probed(1, aie=(0.9, aies[0]), acc=(0.1, accs[0]))
    two = probed(2, aie=(0.9, aies[1]), acc=(0.1, accs[1]))
    assert (redundant(one, complete(two)) is None) == (redundant(two, complete(one)) is None)
    if abs(aies[0] - aies[1]) > 0.0051:
        assert redundant(one, complete(two)) is None


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
    reason = collapsed(probed(99, norm=norm, loss=loss), unfinished(others))
    assert (reason is not None) == is_collapsed
    if reason:
        assert f"{norm:.3g}" in reason
        assert "10 probed trials" in reason


def test_a_head_that_is_not_finite_has_collapsed() -> None:
    reason = collapsed(probed(1, loss=math.nan), ProbedTable())
    assert reason == "collapsed: non-finite after probing, valid_loss = nan"


@given(st.floats(0, 1.4), st.floats(0, 1))
def test_collapse_does_not_look_at_energy_or_accuracy(aie: float, acc: float) -> None:
    assert collapsed(probed(99, aie=(0.9, aie), acc=(0.1, acc)), unfinished(peers(20))) is None


def test_without_rates_all_rates_are_one() -> None:
    reason = redundant(probed(5, ft_lr=None), complete(probed(2, ft_lr=None)))
    assert reason is not None
    assert "ft_lr" not in reason


@pytest.mark.parametrize("name", ["train_acc", "aie"])
def test_redundancy_is_silent_without_its_numbers(name: str) -> None:
    settled: dict[str, Any] = {"aie": (0.5, 0.001, 0.001), "acc": (0.9, 1.0, 1.0)}
    assert redundant(probed(5, without=(name,)), complete(probed(2))) is None
    assert redundant(probed(5), complete(probed(2, without=(name,)))) is None
    assert redundant(probed(5, **settled, without=(name,)), complete(probed(2, **settled))) is None
    assert at_floor_since(probed(5, **settled, without=(name,)), Tolerances()) is None


@pytest.mark.parametrize("name", ["head_norm", "valid_loss"])
def test_collapse_is_silent_without_its_numbers(name: str) -> None:
    worst = probed(99, norm=50.0, loss=5.0)
    blind = probed(99, norm=50.0, loss=5.0, without=(name,))
    assert collapsed(blind, unfinished(peers(10))) is None
    nine_seen = [*peers(9), probed(9, without=(name,))]
    assert collapsed(worst, unfinished(nine_seen)) is None
    assert collapsed(worst, unfinished([*nine_seen, probed(10)])) is not None


def test_a_peer_that_is_not_finite_is_worse_than_all() -> None:
    others = [*peers(8), probed(8, norm=math.nan), probed(9, norm=math.inf)]
    assert collapsed(probed(99, norm=50.0, loss=5.0), unfinished(others)) is None
    assert collapsed(probed(99, norm=50.0, loss=5.0), unfinished([*others, *peers(10)])) is not None


def test_a_trial_is_not_compared_with_itself() -> None:
    assert redundant(probed(5), complete(probed(5))) is None
    assert collapsed(probed(5, norm=99.0, loss=99.0), unfinished([probed(5)] * 20)) is None


def test_only_complete_trials_make_another_one_redundant() -> None:
    table = unfinished([probed(1)]).plus([(probed(4), True), (probed(3), True)])
    assert len(table) == 3
    reason = redundant(probed(5), table)
    assert reason is not None
    assert "starts like trial 3 " in reason  # the first of them, however they are ordered
    assert table.plus([]) is table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_acc": -0.1}, r"'train_acc' must be finite and at least 0\. Got -0\.1"),
        ({"aie": math.nan}, "'aie' must be finite and at least 0"),
        ({"lr_ratio": 0.9}, r"'lr_ratio' must be finite and at least 1\. Got 0\.9"),
    ],
)
def test_tolerances_are_checked(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tolerances(**changes)
