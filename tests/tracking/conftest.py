"""Hand-made trials, and a cache folder of the tests' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energytune.config import Recipe, snapshot_epochs
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, TestResult, TrialRecord

START_MS = 1_800_000_000_000


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # one for the session: the template store in it takes seconds to make
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(session_cache))


@pytest.fixture
def make_record() -> Callable[..., TrialRecord]:
    def make(
        number: int = 0,
        state: str = "COMPLETE",
        *,
        tau: int = 9,
        n_epochs: int = 20,
        reason: str = "",
        role: str = "search",
        objective: float = 0.8,
        test: TestResult | None = None,
        **more: Any,
    ) -> TrialRecord:
        recipe = Recipe(tau=tau, head_arch="mlp", label_smoothing=0.1, ft_lr=0.01)
        job = Job(f"t{number:03d}", number, recipe, 0, role)  # type: ignore[arg-type]
        shots = tuple(
            ProbeSnapshot(e, 0.1 + 0.01 * i, 1.0, 0.2, 1.5, 1.2 - 0.01 * i, 3.0 + i, 0.5)
            for i, e in enumerate(snapshot_epochs(tau))
        )
        epochs = tuple(
            FinetuneEpoch(e, 1 / e, 1 - 1 / (e + 1), 0.5, objective - 0.001 * abs(e - 7))
            for e in range(1, n_epochs + 1)
        )
        drift = {"feature_distance": 1.0, "feature_cosine": 0.9}
        done = Finished(objective, 7, 0.5, drift, test) if state == "COMPLETE" else None
        times = {"seconds_hp": 1.0, "seconds_ft": 4.0}
        times |= {"started_ms": START_MS + 10_000 * number}
        times |= {"ended_ms": START_MS + 10_000 * number + 5000}
        fields: dict[str, Any] = {**times, **more}
        return TrialRecord(job, state, reason, shots, epochs, done, **fields)  # type: ignore[arg-type]

    return make
