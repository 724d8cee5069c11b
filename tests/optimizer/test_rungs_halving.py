"""Successive halving by reading alone: Optuna's decisions, and where they differ on purpose."""

from __future__ import annotations

import math
import pickle
from typing import Any, Literal

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import Trial, TrialState

from energytune.errors import ConfigError
from energytune.optimizer.rungs import SuccessiveHalvingPruner, successive_halving

RUNGS = (3, 9, 27)
Direction = Literal["maximize", "minimize"]


def halving() -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(RUNGS, 3)


def make_study(
    pruner: optuna.pruners.BasePruner | None = None, direction: Direction = "maximize"
) -> optuna.Study:
    return optuna.create_study(direction=direction, pruner=pruner or halving())


def optunas(factor: int = 3) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=factor)


Curves = list[tuple[list[float], str]]
LEVELS = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75, 1.0, math.nan])
FINITE = LEVELS.filter(math.isfinite)
CURVES = st.lists(
    st.tuples(st.lists(LEVELS, min_size=4, max_size=4), st.sampled_from(["fails", "obeys"]))
    # A trial that goes on though it was to stop, after a NaN too, is asked about two rungs at once.
    | st.tuples(st.lists(FINITE, min_size=4, max_size=4), st.just("ends")),
    min_size=1,
    max_size=14,
)


def run(
    study: optuna.Study,
    curves: Curves,
    steps: tuple[int, ...],
    at_once: int,
    rungs: tuple[int, ...] = RUNGS,
) -> Any:
    """Runs trials ``at_once`` at a time, interleaved; returns the answers to all questions."""
    answers: list[tuple[int, int, bool]] = []
    for first in range(0, len(curves), at_once):
        group = [(study.ask(), *curve) for curve in curves[first : first + at_once]]
        told: set[int] = set()
        for step in steps:
            for trial, levels, how in group:
                if trial.number in told:
                    continue
                value = levels[sum(step >= rung for rung in rungs)]
                trial.report(value, step)
                stop = trial.should_prune()
                answers.append((trial.number, step, stop))
                if stop and how != "ends":  # a baseline goes on all the same
                    study.tell(trial, state=TrialState.PRUNED)
                    told.add(trial.number)
                elif how == "fails" and step > rungs[1]:
                    study.tell(trial, state=TrialState.FAIL)
                    told.add(trial.number)
        for trial, levels, _ in group:
            if trial.number not in told:
                last = 0.0 if math.isnan(levels[-1]) else levels[-1]
                study.tell(trial, last)
    return answers


@settings(max_examples=40, deadline=None)
@given(
    CURVES,
    st.sampled_from(["every", "rungs", "around"]),
    st.integers(1, 4),
    st.sampled_from(["maximize", "minimize"]),
    st.sampled_from([3, 4]),
)
def test_the_decisions_are_optunas(
    curves: Curves, reported: str, at_once: int, direction: Direction, factor: int
) -> None:
    rungs = (3, 3 * factor, 3 * factor**2)
    steps = {
        "every": tuple(range(1, rungs[2] + 3)),
        "rungs": rungs,
        "around": (2, 4, rungs[1] - 1, rungs[1] + 2, rungs[2] - 1, rungs[2] + 1),
    }[reported]
    ours = make_study(SuccessiveHalvingPruner(rungs, factor), direction)
    theirs = make_study(optunas(factor), direction)
    assert run(ours, curves, steps, at_once, rungs) == run(theirs, curves, steps, at_once, rungs)


def report(study: optuna.Study, accuracy: float, *epochs: int, **attrs: Any) -> Trial:
    trial = study.ask()
    for name, value in attrs.items():
        trial.set_user_attr(name, value)
    for epoch in epochs:
        trial.report(accuracy, epoch)
    return trial


@pytest.mark.parametrize(("pruner", "is_pruned"), [(halving(), True), (optunas(), False)])
def test_a_trial_that_stopped_by_itself_stays_in_the_comparison(
    pruner: optuna.pruners.BasePruner, is_pruned: bool
) -> None:
    """Optuna's pruner forgets it at the next rung, where a worse one then leads."""
    study = make_study(pruner)
    stopped = report(study, 0.7, 3)
    assert not stopped.should_prune()
    stopped.report(0.9, 5)  # its best epoch
    stopped.report(0.8, 7)
    study.tell(stopped, 0.9)
    later = report(study, 0.75, 3)
    assert not later.should_prune()
    later.report(0.85, 9)
    assert later.should_prune() == is_pruned
    best = report(study, 0.95, 3)
    assert not best.should_prune()
    best.report(0.9, 9)  # as good as the stopped one
    assert not best.should_prune()


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_reported_value_is_the_one_of_the_direction(direction: Direction) -> None:
    study = make_study(direction=direction)
    stopped = report(study, 0.5, 1)
    stopped.report(0.3, 2)
    study.tell(stopped, 0.4)
    for value, is_pruned in ((0.4, True), (0.6 if direction == "maximize" else 0.2, False)):
        assert report(study, value, 3).should_prune() == is_pruned


