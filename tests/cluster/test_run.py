"""Jobs on a real Ray of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import ray
from cluster_fakes import PROBED, RecordingSource, epoch, job_factory

from energytune.cluster import RayCluster, run_jobs
from energytune.trial import Event, Finished, run_inline
from tests.processes import commands, running_below

pytestmark = pytest.mark.integration


def test_sees_the_same_calls_as_the_plain_loop(cluster_of_one: RayCluster, tmp_path: Path) -> None:
    ids, stop_at = ["ok-1", "boom-2", "ok-3", "|", "ok-4"], {"ok-3": 2}
    make_run_job = job_factory(tmp_path, tell_pid=False)
    plain, on_ray = RecordingSource(ids, stop_at), RecordingSource(ids, stop_at)
    run_inline(plain, make_run_job())
    run_jobs(cluster_of_one, on_ray, make_run_job, min_report_s=0.0)
    assert on_ray.calls == plain.calls
    assert on_ray.ends["boom-2"] == "ValueError: no such thing"
    assert (tmp_path / "closed-ok-3").exists()


def test_a_worker_outlives_crashed_and_stopped_jobs(
    cluster_of_one: RayCluster, tmp_path: Path
) -> None:
    source = RecordingSource(["ok-1", "boom-2", "ok-3", "slow-4", "ok-5"], {"slow-4": 1})
    run_jobs(cluster_of_one, source, job_factory(tmp_path), flush_epochs=frozenset({1}))
    assert source.ends == {
        "ok-1": None,
        "boom-2": "ValueError: no such thing",
        "ok-3": None,
        "slow-4": None,
        "ok-5": None,
    }
    assert len({source.pid(name) for name in ("ok-1", "ok-3", "ok-5")}) == 1
    assert (tmp_path / "made").read_text().count("\n") == 1
    assert source.events("slow-4") == [PROBED, epoch(1)]
    assert (tmp_path / "closed-slow-4").exists()


def test_two_at_once_end_once_each_and_both_workers_outlive_a_wait(
    cluster_of_two: RayCluster, tmp_path: Path
) -> None:
    ids = ["meet-1", "meet-2", "slow-3", "slow-4", "|", "slow-5", "slow-6", "slow-7"]
    source = RecordingSource(ids)
    source_lock = threading.Lock()
    source.lock = source_lock  # type: ignore[attr-defined]
    run_jobs(cluster_of_two, source, job_factory(tmp_path, n_epochs=6))
    assert source.ends == {name: None for name in ids if name != "|"}
    assert source.most_running == 2
    assert source.pid("meet-1") != source.pid("meet-2")
    assert len({source.pid(name) for name in source.ends}) == 2
    assert (tmp_path / "made").read_text().count("\n") == 2
    for name in source.ends:
        assert source.events(name)[:-1] == [PROBED, *(epoch(n) for n in range(1, 7))]


def test_a_killed_worker_is_replaced_and_a_job_that_kills_all_of_them_has_failed(
    cluster_of_two: RayCluster, tmp_path: Path
) -> None:
    source = RecordingSource(["dieonce-1", "die-2", "ok-3", "ok-4"])
    run_jobs(cluster_of_two, source, job_factory(tmp_path), min_report_s=0.0)
    ends = source.ends
    reason = ends.pop("die-2")
    assert reason is not None
    assert reason.startswith("its worker process died")
    assert ends == {"dieonce-1": None, "ok-3": None, "ok-4": None}
    told = source.events("dieonce-1")
    assert told[:-1] == [PROBED, epoch(1), epoch(2), epoch(3)]
    assert isinstance(told[-1], Finished)


def test_stops_when_it_should_and_tells_running_jobs(
    cluster_of_two: RayCluster, tmp_path: Path
) -> None:
    source = RecordingSource(["ok-1", "stuck-2", "stuck-3"])
    run_jobs(
        cluster_of_two,
        source,
        job_factory(tmp_path, n_epochs=500),
        min_report_s=0.0,
        # both are running: one worker may be up seconds before the other
        should_stop=lambda: all(len(source.events(f"stuck-{n}")) >= 2 for n in (2, 3)),
    )
    assert source.ends == {"ok-1": None, "stuck-2": "interrupted", "stuck-3": "interrupted"}
    assert (tmp_path / "closed-stuck-2").exists()


def test_what_the_source_raises_reaches_the_caller(
    cluster_of_two: RayCluster, tmp_path: Path
) -> None:
    class Full(RecordingSource):
        def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
            raise OSError("disk full")

    source = Full(["ok-1", "slow-2"])
    with pytest.raises(OSError, match="disk full"):
        run_jobs(cluster_of_two, source, job_factory(tmp_path))
    assert set(source.ends) == {"ok-1", "slow-2"} - set(source.todo)


def test_a_ray_of_our_own_works_at_the_priority_of_the_search(
    cluster_of_one: RayCluster, tmp_path: Path
) -> None:
    source = RecordingSource(["ok-1"])
    run_jobs(cluster_of_one, source, job_factory(tmp_path))
    finished = source.events("ok-1")[-1]
    assert isinstance(finished, Finished)
    assert finished.adaptation["niceness"] == os.nice(0)


def test_a_ray_of_our_own_has_no_services_that_nobody_asks_for(cluster_of_two: RayCluster) -> None:
    lines = commands(running_below(os.getpid()))
    assert [line for line in lines if "raylet" in line]
    services = ("dashboard/dashboard.py", "autoscaler/_private/monitor.py", "log_monitor.py")
    assert [line for line in lines if any(service in line for service in services)] == []
    assert ray._private.node.Node.start_monitor.__name__ == "start_monitor"  # a joined one has all
