"""The source behind an executor leaves in the study what plain ``study.optimize`` leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import optuna
import pytest

from energytune.optimizer import EnergyPruner, make_pruner, optimize_serially
from energytune.trial import Event, Finished, Job, run_inline
from tests.optimizer.fakes import (
    N_EPOCHS,
    STOP_REASON,
    make_run_job,
    make_source,
    make_space,
    memory_study,
    stopping,
)


class EveryThird(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number % 3 == 0 and trial.last_step == 11


PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "energy": lambda: make_pruner("energy", N_EPOCHS),
    "median": lambda: make_pruner("median", N_EPOCHS),
    "none": lambda: make_pruner("none", N_EPOCHS),
    "custom": EveryThird,
    "plain median": lambda: optuna.pruners.MedianPruner(n_startup_trials=3),
    "custom inside": lambda: EnergyPruner(N_EPOCHS, inner=EveryThird()),
}


def left_in(study: optuna.Study) -> list[dict[str, Any]]:
    return [
        {
            "params": trial.params,
            "state": trial.state.name,
            "value": trial.value,
            "steps": trial.intermediate_values,
            "recipe": trial.user_attrs.get("recipe"),
            "duplicate_of": trial.user_attrs.get("duplicate_of"),
        }
        for trial in study.trials
    ]


def flaky(job: Job) -> Generator[Event, None, None]:
    """Crashes, NaN and early ends among good jobs."""
    for event in make_run_job()(job):
        if job.number % 7 == 4:
            raise RuntimeError("crash")
        if job.number % 7 == 5 and isinstance(event, Finished):
            return
        if job.number % 7 == 6 and isinstance(event, Finished):
            yield replace(event, objective=math.nan)
            return
        yield event


@pytest.mark.parametrize("name", PRUNERS)
def test_same_parameters_states_values_and_steps(name: str) -> None:
    serial, asked = memory_study(PRUNERS[name]()), memory_study(PRUNERS[name]())
    optimize_serially(serial, make_space(), 16, make_run_job(), seed=0)
    run_inline(make_source(asked, n_trials=16), make_run_job())
    assert [
        {**t, "recipe": None} if t["duplicate_of"] is not None else t for t in left_in(asked)
    ] == (left_in(serial))
    states = {trial["state"] for trial in left_in(serial)}
    assert states == ({"COMPLETE"} if name == "none" else {"COMPLETE", "PRUNED"})


def test_same_with_failures_and_duplicates() -> None:
    space = make_space(
        tau={"low": 0, "high": 12},
        head_arch="linear",
        reinit_depth=0,
        ft_lr=0.01,
        label_smoothing={"low": 0.0, "high": 0.1, "step": 0.1},
    )
    serial, asked = memory_study(name="random"), memory_study(name="random")
    optimize_serially(serial, space, 30, flaky, seed=0, baseline_taus=(0, 12))
    source = make_source(asked, space, n_trials=30, baseline_taus=(0, 12))
    run_inline(source, flaky)
    assert source.exhausted
    for one, two in zip(left_in(asked), left_in(serial), strict=True):
        assert one | {"recipe": None} == two | {"recipe": None}
    states = [trial["state"] for trial in left_in(serial)]
    assert {"COMPLETE", "PRUNED", "FAIL"} == set(states)


@pytest.mark.parametrize("name", PRUNERS)
def test_same_with_trials_that_stop_by_themselves(name: str) -> None:
    serial, asked = memory_study(PRUNERS[name]()), memory_study(PRUNERS[name]())
    optimize_serially(serial, make_space(), 16, stopping, seed=0)
    source = make_source(asked, n_trials=16)
    run_inline(source, stopping)
    assert [
        {**t, "recipe": None} if t["duplicate_of"] is not None else t for t in left_in(asked)
    ] == (left_in(serial))

    stopped = [record for record in source.records if record.stop_reason]
    assert stopped
    for record in stopped:
        assert (record.state, record.reason, record.stop_reason) == ("COMPLETE", "", STOP_REASON)
        assert (len(record.epochs), record.finished.best_epoch) == (20, 17)
        trial = serial.trials[record.job.number]
        assert trial.state.name == "COMPLETE"
        assert trial.value == trial.intermediate_values[17] == record.objective
        assert trial.last_step == 20
    others = [record for record in source.records if record not in stopped]
    assert {len(record.epochs) for record in others if record.state == "COMPLETE"} == {N_EPOCHS}


def test_it_goes_on_where_it_stopped() -> None:
    whole, parts = memory_study(), memory_study()
    optimize_serially(whole, make_space(), 9, make_run_job())
    for n_trials in (1, 5, 5, 9):
        optimize_serially(parts, make_space(), n_trials, make_run_job())
    assert left_in(parts) == left_in(whole)


def test_it_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    study = memory_study()
    capfd.readouterr()
    optimize_serially(study, make_space(), 7, flaky)
    assert capfd.readouterr() == ("", "")
