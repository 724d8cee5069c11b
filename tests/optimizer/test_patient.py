"""A database that goes away for a while costs a search time, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError

from energytune.errors import OutputError, ResourceError
from energytune.optimizer import make_sampler, open_study
from energytune.optimizer.patient import PatientStorage
from energytune.trial import run_inline
from tests.optimizer.fakes import make_run_job
from tests.optimizer.pausing import pausing_pruner, pausing_source, resuming
from tests.postgres import PostgresServer, postgres_server  # noqa: F401 - a fixture

GONE = OperationalError("SELECT 1", None, Exception("server closed the connection unexpectedly"))


class Flaky(InMemoryStorage):
    """Fails some calls of one kind: before it does what it is asked, or after."""

    def __init__(self, name: str, n_failures: int, *, after: bool, error: Exception = GONE) -> None:
        super().__init__()
        self.n_failures = n_failures
        inner: Callable[..., Any] = getattr(self, name)

        def flaky(*args: Any, **more: Any) -> Any:
            answer = inner(*args, **more) if after or not self.n_failures else None
            if self.n_failures:
                self.n_failures -= 1
                raise error
            return answer

        setattr(self, name, flaky)


def patient(inner: InMemoryStorage, **more: Any) -> PatientStorage:
    return PatientStorage(inner, "db", **{"sleep": lambda s: None, **more})


WRITES = (
    *("create_new_trial", "set_trial_param", "set_trial_state_values", "set_trial_user_attr"),
    *("set_trial_intermediate_value", "set_trial_system_attr", "get_all_trials", "get_trial"),
)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_whatever_fails_and_whether_it_was_done_the_study_is_the_same(
    name: str, after: bool
) -> None:
    def search(inner: InMemoryStorage) -> list[tuple[Any, ...]]:
        study = optuna.create_study(
            storage=patient(inner),
            direction="maximize",
            sampler=make_sampler("random", 0),
            pruner=pausing_pruner(),
        )
        inner.n_failures = 2 if isinstance(inner, Flaky) else 0  # type: ignore[attr-defined]
        run_inline(pausing_source(study, n_trials=4), resuming(make_run_job()))
        return left_in(study)

    assert search(Flaky(name, 0, after=after)) == search(InMemoryStorage())


def left_in(study: Study) -> list[tuple[Any, ...]]:
    return [
        (t.number, t.state, t.params, t.intermediate_values, t.user_attrs.get("recipe"))
        for t in study.trials
    ]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.RUNNING])
def test_a_state_that_was_set_before_its_answer_was_lost_is_set(state: TrialState) -> None:
    inner = Flaky("set_trial_state_values", 0, after=True)
    study_id = inner.create_new_study([StudyDirection.MAXIMIZE], "s")
    waiting = FrozenTrial(-1, TrialState.WAITING, None, None, None, {}, {}, {}, {}, {}, -1)
    trial_id = inner.create_new_trial(study_id, waiting)
    inner.n_failures = 1
    values: Sequence[float] | None = [0.5] if state == TrialState.COMPLETE else None
    assert patient(inner).set_trial_state_values(trial_id, state, values) is True


def test_after_too_long_it_gives_up_and_says_how_to_go_on() -> None:
    waited: list[float] = []
    inner = Flaky("get_all_studies", 10**6, after=False, error=StorageInternalError("no route"))
    storage = patient(inner, patience_s=60.0, sleep=waited.append)
    with pytest.raises(ResourceError, match=r"'db' has not answered for 6\d s: no route\. What"):
        storage.get_all_studies()
    assert 60.0 <= sum(waited) < 66.0
    assert max(waited) == 5.0


@pytest.mark.parametrize(
    "said", ["database or disk is full", "attempt to write a readonly database"]
)
def test_where_there_is_no_room_it_does_not_wait(said: str) -> None:
    error = OperationalError("INSERT", None, Exception(said))
    inner = Flaky("set_study_user_attr", 9, after=False, error=error)
    with pytest.raises(OutputError, match=r"can't be written: .*Make room"):
        patient(inner).set_study_user_attr(0, "a", 1)
    assert inner.n_failures == 8


@pytest.mark.integration
def test_a_search_outlives_its_postgresql_server(
    postgres_server: PostgresServer,  # noqa: F811
) -> None:
    server = postgres_server
    url = server.database()

    def opened(name: str) -> Study:
        return open_study(url, name, sampler=make_sampler("random", 0), pruner=pausing_pruner())

    run_inline(pausing_source(opened("whole"), n_trials=4), resuming(make_run_job()))
    source = pausing_source(opened("killed"), n_trials=4)
    n_events, restarts = 0, []

    def restart() -> None:
        server.start()

    def killing(job: Any) -> Any:
        nonlocal n_events
        for event in resuming(make_run_job())(job):
            n_events += 1
            if n_events in (10, 60):
                server.kill()
                restarts.append(threading.Timer(0.5, restart))
                restarts[-1].start()
            yield event

    run_inline(source, killing)
    for timer in restarts:
        timer.join()
    assert len(restarts) == 2
    assert left_in(opened("killed")) == left_in(opened("whole"))
