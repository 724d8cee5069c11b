"""Run as a script: a Ray cluster of three nodes, each with a cache folder of its own.

Usage: ``three_nodes.py TEMP_DIR FOLDER``. It prints one JSON document with the addresses, and ends
with its standard input.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from ray._common.utils import get_default_ray_temp_dir
from ray._private.utils import write_ray_address
from ray.cluster_utils import Cluster


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        return int(free.getsockname()[1])


def main(temp_dir: str, folder: Path) -> None:
    os.environ.update(RAY_worker_niceness="0")  # other tests keep the machine busy
    # it notes the address there whatever the temp_dir is, and does not make the folder
    os.makedirs(get_default_ray_temp_dir(), exist_ok=True)
    port, agent_port = free_port(), free_port()
    nodes = [
        {
            "num_cpus": 1,
            "node_ip_address": f"127.0.0.{number}",
            "env_vars": {"ENERGYTUNE_CACHE": str(folder / f"cache-{number}")},
        }
        for number in (2, 3, 4)
    ]
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            **nodes[0],
            "include_dashboard": True,
            "dashboard_host": "127.0.0.2",
            "dashboard_port": port,
            "dashboard_agent_listen_port": agent_port,  # it takes the jobs
            "temp_dir": temp_dir,
        },
    )
    for node in nodes[1:]:
        cluster.add_node(**node)
    # As `ray start` does; else a job may join whatever else runs on this machine.
    write_ray_address(cluster.address, temp_dir)
    told = {"address": cluster.address, "dashboard": f"http://127.0.0.2:{port}"}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
