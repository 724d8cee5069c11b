"""Run as a script by ``test_processes``: a Ray cluster of two nodes with one CPU each.

It prints the head's address, and ends with its standard input.
"""

from __future__ import annotations

import os
import sys

from ray._common.utils import get_default_ray_temp_dir
from ray.cluster_utils import Cluster


def main(temp_dir: str) -> None:
    os.environ.update(RAY_worker_niceness="0")  # other tests keep the machine busy
    # it notes the address there whatever the temp_dir is, and does not make the folder
    os.makedirs(get_default_ray_temp_dir(), exist_ok=True)
    # Ray rewrites a head on 127.0.0.1 to the machine's address; others of the range stay.
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "node_ip_address": "127.0.0.2",
            "include_dashboard": False,
            "temp_dir": temp_dir,
        },
    )
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.3")
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