@pytest.mark.parametrize("state", ["RUNNING", "PRUNED", "FAIL"])
def test_other_trials_count_only_where_they_were(state: str) -> None:
    study = make_study()
    gone = report(study, 0.9, 3)
    if state != "RUNNING":
        study.tell(gone, state=TrialState[state])
    assert report(study, 0.8, 3).should_prune()
    assert not report(study, 0.8, 3, 9).should_prune()


def test_a_repeat_that_was_not_run_is_no_competitor() -> None:
    study = make_study()
    for value in (0.5, 0.4):
        report(study, value, 3)
    for _ in range(3):
        repeat = report(study, 0.4, 3, duplicate_of=1)
        study.tell(repeat, state=TrialState.PRUNED)
    assert report(study, 0.45, 3).should_prune()  # best third of 3; of 6 it were kept


def test_it_says_the_same_twice_and_writes_nothing() -> None:
    study = make_study()
    report(study, 0.9, 3)
    trial = report(study, 0.8, 3)
    assert [trial.should_prune() for _ in range(3)] == [True, True, True]
    trial.report(0.8, 4)
    assert not trial.should_prune()
    assert [t.system_attrs for t in study.trials] == [{}, {}]


def test_a_report_that_reaches_two_rungs_counts_at_both() -> None:
    study = make_study()
    report(study, 0.9, 3)
    study.tell(report(study, 0.8, 10), state=TrialState.PRUNED)
    assert report(study, 0.7, 3, 9).should_prune()


def test_nan_is_stopped_at_the_next_rung() -> None:
    study = make_study()
    trial = report(study, math.nan, 2)
    assert not trial.should_prune()
    trial.report(math.nan, 3)
    assert trial.should_prune()
    pruner = study.pruner
    assert isinstance(pruner, SuccessiveHalvingPruner)
    assert pruner.explain(study, study.trials[0]) == (
        "SuccessiveHalvingPruner: FT-valid-acc nan at epoch 3"
    )


def test_reasons_carry_the_numbers_of_the_direction() -> None:
    pruner = halving()
    study = make_study(pruner, "minimize")
    for value in (0.3, 0.1, 0.2):
        report(study, value, 3)
    trial = report(study, 0.25, 3)
    assert pruner.explain(study, study.trials[trial.number]) == (
        "SuccessiveHalvingPruner: reported value 0.2500 at epoch 3, "
        "2 of 3 other trials better, best 0.1000"
    )


def test_there_is_no_rung_at_the_last_epoch() -> None:
    assert successive_halving(5).epochs == {1, 4}
    assert successive_halving(4).epochs == {1}
    assert successive_halving(1).epochs == frozenset()
    study = make_study(successive_halving(4))
    report(study, 0.9, 1, 4)
    worse = report(study, 0.9, 1)
    worse.report(0.1, 4)
    assert not worse.should_prune()


@settings(max_examples=15, deadline=None)
@given(CURVES, st.integers(1, 3))
def test_a_new_object_decides_as_one_that_has_read_before(curves: Curves, at_once: int) -> None:
    class Forgetful(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return halving().prune(study, trial)

    class Pickled(optuna.pruners.BasePruner):
        inner = halving()

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            self.inner = pickle.loads(pickle.dumps(self.inner))
            return self.inner.prune(study, trial)

    remembers = run(make_study(), curves, RUNGS, at_once)
    assert run(make_study(Forgetful()), curves, RUNGS, at_once) == remembers
    assert run(make_study(Pickled()), curves, RUNGS, at_once) == remembers


def test_studies_of_one_name_are_told_apart() -> None:
    pruner = halving()
    studies = [
        optuna.create_study(study_name="same", direction="maximize", pruner=pruner)
        for _ in range(2)
    ]
    studies[0].tell(report(studies[0], 0.9, 3), 0.9)
    assert report(studies[0], 0.5, 3).should_prune()
    assert not report(studies[1], 0.5, 3).should_prune()


def test_bad_numbers() -> None:
    with pytest.raises(ConfigError, match=r"epochs must all be at least 1\. Got \[0, 3\]"):
        SuccessiveHalvingPruner([3, 0])
    with pytest.raises(ConfigError, match=r"reduction_factor must be at least 2\. Got 1"):
        SuccessiveHalvingPruner([3], 1)
