"""What there is, and whether it is what was asked for."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import ray

from energytune.cluster.config import ClusterConfig
from energytune.errors import ResourceError
from energytune.redact import redact

__all__ = [
    "available_cpus",
    "check_resources",
    "count_gpus",
    "knock",
    "resolve_gpus",
    "slots_on",
    "unreachable",
]

_MACHINE = "this machine"


def check_resources(config: ClusterConfig) -> None:
    """Checks what can be known before Ray is started or joined; takes at most 5 seconds.

    Raises:
        ResourceError: This machine lacks a GPU or the CPUs that a trial asks for, or nobody
            listens at the address. GPUs of a cluster are counted when it is joined.
    """
    if ray.is_initialized():  # its resources are known and checked when it is used
        return
    if config.address is not None:
        knock(config.address)
        return
    if config.gpus_per_trial:
        resolve_gpus(config.gpus_per_trial, count_gpus(), _MACHINE)
    n_cpus = available_cpus()
    if config.cpus_per_trial > n_cpus:
        raise ResourceError(
            f"cpus_per_trial = {config.cpus_per_trial} needs as many CPU cores, but "
            f"{_MACHINE} has {n_cpus}. Give each trial fewer."
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


def knock(
    address: str,
    refusal: Callable[[str, Exception], ResourceError] | None = None,
    timeout_s: float = 5.0,
) -> None:
    """Raises unless somebody listens: Ray itself would try for ever, and say so aloud.

    Args:
        address: ``"host:port"``, or ``"auto"``, where nothing is done.
        refusal: Builds the error from address and cause; None is :func:`unreachable`.
        timeout_s: Seconds after which nobody listens.
    """
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    try:
        if not (host and port.isdigit()):
            raise ValueError("an address has the form host:port")
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, ValueError) as failure:
        raise (refusal or unreachable)(address, failure) from failure


def unreachable(address: str, why: Exception) -> ResourceError:
    """Builds the error for a cluster that can't be joined."""
    return ResourceError(
        f"No Ray cluster could be joined at {redact(address)!r}: "
        f"{redact(str(why), address)}. Start the search on a node of "
        "the cluster, with the address that `ray start --head` printed."
    )
