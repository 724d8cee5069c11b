"""Makes ``cluster_fakes`` importable for these tests, and picklable by value for the workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.cloudpickle

sys.path.insert(0, str(Path(__file__).parent))
import cluster_fakes

from energytune.cluster import ClusterConfig, RayCluster

ray.cloudpickle.register_pickle_by_value(cluster_fakes)


@pytest.fixture(scope="package")
def cluster_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A Ray of our own with room for two jobs; shared by the tests of this folder."""
    folder = tmp_path_factory.mktemp("ray-tune")
    with RayCluster(ClusterConfig(None, 2, 1, 0.0, folder, preload=())) as cluster:
        yield cluster


@pytest.fixture
def cluster_of_one(cluster_of_two: RayCluster) -> Iterator[RayCluster]:
    """The same Ray, one job at a time."""
    config = ClusterConfig(None, 1, 1, 0.0, cluster_of_two.config.storage_dir, preload=())
    with RayCluster(config) as cluster:
        yield cluster
