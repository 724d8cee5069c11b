from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from energytune.optimizer.outcomes import Outcome, outcomes, value_until

UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
COMPLETE, PRUNED, FAIL, RUNNING = (
    TrialState.COMPLETE,
    TrialState.PRUNED,
    TrialState.FAIL,
    TrialState.RUNNING,
)


def trial(
    state: TrialState, reports: Mapping[int, float] | None = None, value: float | None = None
) -> FrozenTrial:
    return create_trial(state=state, value=value, intermediate_values=dict(reports or {}))


def complete(*values: float) -> FrozenTrial:
    """A trial that reported at 8 and 24, and then ended."""
    return trial(COMPLETE, {8: values[0], 24: values[1]}, values[2])


def told(trials: list[FrozenTrial], direction: StudyDirection = UP) -> list[float | None]:
    return [outcome.value for outcome in outcomes(trials, direction)]


def test_a_complete_trial_counts_with_its_value_and_is_certain() -> None:
    (outcome,) = outcomes([complete(0.5, 0.6, 0.7)], UP)
    assert (outcome.value, outcome.doubt, outcome.failed) == (0.7, 0.0, False)


def test_a_stopped_trial_gains_what_others_gained_in_the_median() -> None:
    others = [complete(0.5, 0.60, 0.70), complete(0.5, 0.62, 0.63), complete(0.4, 0.60, 0.65)]
    at_8, at_24 = trial(PRUNED, {8: 0.3}), trial(RUNNING, {8: 0.3, 24: 0.5})
    found = outcomes([*others, at_8, at_24], UP)
    to_24 = np.median([0.10, 0.12, 0.20, 0.2])  # the one that runs saw 8 and 24 too
    to_end = np.median([0.10, 0.01, 0.05])
    assert found[3].value == pytest.approx(0.3 + to_24 + to_end)
    assert found[4].value == pytest.approx(0.5 + to_end)
    assert (found[3].doubt, found[4].doubt) == (0.5, 0.25)


def test_the_best_report_counts_and_a_fall_is_no_gain() -> None:
    falling = complete(0.9, 0.5, 0.4)
    assert told([falling, trial(PRUNED, {8: 0.7, 24: 0.2})]) == [0.4, 0.7]


def test_without_others_a_stopped_trial_counts_with_its_best() -> None:
    assert told([trial(PRUNED, {1: 0.2, 2: 0.4, 3: 0.3})]) == [0.4]


def test_who_failed_or_told_nothing() -> None:
    failed, pruned, running = outcomes([trial(FAIL, {8: 0.9}), trial(PRUNED), trial(RUNNING)], UP)
    assert (failed.value, failed.failed) == (None, True)
    for silent in (pruned, running):
        assert (silent.value, silent.failed, silent.doubt > 0) == (None, False, True)


def test_reports_that_are_not_finite_are_none() -> None:
    assert told([trial(PRUNED, {1: math.nan, 2: 0.4, 3: math.nan, 4: math.inf})]) == [0.4]
    assert told([trial(PRUNED, {1: math.nan})]) == [None]
    (endless,) = outcomes([trial(COMPLETE, value=-math.inf)], UP)
    assert (endless.value, endless.failed) == (None, True)


def test_waiting_trials_have_not_begun() -> None:
    assert outcomes([create_trial(state=TrialState.WAITING)], UP) == []
    assert outcomes([], UP) == []


Reports = st.lists(st.floats(-1, 1), min_size=0, max_size=4)


@settings(max_examples=60, deadline=None)
@given(curves=st.lists(st.tuples(Reports, st.sampled_from([COMPLETE, PRUNED])), max_size=8))
def test_minimising_is_maximising_the_negative(
    curves: list[tuple[list[float], TrialState]],
) -> None:
    def study(sign: float) -> list[FrozenTrial]:
        return [
            trial(
                state,
                {10 * i: sign * v for i, v in enumerate(reports)},
                sign * 0.5 if state == COMPLETE else None,
            )
            for reports, state in curves
        ]

    assert told(study(1.0), UP) == told(study(-1.0), DOWN)
    for outcome, (reports, state) in zip(outcomes(study(1.0), UP), curves, strict=True):
        assert isinstance(outcome, Outcome)
        assert 0 <= outcome.doubt <= 0.5
        if state == PRUNED and reports:
            assert outcome.value is not None
            assert outcome.value >= max(reports) - 1e-12


@pytest.mark.parametrize(
    ("step", "value"), [(0, None), (1, 0.1), (1.5, 0.1), (3, 0.3), (math.inf, 0.3)]
)
def test_value_until(step: float, value: float | None) -> None:
    assert value_until([(1, 0.1), (3, 0.3)], step) == value
