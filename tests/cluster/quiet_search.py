"""Run as a script by ``test_processes``: a search of its own, then one that Ctrl-C ends.

Usage: ``quiet_search.py FOLDER ADDRESS`` (``-`` for a Ray of its own). It prints nothing; what
happened is in ``FOLDER/outcome.json``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import ray
import ray.cloudpickle

sys.path.insert(0, str(Path(__file__).parent))
import cluster_fakes
from cluster_fakes import RecordingSource, job_factory

from energytune.cluster import ClusterConfig, RayCluster, run_jobs

ray.cloudpickle.register_pickle_by_value(cluster_fakes)


_SET = ("TUNE_DISABLE", "RAY_USAGE", "RAY_preload")


class ImpatientSource(RecordingSource):
    """Sends Ctrl-C to its own process when both jobs have told something."""

    def on_events(self, job_id, events):
        stop = super().on_events(job_id, events)
        told = {call[1] for call in self.calls if call[0] == "events"}
        if len(told) == len(self.running) == 2 and not self.todo:
            self.todo.append("never-started")
            os.kill(os.getpid(), signal.SIGINT)
        return stop


def main(folder: Path, address: str | None) -> None:
    outcome = {}
    config = ClusterConfig(address, None if address else 2, 1, 0.0, folder / "ray", preload=())
    with RayCluster(config) as cluster:
        outcome["concurrency"] = cluster.concurrency
        source = RecordingSource(["meet-1", "meet-2", "boom-3", "die-4", "ok-5"])
        run_jobs(cluster, source, job_factory(folder, n_epochs=20), min_report_s=0.1)
        outcome["ends"] = source.ends
        impatient = ImpatientSource(["stuck-6", "stuck-7"])
        handler = signal.getsignal(signal.SIGINT)
        try:
            run_jobs(cluster, impatient, job_factory(folder, n_epochs=500), min_report_s=0.0)
        except KeyboardInterrupt:
            outcome["interrupted"] = impatient.ends
        outcome["handler_kept"] = signal.getsignal(signal.SIGINT) is handler
        outcome["nodes"] = len([node for node in ray.nodes() if node["Alive"]])
    with RayCluster(config) as cluster:  # another one in the same process
        source = RecordingSource(["ok-8"])
        run_jobs(cluster, source, job_factory(folder))
        outcome["second_ends"] = source.ends
    outcome["left"] = [*(folder / "ray").iterdir()] and "files"
    outcome["environment"] = [n for n in os.environ if n.startswith(_SET)]
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), None if sys.argv[2] == "-" else sys.argv[2])
