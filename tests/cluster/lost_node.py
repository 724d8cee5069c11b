"""Run as a script by ``test_node_lost``: jobs on two nodes, one of which is lost in mid-run.

It prints one JSON document: how each job ended, which epochs were told of it, where it ran.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import ray
from cluster_fakes import RecordingSource, epoch
from ray._common.utils import get_default_ray_temp_dir
from ray.cluster_utils import Cluster

from energytune.cluster import ClusterConfig, RayCluster, run_jobs
from energytune.trial import EpochsDone, Event, Finished, Job

N_EPOCHS = 12


def make_run_job(folder: Path) -> Callable[[Job], Generator[Event, None, None]]:
    def run_job(job: Job) -> Generator[Event, None, None]:
        node = ray.util.get_node_ip_address()
        with (folder / job.id).open("a") as file:
            file.write(f"{node}\n")
        kept = folder / f"{job.id}.kept"  # its checkpoint, on what all nodes share
        done = int(kept.read_text()) if kept.exists() else 0
        for number in range(1, N_EPOCHS + 1):
            if number > done:
                time.sleep(0.25)
                kept.write_text(str(number))
            yield epoch(number)
        yield Finished(0.5, 1, 1.0, {})

    return run_job


class Losing(RecordingSource):
    """Loses a node once a job that runs there has told three epochs."""

    def __init__(self, ids: Sequence[str], folder: Path, lose: Callable[[], object]) -> None:
        super().__init__(ids)
        self._folder, self._lose, self.lost = folder, lose, False

    def on_events(self, job_id: str, events: Sequence[Event]) -> bool:
        stops = super().on_events(job_id, events)
        told = [e.epochs[-1].epoch for e in events if isinstance(e, EpochsDone)]
        on_it = "127.0.0.3" in (self._folder / job_id).read_text()
        if on_it and not self.lost and told and told[-1] >= 3:
            self.lost = True
            self._lose()
        return stops


def main(temp_dir: str, folder: Path) -> None:
    os.environ.update(RAY_worker_niceness="0")  # other tests keep the machine busy
    os.makedirs(get_default_ray_temp_dir(), exist_ok=True)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "node_ip_address": "127.0.0.2",
            "include_dashboard": False,
            "temp_dir": temp_dir,
        },
    )
    second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3")
    third = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.4")
    cluster.wait_for_nodes()
    source = Losing(
        [f"job-{i}" for i in range(5)],
        folder,
        lambda: cluster.remove_node(second, allow_graceful=False),
    )
    config = ClusterConfig(str(cluster.address), None, 1, 0.0, folder / "ray")
    with RayCluster(config) as joined:
        n_slots = joined.concurrency
        run_jobs(joined, source, lambda: make_run_job(folder), min_report_s=0.0)
    told: dict[str, Any] = {
        job_id: [
            e.epoch for event in source.events(job_id) if isinstance(event, EpochsDone)
            for e in event.epochs
        ]
        for job_id in source.ends
    }  # fmt: skip
    where = {job_id: (folder / job_id).read_text().split() for job_id in source.ends}
    sys.stdout.write(
        json.dumps({"ends": source.ends, "told": told, "where": where, "slots": n_slots}) + "\n"
    )
    sys.stdout.flush()
    cluster.remove_node(third)
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
