"""Six processes register at once, on SQLite and on PostgreSQL: the champion is the right one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from scipy.stats import binomtest

from energytune.tasks.evidence import Evidence
from energytune.tracking.client import open_client
from energytune.tracking.paired import paired_test
from energytune.tracking.store import default_uri
from tests.postgres import postgres_server  # noqa: F401 - a fixture
from tests.tracking import racers
from tests.tracking.racers import METRICS, N_PROCESSES, N_ROUNDS, ROUNDS_A_MODEL

ALPHA = 0.05


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store on each database, with its tables."""
    if request.param == "SQLite":
        return default_uri(tmp_path)
    return str(request.getfixturevalue("postgres_server").database())


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes with nothing open, as searches are; what takes long to import is there."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["energytune.tracking.package", "energytune.tracking.registry"])
    with ProcessPoolExecutor(N_PROCESSES, mp_context=server) as pool:
        yield pool


@pytest.fixture(scope="module")
def manager() -> Iterator[SyncManager]:
    """Lends barriers to all processes."""
    with multiprocessing.get_context("forkserver").Manager() as manager:
        yield manager


def wins(new: Evidence, old: Evidence, k: int) -> bool:
    """Whether the k-th challenger takes over: written again, without the package's fold."""
    level = ALPHA / (k * (k + 1))
    if new.score() <= old.score():
        return False
    if new.metric != "accuracy":
        return paired_test(new, old, level).p_value < level
    mine, others = (np.asarray(e.arrays["correct"]) for e in (new, old))
    gained, lost = int((mine & ~others).sum()), int((others & ~mine).sum())
    return bool(gained > lost and binomtest(gained, gained + lost).pvalue < level)


def right_champions(client: MlflowClient, name: str) -> list[int]:
    """Plays the versions one after the other; returns the champion after each round."""
    versions = sorted(
        client.search_model_versions(f"name = '{name}'"), key=lambda v: int(v.version)
    )
    assert [int(v.version) for v in versions] == list(range(1, len(versions) + 1))
    rounds, champions = [], []
    champion: tuple[int, Evidence] | None = None
    for k, version in enumerate(versions):
        n_round, rank = (int(x) for x in version.tags["energytune.uid"].split("-"))
        found = racers.evidence(n_round, rank)
        if champion is None or wins(found, champion[1], k):
            champion = (int(version.version), found)
        rounds.append(n_round)
        champions.append(champion[0])
    assert rounds == sorted(rounds)
    return champions[N_PROCESSES - 1 :: N_PROCESSES]


@pytest.mark.integration
def test_six_processes_and_fifteen_rounds_end_with_the_right_champion(
    uri: str,
    tmp_path: Path,
    weights: tuple[Path, dict[str, Any]],
    processes: ProcessPoolExecutor,
    manager: SyncManager,
) -> None:
    client = open_client(uri)  # makes the tables
    barrier = manager.Barrier(N_PROCESSES)
    shared = (manager.dict(), manager.dict())
    running = [
        processes.submit(racers.race, rank, uri, tmp_path, *weights, barrier, *shared)
        for rank in range(N_PROCESSES)
    ]
    seen = [process.result() for process in running]
    right: list[int] = []
    for first in range(0, N_ROUNDS, ROUNDS_A_MODEL):
        right += right_champions(client, f"energytune-{racers.dataset(first)}")
    assert len(right) == N_ROUNDS
    assert len(set(right)) > len(METRICS)  # the champion has moved within a model's rounds
    assert seen == [right] * N_PROCESSES


@pytest.mark.integration
def test_a_search_that_six_processes_register_is_one_version(
    uri: str,
    tmp_path: Path,
    weights: tuple[Path, dict[str, Any]],
    processes: ProcessPoolExecutor,
    manager: SyncManager,
) -> None:
    client = open_client(uri)
    barrier = manager.Barrier(N_PROCESSES)
    running = [
        processes.submit(racers.register_same, uri, tmp_path / str(i), *weights, barrier)
        for i in range(N_PROCESSES)
    ]
    versions = {process.result() for process in running}
    there = client.search_model_versions("name = 'energytune-same'")
    assert {int(v.version) for v in there} == versions
    assert len(versions) == 1
