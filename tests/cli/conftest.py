"""A search that runs nothing: what the command line does before and after it is tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from energytune.cli.options import SearchOptions
from energytune.config import SearchConfig
from energytune.science.noise import SeedNoise
from energytune.trial import TrialRecord
from tests.report.hand_made import small_confirmation, small_search

MODEL = SimpleNamespace(
    name="energytune-digits", version="3", is_champion=True, decision="90.0 % beats 85.0 %"
)
TRACKING = SimpleNamespace(
    uri="sqlite:////somewhere/mlflow.db",
    link="http://127.0.0.1:5000/#/experiments/1?compareRunsMode=CHART&filter=" + "x" * 150,
    warning=None,
    n_unsent=0,
)


@dataclass
class FakeResult:
    config: SearchConfig
    records: list[TrialRecord] = field(default_factory=small_search)
    confirmations: list[TrialRecord] = field(default_factory=small_confirmation)
    winner: TrialRecord | None = field(default_factory=lambda: small_search()[2])
    baselines: dict[str, TrialRecord] = field(
        default_factory=lambda: {"tau=0": small_search()[0], "tau=max": small_search()[1]}
    )
    confirmed: list[Any] = field(default_factory=list)
    seed_noise: SeedNoise | None = None
    registered: Any = field(default_factory=lambda: MODEL)
    tracking: Any = field(default_factory=lambda: TRACKING)
    plan: Any = None
    written_bytes: int = 0
    seconds: dict[str, float] = field(
        default_factory=lambda: {"total": 75.0, "search": 60.0, "hp": 999.0, "ft": 888.0}
    )
    interrupted: bool = False
    n_duplicates: int = 1
    end_reason: str = "5 trials"
    metric: str = "accuracy"
    score_name: str = "accuracy"
    out: Path = Path("/runs/digits one")


MakeResult = Callable[..., FakeResult]


@pytest.fixture
def make_result(tmp_path: Path) -> MakeResult:
    """Makes a result of the default search, with changes."""

    def make(**changes: Any) -> FakeResult:
        return FakeResult(SearchOptions(out=tmp_path / "run").to_config("default"), **changes)

    return make


class Stub:
    """Stands in for ``run_search``; tells the observers of one trial after the other.

    Attributes:
        configs: Settings of the calls so far.
        changes: What is other than usual in the result.
        failure: Is raised in place of a result.
    """

    def __init__(self) -> None:
        self.configs: list[SearchConfig] = []
        self.changes: dict[str, Any] = {}
        self.failure: BaseException | None = None

    def run_search(self, config, *, observers, progress) -> FakeResult:
        self.configs.append(config)
        if self.failure is not None:
            raise self.failure
        with progress.stage("pretraining digits-mlp", total=2) as advance:
            advance(1)
            advance(1)
        result = FakeResult(config, **self.changes)
        for record in [*result.records, *result.confirmations]:
            for observer in observers:
                observer.job_started(record.job)
                observer.job_ended(record)
        return result


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Takes the place of the composition root, so that neither Ray nor MLflow is imported."""
    stub = Stub()
    monkeypatch.setitem(sys.modules, "energytune.tune", stub)
    return stub


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command line in an empty folder."""
    from energytune.cli.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*args: str):
        return CliRunner().invoke(app, [*args])

    return invoke
