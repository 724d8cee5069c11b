from __future__ import annotations

from pathlib import Path

import pytest
import ray

from energytune.cluster import ClusterConfig, RayCluster, resources
from energytune.cluster.resources import available_cpus, resolve_gpus, slots_on
from energytune.errors import ConfigError, ResourceError


def config(**values: object) -> ClusterConfig:
    fields = {
        "address": None,
        "concurrency": None,
        "cpus_per_trial": 1,
        "gpus_per_trial": 0.0,
        "storage_dir": Path("unused"),
    }
    return ClusterConfig(**{**fields, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"cpus_per_trial": 0}, "cpus_per_trial must be at least 1, got 0"),
        ({"gpus_per_trial": 1.5}, "got 1.5"),
        ({"gpus_per_trial": -0.5}, "got -0.5"),
        ({"gpus_per_trial": float("nan")}, "got nan"),
        ({"address": "ray://head:10001"}, "host:port of the head, got 'ray://head:10001'"),
    ],
)
def test_refuses_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        config(**values)


@pytest.mark.parametrize(
    ("nodes", "n_cpus", "n_gpus", "slots"),
    [
        ([{"CPU": 8.0}], 1, 0.0, 8),
        ([{"CPU": 3.0}, {"CPU": 3.0}], 2, 0.0, 2),  # a job never spans nodes
        ([{"CPU": 8.0, "GPU": 2.0}], 1, 0.5, 4),
        ([{"CPU": 8.0, "GPU": 2.0}], 1, 0.4, 4),  # 0.2 is left over on each
        ([{"CPU": 3.0, "GPU": 2.0}], 1, 0.5, 3),
        ([{"CPU": 8.0, "GPU": 3.0}], 1, 2.0, 1),
        ([{"CPU": 8.0}], 1, 1.0, 0),
        ([], 1, 0.0, 0),
    ],
)
def test_counts_the_jobs_that_fit(
    nodes: list[dict[str, float]], n_cpus: int, n_gpus: float, slots: int
) -> None:
    assert slots_on(nodes, n_cpus, n_gpus) == slots


def test_a_gpu_is_used_where_there_is_one_unless_told_otherwise() -> None:
    assert resolve_gpus(None, 0, "here") == 0.0
    assert resolve_gpus(None, 2, "here") == 1.0
    assert resolve_gpus(0.0, 2, "here") == 0.0
    assert resolve_gpus(0.5, 1, "here") == 0.5


def test_there_is_a_cpu() -> None:
    assert available_cpus() >= 1


def _forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)

    def started(**options: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", started)


def test_a_gpu_that_is_not_there_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _forbid_ray(monkeypatch)
    monkeypatch.setattr(resources, "count_gpus", lambda: 0)
    with (
        pytest.raises(ResourceError, match=r"gpus_per_trial = 0\.5 .* this machine has 0"),
        RayCluster(config(gpus_per_trial=0.5)),
    ):
        pass


def test_more_cpus_a_trial_than_there_are_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _forbid_ray(monkeypatch)
    monkeypatch.setattr(resources, "available_cpus", lambda: 2)
    with pytest.raises(ResourceError, match=r"= 3 .* has 2"), RayCluster(config(cpus_per_trial=3)):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_an_address_where_nobody_listens_is_an_error(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    _forbid_ray(monkeypatch)
    with (
        pytest.raises(ResourceError, match=f"No Ray cluster could be joined at '{address}'"),
        RayCluster(config(address=address)),
    ):
        pass
