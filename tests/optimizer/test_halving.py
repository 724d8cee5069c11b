from __future__ import annotations

import pytest

from energytune.errors import ConfigError, UnknownNameError
from energytune.optimizer import EnergyPruner, make_halving
from energytune.optimizer.rungs import reported_epochs


@pytest.mark.parametrize(
    ("n_epochs", "epochs"), [(200, (16, 64)), (50, (4, 16)), (2, (1,)), (1, ())]
)
def test_with_energy_trials_wait_where_successive_halving_looks(
    n_epochs: int, epochs: tuple[int, ...]
) -> None:
    pruner, rungs = make_halving("energy", n_epochs)
    assert isinstance(pruner, EnergyPruner)
    assert reported_epochs(pruner, n_epochs) == frozenset()  # its own halving looks never
    assert rungs.epochs == epochs


def test_one_of_four_goes_on() -> None:
    _, rungs = make_halving("energy", 200)
    goes_on = [rungs.goes_on(number, 16, number / 10) for number in range(4)]
    assert goes_on == [False, False, False, True]


@pytest.mark.parametrize("name", ["median", "none"])
def test_other_pruners_let_nobody_wait(name: str) -> None:
    pruner, rungs = make_halving(name, 200)
    assert rungs.epochs == ()
    assert bool(reported_epochs(pruner, 200)) == (name == "median")


def test_what_it_refuses() -> None:
    with pytest.raises(UnknownNameError, match="energie"):
        make_halving("energie", 200)
    with pytest.raises(ConfigError, match="at least 1"):
        make_halving("energy", 0)
