"""Ray: places jobs on this machine or a cluster, and feeds their events back to the driver."""

from energytune.cluster.config import ClusterConfig
from energytune.cluster.local import RayCluster
from energytune.cluster.nodes import Node, ask_nodes
from energytune.cluster.once import run_once
from energytune.cluster.resources import check_resources
from energytune.cluster.run import run_jobs

__all__ = [
    "ClusterConfig",
    "Node",
    "RayCluster",
    "ask_nodes",
    "check_resources",
    "run_jobs",
    "run_once",
]
