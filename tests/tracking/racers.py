"""Processes that register models at the same moment; they import nothing of pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient

from energytune.config import Recipe
from energytune.tasks.evidence import Evidence, evidence_of_correct
from energytune.tracking.client import open_client
from energytune.tracking.reconcile import champion_version
from energytune.tracking.registry import register_winner
from energytune.trial.evidence_file import write_evidence

N_PROCESSES = 6
N_ROUNDS = 15
ROUNDS_A_MODEL = 5
METRICS = ("accuracy", "miou", "accuracy")
"""Of the registered models, one for every five rounds."""


Shared = MutableMapping[tuple[int, int], int]
_PATIENCE_S = 240.0


def dataset(n_round: int) -> str:
    return f"race-{n_round // ROUNDS_A_MODEL}"


def evidence(n_round: int, rank: int) -> Evidence:
    """Models become better from round to round; within one several take over from each other.

    Differences are clear: 20 examples or more of 1,000 on the same side.
    """
    place = int(np.random.default_rng(n_round).permutation(N_PROCESSES)[rank])
    step = 3 * (n_round % ROUNDS_A_MODEL) + place  # 0 to 17
    if METRICS[n_round // ROUNDS_A_MODEL] == "accuracy":
        return evidence_of_correct([i < 500 + 25 * step for i in range(1000)])
    labelled = np.full((60, 2), 50)
    hits = np.random.default_rng([n_round, rank]).binomial(labelled, 0.4 + 0.03 * step)
    return Evidence("miou", {"counts": np.stack([hits, labelled, labelled], axis=1)})


class Meeting:
    """Makes each round a race whatever the machine's load: the latest news is written first.

    Every process reads the registry, and what it writes to the alias first is held back until all
    have read; then the writes come in falling order, so that the most outdated one is the last.

    Args:
        rank: Of this process.
        posted: By round, what each process is about to write; shared.
        written: By round, which processes have written it; shared.
    """

    def __init__(self, rank: int, posted: Shared, written: Shared) -> None:
        self._rank, self._posted, self._written = rank, posted, written
        self._write = MlflowClient.set_registered_model_alias
        self._round = 0

    def begin(self, n_round: int) -> None:
        """Begins a round."""
        self._round = n_round

    def end(self) -> None:
        """Tells the others that this process, if it has not written yet, writes nothing."""
        if (self._round, self._rank) not in self._posted:
            self._posted[self._round, self._rank] = 0

    def write(self, client: MlflowClient, name: str, alias: str, version: str) -> None:
        """Takes the place of the client's method."""
        me = (self._round, self._rank)
        if me not in self._posted:
            self._posted[me] = int(version)
            others = [(self._round, rank) for rank in range(N_PROCESSES)]
            self._wait_for(lambda: all(key in self._posted for key in others))
            ahead = [key for key in others if self._posted[key] > int(version)]
            self._wait_for(lambda: all(key in self._written for key in ahead))
        self._write(client, name, alias, version)
        self._written[me] = 1

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"process {self._rank} waited in vain in round {self._round}")
            time.sleep(0.02)


def race(
    rank: int,
    uri: str,
    root: Path,
    weights: Path,
    spec: dict[str, Any],
    barrier: Barrier,
    posted: Shared,
    written: Shared,
) -> list[int | None]:
    """Registers one version a round, all processes at once.

    Returns:
        Where the alias points after each round, as this process reads it.
    """
    client = open_client(uri)
    meeting = Meeting(rank, posted, written)

    def write(self: MlflowClient, name: str, alias: str, version: str) -> None:
        meeting.write(self, name, alias, version)

    seen = []
    with patched(MlflowClient, "set_registered_model_alias", write):
        for n_round in range(N_ROUNDS):
            meeting.begin(n_round)
            barrier.wait(_PATIENCE_S)
            _register(n_round, rank, uri, root, weights, spec)
            meeting.end()
            barrier.wait(_PATIENCE_S)
            seen.append(champion_version(client, f"energytune-{dataset(n_round)}"))
    return seen


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _register(
    n_round: int, rank: int, uri: str, root: Path, weights: Path, spec: dict[str, Any]
) -> None:
    found = evidence(n_round, rank)
    folder = root / f"{n_round}-{rank}"
    folder.mkdir()
    path = None
    if found.metric != "accuracy":
        path = write_evidence(folder / "models" / "e.safetensors", found)
    register_winner(
        uri,
        dataset(n_round),
        run_folder=folder,
        weights=weights,
        spec=spec,
        score=found.score(),
        protocol="p",
        correct=[] if path else np.asarray(found.arrays["correct"]).tolist(),
        evidence=path,
        recipe=Recipe(tau=9, ft_lr=0.01),
        run_uid=f"{n_round}-{rank}",
        search_id=f"s-{n_round}-{rank}",
        input_shape=(64,),
        metric=found.metric,
    )


def register_same(
    uri: str, root: Path, weights: Path, spec: dict[str, Any], barrier: Barrier
) -> int:
    """Registers one finished search, as every other process does at the same moment."""
    open_client(uri)
    root.mkdir(parents=True, exist_ok=True)
    barrier.wait(_PATIENCE_S)
    return register_winner(
        uri,
        "same",
        run_folder=root,
        weights=weights,
        spec=spec,
        score=0.5,
        protocol="p",
        correct=[True, False],
        recipe=Recipe(tau=9, ft_lr=0.01),
        run_uid="the-run",
        search_id="the-search",
        input_shape=(64,),
    ).version
