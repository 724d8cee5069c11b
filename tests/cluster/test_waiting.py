from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from cluster_fakes import RecordingSource, job_factory

from energytune.cluster import RayCluster, run_jobs, run_once
from energytune.cluster import waiting as module
from energytune.cluster.waiting import Waiting, describe_wait
from energytune.errors import ConfigError, ResourceError
from energytune.progress import Advance


class Told:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        self.lines.append(f"{name} ...")
        yield lambda n_units: None
        self.lines.append(f"{name}: done")


def controller(*, asked: int = 0, given: int = 0, held: int = 0) -> Any:
    """What Ray Tune has of a search with so many placement groups."""
    manager = SimpleNamespace(
        _request_to_staged_pgs={"request": set(range(asked))},
        _request_to_ready_pgs={"request": set(range(given))},
        _acquired_pgs=set(range(held)),
    )
    return SimpleNamespace(_actor_manager=SimpleNamespace(_resource_manager=manager))


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A watch that looks at a clock and at a situation of the test's own."""
    told, now = Told(), [0.0]
    watch = Waiting(None, told, clock=lambda: now[0])  # type: ignore[arg-type]
    monkeypatch.setattr(module, "situation", lambda cluster: f"waits at {now[0]:g}")

    def at(second: float, state: Any) -> list[str]:
        now[0] = second
        watch.look(state)
        return told.lines

    return SimpleNamespace(at=at, watch=watch, told=told)


def test_it_is_told_once_in_each_wait_within_thirty_seconds(waiting: Any) -> None:
    waits, runs = controller(asked=2), controller(asked=1, held=1)
    assert waiting.at(0.0, waits) == []
    assert waiting.at(9.0, waits) == []
    told = ["waits at 10", "waiting for resources ..."]
    assert waiting.at(10.0, waits) == told
    assert waiting.at(99.0, waits) == told
    told.append("waiting for resources: done")
    assert waiting.at(100.0, runs) == told
    assert waiting.at(101.0, waits) == told
    assert waiting.at(110.0, waits) == told
    assert waiting.at(111.0, waits)[3:] == ["waits at 111", "waiting for resources ..."]
    waiting.watch.close()
    assert waiting.told.lines[-1] == "waiting for resources: done"


@pytest.mark.parametrize(
    "state",
    [
        None,
        controller(),
        controller(held=3),
        controller(asked=1, given=1),
        controller(asked=5, held=1),
        SimpleNamespace(),
        SimpleNamespace(_actor_manager=SimpleNamespace(_resource_manager=SimpleNamespace())),
    ],
)
def test_nothing_is_told_while_something_runs_or_nothing_is_asked(waiting: Any, state: Any) -> None:
    for second in range(0, 100, 5):
        assert waiting.at(float(second), state) == []


def test_a_wait_is_told_with_what_is_wanted_free_and_there() -> None:
    nodes = [
        ("10.0.0.1", {"CPU": 8.0}, {}),
        ("10.0.0.2", {"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 0.5}),
    ]
    assert describe_wait({"CPU": 4.0, "GPU": 1.0}, nodes) == (
        "no trial can start: each needs 4 CPU and 1 GPU on one node, and other jobs hold them; the "
        "search goes on when they are free. Free now: 10.0.0.1 0 of 8 CPU, 0 of 0 GPU; "
        "10.0.0.2 3 of 8 CPU, 0.5 of 2 GPU"
    )
    assert describe_wait({"CPU": 1.0}, nodes * 10).endswith("; and 12 more nodes")


@ray.remote(num_cpus=1)
class _Holder:
    def answer(self) -> bool:
        return True


@pytest.mark.integration
def test_jobs_start_when_others_let_go_of_the_resources(
    cluster_of_two: RayCluster, tmp_path: Path
) -> None:
    holders = [_Holder.remote() for _ in range(2)]
    assert ray.get([holder.answer.remote() for holder in holders]) == [True, True]

    class LetGo(Told):
        def note(self, text: str) -> None:
            super().note(text)
            for holder in holders:
                ray.kill(holder)

    told, source = LetGo(), RecordingSource(["ok-1", "ok-2"])
    run_jobs(cluster_of_two, source, job_factory(tmp_path), progress=told)
    assert source.ends == {"ok-1": None, "ok-2": None}
    note, *stages = told.lines
    assert note.startswith("no trial can start: each needs 1 CPU on one node")
    assert note.endswith(" 0 of 2 CPU")
    assert stages == ["waiting for resources ...", "waiting for resources: done"]


@pytest.mark.integration
def test_a_function_runs_once_in_a_worker_with_a_jobs_resources(
    cluster_of_two: RayCluster,
) -> None:
    here, told = os.getpid(), Told()

    def work() -> tuple[bool, str]:
        assigned = ray.get_runtime_context().get_assigned_resources()
        return os.getpid() != here, str(assigned["CPU"])

    assert run_once(cluster_of_two, work, "preparing", told) == (True, "1.0")
    assert told.lines == ["preparing ...", "preparing: done"]

    def fail() -> None:
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match=r"^no such thing$"):
        run_once(cluster_of_two, fail, "preparing", told)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ResourceError, match="worker that prepared the search was lost"):
        run_once(cluster_of_two, die, "preparing", told)
