"""A search whose process is killed between any two writes ends as if it had not been."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.study import Study
from optuna.trial import TrialState

from energytune.optimizer import open_study
from energytune.optimizer.samplers import make_sampler
from energytune.optimizer.study import _Journal
from energytune.trial import run_inline
from tests.optimizer.fakes import make_run_job
from tests.optimizer.pausing import pausing_pruner, pausing_source, resuming

N_TRIALS = 7


class Killed(BaseException):
    """Nothing of the process is run after it, as far as this can be had within one."""


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """[writes so far, number of the write before which the process is killed]."""
    count = [0, -1]
    append = _Journal.append_logs

    def counting(self: _Journal, logs: list[dict[str, Any]]) -> None:
        if count[0] == count[1]:
            raise Killed
        count[0] += 1
        append(self, logs)

    monkeypatch.setattr(_Journal, "append_logs", counting)
    return count


def opened(path: Path, sampler: str) -> Study:
    return open_study(
        f"journal://{path}", "search", sampler=make_sampler(sampler, 3), pruner=pausing_pruner()
    )


def search(path: Path, sampler: str) -> None:
    run_inline(pausing_source(opened(path, sampler), n_trials=N_TRIALS), resuming(make_run_job()))


def ended(path: Path, sampler: str) -> list[tuple[Any, ...]]:
    return [
        (
            trial.number,
            trial.state,
            trial.params,
            trial.values if trial.state == TrialState.COMPLETE else None,
            trial.intermediate_values,
            *(trial.user_attrs.get(name) for name in ("recipe", "role", "seed", "curve", "reason")),
        )
        for trial in opened(path, sampler).trials
    ]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_killed_before_any_writes_it_ends_as_if_it_had_not_been(
    tmp_path_factory: pytest.TempPathFactory, writes: list[int], sampler: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    writes[:] = [0, -1]
    search(folder / "whole", sampler)
    n_writes = writes[0]
    expected = ended(folder / "whole", sampler)
    assert {state for _, state, *_ in expected} >= {TrialState.COMPLETE, TrialState.PRUNED}
    for kill_at in data.draw(st.lists(st.integers(0, n_writes - 1), min_size=1, max_size=3)):
        writes[:] = [0, kill_at]
        with suppress(Killed):
            search(folder / "killed", sampler)
    writes[:] = [0, -1]
    search(folder / "killed", sampler)
    assert ended(folder / "killed", sampler) == expected
