"""What is asked of a cluster, and what fits on it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import ConfigError, ResourceError

__all__ = [
    "ClusterConfig",
    "available_cpus",
    "check_resources",
    "count_gpus",
    "resolve_gpus",
    "slots_on",
]


@dataclass(frozen=True)
class ClusterConfig:
    """Where jobs run and what each one holds.

    Attributes:
        address: ``"host:port"`` of a Ray head to join; None starts Ray on this machine only.
        concurrency: Jobs at once, >= 1; None fills the CPUs (or GPUs).
        cpus_per_trial: CPU cores that one job computes with, >= 1.
        gpus_per_trial: GPUs one job holds: a fraction below 1 or a whole number. None uses one
            where there is one, 0 uses none.
        storage_dir: Folder for Ray Tune's own files. They are deleted when a run of jobs ends.
        preload: Modules that the workers of a Ray of our own import while they wait for their
            first job; entering the cluster early hides seconds of importing torch.

    Raises:
        ConfigError: A value is out of its range.
    """

    address: str | None
    concurrency: int | None
    cpus_per_trial: int
    gpus_per_trial: float | None
    storage_dir: Path
    preload: tuple[str, ...] = ("torch",)

    def __post_init__(self) -> None:
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigError(f"concurrency must be at least 1, got {self.concurrency}.")
        if self.cpus_per_trial < 1:
            raise ConfigError(f"cpus_per_trial must be at least 1, got {self.cpus_per_trial}.")
        gpus = self.gpus_per_trial
        if gpus is not None and (
            not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and gpus != int(gpus))
        ):
            raise ConfigError(
                "gpus_per_trial must be 0, a fraction below 1 or a whole number, "
                f"got {gpus:g}. Several trials share a GPU with a fraction such as 0.5."
            )
        if self.address is not None and self.address.startswith("ray://"):
            raise ConfigError(
                f"ray_address must be host:port of the head, got {self.address!r}. Ray Client "
                "(ray://) would run the search itself on the head: start the search on a node "
                "of the cluster and give the address that `ray start` printed."
            )


def available_cpus() -> int:
    """Returns the CPU cores this process may use: affinity, then the container's quota; >= 1."""
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        n_cpus = min(n_cpus or 1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup, or no quota ("max")
        pass
    return max(1, n_cpus or 1)


def count_gpus() -> int:
    """Returns the GPUs that torch sees on this machine, without creating a CUDA context."""
    import torch

    return int(torch.cuda.device_count())


def resolve_gpus(wanted: float | None, n_gpus: float, where: str) -> float:
    """Returns the GPUs that each job holds.

    Args:
        wanted: ``gpus_per_trial``; None takes one if there is one.
        n_gpus: GPUs there are.
        where: Where they were looked for, for the message.

    Raises:
        ResourceError: More GPUs are wanted than there are.
    """
    if wanted is None:
        return 1.0 if n_gpus >= 1 else 0.0
    if wanted > n_gpus:
        raise ResourceError(
            f"gpus_per_trial = {wanted:g} needs a GPU, but {where} has {n_gpus:g}. Use "
            "--gpus-per-trial 0 to run on the CPU, or --ray-address to join a cluster with GPUs. "
            "`energytune doctor` lists the devices that are seen."
        )
    return float(wanted)


def check_resources(config: ClusterConfig) -> None:
    """Raises ``ResourceError`` if this machine lacks a GPU that is asked for; starts nothing.

    A cluster that is joined is asked when it is joined.
    """
    if config.address is None and config.gpus_per_trial:
        resolve_gpus(config.gpus_per_trial, count_gpus(), "this machine")


def slots_on(nodes: Iterable[Mapping[str, float]], n_cpus: int, n_gpus: float) -> int:
    """Counts the jobs that fit at once; a job never spans two nodes.

    Args:
        nodes: Per node, its resources: ``{"CPU": 8.0, "GPU": 1.0}``.
        n_cpus: CPU cores a job, >= 1.
        n_gpus: GPUs a job, >= 0; fractions of different GPUs are not combined.
    """
    n_slots = 0
    for node in nodes:
        fits = int(node.get("CPU", 0.0)) // n_cpus
        if 0 < n_gpus < 1:
            fits = min(fits, int(node.get("GPU", 0.0)) * math.floor(1 / n_gpus + 1e-9))
        elif n_gpus >= 1:
            fits = min(fits, int(node.get("GPU", 0.0)) // int(n_gpus))
        n_slots += fits
    return n_slots
