"""The tasks that one contract holds for: each is a dataset that comes with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from energytune.config import FinetuneConfig, ProbeConfig, Recipe
from energytune.data import get_dataset
from energytune.trial import Job
from energytune.trial.bench import Bench, BenchSpec

EMBEDDED_TASKS = ("digits", "molecules", "digit-scenes")
HEADS = {
    "digits": ("linear", "mlp"),
    "molecules": ("linear", "mlp"),
    "digit-scenes": ("linear", "aspp"),
}


@pytest.fixture(params=EMBEDDED_TASKS)
def task_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def _contract_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features are the same for every test, so they are extracted once."""
    return tmp_path_factory.mktemp("contract-cache")


@pytest.fixture
def make_bench(task_name: str, _contract_cache: Path, tmp_path: Path) -> Callable[..., Bench]:
    """Benches with a random backbone: what must hold does not depend on pretraining."""

    def make(**changes) -> Bench:
        fields = {
            "dataset": task_name,
            "backbone": get_dataset(task_name).backbone,
            "probe": ProbeConfig(batch_size=16),
            "finetune": FinetuneConfig(epochs=2, batch_size=16, patience=None),
            "cache": _contract_cache,
            "model_dir": tmp_path / "models",
            "weights": "none",
        } | changes
        return BenchSpec(**fields).build()

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture(params=(0, 1), ids=("head", "second"))
def head_arch(request: pytest.FixtureRequest, task_name: str) -> str:
    return HEADS[task_name][request.param]


@pytest.fixture
def make_job() -> Callable[..., Job]:
    def make(tau: int = 3, *, seed: int = 0, role: str = "search", **dimensions) -> Job:
        recipe = Recipe(tau=tau, **({"ft_lr": 0.01} | dimensions))
        return Job(f"t{tau:03d}", 0, recipe, seed, role)

    return make
