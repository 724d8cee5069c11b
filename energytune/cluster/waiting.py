"""A search that can't start a trial because others hold the resources says what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import ray

from energytune.cluster.local import RayCluster
from energytune.cluster.nodes import alive_nodes
from energytune.progress import Progress

__all__ = ["Waiting", "describe_wait", "situation"]

_AFTER_S = 10.0
_LOOK_S = 0.5
_MOST_NODES = 8


class Waiting:
    """Watches whether any job has been given its resources; tells ``progress`` where none has.

    The search goes on waiting. While it does, a stage is open.

    Args:
        cluster: Entered.
        progress: Told once in each wait.
        after_s: Seconds of waiting after which it is told.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        cluster: RayCluster,
        progress: Progress,
        *,
        after_s: float = _AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._progress = cluster, progress
        self._after_s, self._clock = after_s, clock
        self._since: float | None = None
        self._looked = float("-inf")
        self._told = ExitStack()
        self._is_told = False

    def look(self, tune_controller: Any) -> None:
        """Looks, at most twice a second.

        Args:
            tune_controller: Ray Tune's; None before the first job.
        """
        now = self._clock()
        if now < self._looked + _LOOK_S:
            return
        self._looked = now
        if not _waits(tune_controller):
            self.close()
            return
        self._since = now if self._since is None else self._since
        if not self._is_told and now - self._since >= self._after_s:
            self._is_told = True
            self._progress.note(situation(self._cluster))
            self._told.enter_context(self._progress.stage("waiting for resources", None))

    def close(self) -> None:
        """Ends the wait, if there is one."""
        self._since, self._is_told = None, False
        self._told.close()


def situation(cluster: RayCluster) -> str:
    """Returns one line on what a job of ``cluster`` waits for now."""
    wanted = {"CPU": float(cluster.config.cpus_per_trial)}
    if cluster.gpus_per_trial:
        wanted["GPU"] = cluster.gpus_per_trial
    free: dict[str, dict[str, float]] = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]
    nodes = [(node.address, node.resources, free.get(node.id, {})) for node in alive_nodes()]
    return describe_wait(wanted, nodes)


def describe_wait(
    wanted: dict[str, float], nodes: list[tuple[str, dict[str, float], dict[str, float]]]
) -> str:
    """Returns one line on what a trial waits for.

    Args:
        wanted: Resources of a trial, ``{"CPU": 1.0}``.
        nodes: For each node its address, all it has and what is free of it.
    """
    needs = " and ".join(f"{amount:g} {name}" for name, amount in wanted.items())
    shares = [
        f"{address} "
        + ", ".join(
            f"{free.get(name, 0.0):g} of {total.get(name, 0.0):g} {name}" for name in wanted
        )
        for address, total, free in nodes[:_MOST_NODES]
    ]
    if len(nodes) > _MOST_NODES:
        shares.append(f"and {len(nodes) - _MOST_NODES} more nodes")
    return (
        f"no trial can start: each needs {needs} on one node, and other jobs hold them; the search "
        f"goes on when they are free. Free now: {'; '.join(shares)}"
    )


def _waits(tune_controller: Any) -> bool:
    """Returns whether jobs ask for resources and none has any.

    That has no public interface; where Ray has changed it nothing is ever told.
    """
    controller = getattr(tune_controller, "_tune_controller", tune_controller)
    manager = getattr(getattr(controller, "_actor_manager", None), "_resource_manager", None)
    asked = getattr(manager, "_request_to_staged_pgs", {})
    given = getattr(manager, "_request_to_ready_pgs", {})
    held = getattr(manager, "_acquired_pgs", ())
    return any(asked.values()) and not any(given.values()) and not held
