"""Hand-made trials, and a cache folder of the tests' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import save_file

from energytune.config import Recipe, snapshot_epochs
from energytune.models import build_model, create_backbone
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, TestResult, TrialRecord

if TYPE_CHECKING:
    from tests.tracking.three_searches import ThreeSearches

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


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    backbone = create_backbone("digits-mlp", weights="none", seed=1)
    model = build_model(backbone, head_arch="linear", n_outputs=10, reinit_depth=0, seed=5)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path, model.spec()


@pytest.fixture(scope="session")
def three_searches(
    tmp_path_factory: pytest.TempPathFactory, session_cache: Path
) -> Iterator[ThreeSearches]:
    """The store of ``tests/tracking/three_searches.py``; for all tests, to look at only."""
    from tests.tracking.three_searches import make_three_searches

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", str(session_cache))
        yield make_three_searches(tmp_path_factory.mktemp("three") / "energytune-runs")
