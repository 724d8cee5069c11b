# ruff: noqa: D102 - methods are those of optuna.storages.BaseStorage
"""A study's database that may go away for a while: the search waits and goes on.

A write whose answer was lost may have been made or not. Setting a value twice is harmless; for the
two writes that are not, what the database holds says whether they were made. That is certain since
one process alone writes to a study (:mod:`.lease`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from energytune.errors import OutputError, ResourceError

__all__ = ["PATIENCE_S", "PatientStorage"]

PATIENCE_S = 300.0
"""How long a search waits for its database: as long as a server takes to be started again."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_NO_ROOM = ("disk is full", "no space left", "readonly database", "read-only transaction")
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class PatientStorage(BaseStorage):
    """Asks another storage, again and again while it can't be reached.

    Args:
        inner: The storage that is asked.
        where: What it is called in messages, without a password.
        patience_s: Seconds to wait at most, >= 0.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        inner: BaseStorage,
        where: str,
        *,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._inner, self._where = inner, where
        self._patience_s, self._sleep = patience_s, sleep

    def _ask(self, ask: Callable[[], T], asked_before: Callable[[], T | None] | None = None) -> T:
        """Returns what ``ask`` does.

        Args:
            ask: Asks the storage.
            asked_before: For a write that must not be made twice: returns its answer if an
                attempt whose answer was lost has made it, else None.

        Raises:
            OutputError: The database's disk is full or read-only.
            ResourceError: It was out of reach for too long.
        """
        pause_s, waited_s = _FIRST_PAUSE_S, 0.0
        while True:
            try:
                if waited_s and asked_before is not None:
                    answer = asked_before()
                    if answer is not None:
                        return answer
                return ask()
            except (StorageInternalError, DBAPIError) as error:
                said = f"{error} {error.__cause__ or ''}".strip()
                if any(words in said.lower() for words in _NO_ROOM):
                    raise OutputError(
                        f"The database {self._where!r} can't be written: {_first(said)}. Make "
                        "room there, then run the same command again to go on."
                    ) from error
                if waited_s >= self._patience_s:
                    raise ResourceError(
                        f"The database {self._where!r} has not answered for {waited_s:.0f} s: "
                        f"{_first(said)}. What has ended is kept; start it, then run the same "
                        "command again to go on."
                    ) from error
                if not waited_s:
                    _LOG.warning(
                        "The database %r does not answer; the search waits for up to %.0f s.",
                        self._where,
                        self._patience_s,
                    )
                self._sleep(pause_s)
                waited_s += pause_s
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self._ask(lambda: self._inner.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        self._ask(lambda: self._inner.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._ask(lambda: self._inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._ask(lambda: self._inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._ask(lambda: self._inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._ask(lambda: self._inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._ask(lambda: self._inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._ask(lambda: self._inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._ask(lambda: self._inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._ask(self._inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        n_before = self.get_n_trials(study_id)

        def made() -> int | None:
            trials = self._inner.get_all_trials(study_id, deepcopy=False)
            return trials[-1]._trial_id if len(trials) > n_before else None

        return self._ask(lambda: self._inner.create_new_trial(study_id, template_trial), made)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._ask(
            lambda: self._inner.set_trial_param(
                trial_id, param_name, param_value_internal, distribution
            )
        )

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._ask(
            lambda: self._inner.get_trial_id_from_study_id_trial_number(study_id, trial_number)
        )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        def is_set() -> bool | None:
            return self._inner.get_trial(trial_id).state == state or None

        try:
            return self._ask(
                lambda: self._inner.set_trial_state_values(trial_id, state, values), is_set
            )
        except UpdateFinishedTrialError:
            if is_set():
                return True
            raise

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._ask(
            lambda: self._inner.set_trial_intermediate_value(trial_id, step, intermediate_value)
        )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._ask(lambda: self._inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._ask(lambda: self._inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._ask(lambda: self._inner.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._ask(lambda: self._inner.get_all_trials(study_id, deepcopy, states))

    def remove_session(self) -> None:
        self._inner.remove_session()


def _first(said: str) -> str:
    return said.splitlines()[0].rstrip(".")
