from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import ConfigError, UnknownNameError
from energytune.optimizer import EnergyPruner, make_pruner
from energytune.optimizer.rungs import AtRungs, grace_epochs, reported_epochs, successive_halving


@pytest.mark.parametrize(
    ("n_epochs", "grace", "rungs"),
    [
        (1, 1, set()),
        (2, 1, {1}),
        (4, 1, {1}),  # a rung at the last epoch would save nothing
        (5, 1, {1, 4}),
        (50, 4, {4, 16}),
        (100, 8, {8, 32}),
        (200, 16, {16, 64}),
    ],
)
def test_rungs_of_successive_halving(n_epochs: int, grace: int, rungs: set[int]) -> None:
    assert grace_epochs(n_epochs) == grace
    assert reported_epochs(make_pruner("energy", n_epochs), n_epochs) == rungs


@given(st.integers(1, 5000))
def test_the_grace_is_at_least_8_percent(n_epochs: int) -> None:
    grace = grace_epochs(n_epochs)
    assert grace >= 0.08 * n_epochs
    assert grace - 1 < 0.08 * n_epochs
    rungs = sorted(successive_halving(n_epochs).rung_epochs(n_epochs))
    assert rungs == [grace * 4**i for i in range(10) if grace * 4**i < n_epochs]


@pytest.mark.parametrize(
    ("pruner", "epochs"),
    [
        (optuna.pruners.MedianPruner(), set(range(1, 10))),
        (optuna.pruners.NopPruner(), set(range(1, 10))),
        (EnergyPruner(10, inner=optuna.pruners.MedianPruner()), set(range(1, 10))),
        (EnergyPruner(10, inner=AtRungs(optuna.pruners.NopPruner(), frozenset({4, 99}))), {4}),
        (make_pruner("none", 10), set()),
        (make_pruner("median", 100), {8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96}),
    ],
)
def test_reported_epochs(pruner: optuna.pruners.BasePruner, epochs: set[int]) -> None:
    n_epochs = 100 if len(epochs) == 12 else 10
    assert reported_epochs(pruner, n_epochs) == epochs


@pytest.mark.parametrize("name", ["energy", "median"])
def test_declared_rungs_are_all_that_the_pruner_looks_at(name: str) -> None:
    """Reporting only there gives the states and epochs of reporting everywhere."""

    def search(rungs_only: bool) -> list[tuple[str, int | None]]:
        pruner = make_pruner(name, 50)
        rungs = reported_epochs(pruner, 50)
        study = optuna.create_study(
            direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        ends: list[tuple[str, int | None]] = []
        for _ in range(25):
            trial = study.ask()
            slope, end = trial.suggest_float("slope", 0, 1), None
            for epoch in range(1, 51):
                if epoch not in rungs and rungs_only:
                    continue
                trial.report(slope * epoch, epoch)
                if trial.should_prune():
                    end = epoch
                    break
            if end is None:
                study.tell(trial, slope)
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            ends.append((study.trials[-1].state.name, end))
        return ends

    assert search(rungs_only=True) == search(rungs_only=False)
    assert {state for state, _ in search(rungs_only=True)} == {"COMPLETE", "PRUNED"}


def test_bad_names_and_numbers() -> None:
    with pytest.raises(UnknownNameError, match=r"'energi'.*'energy'"):
        make_pruner("energi", 10)
    with pytest.raises(ConfigError, match=r"n_ft_epochs must be at least 1\. Got 0"):
        EnergyPruner(0)
