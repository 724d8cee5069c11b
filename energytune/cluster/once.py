"""One function, once, on a node with a job's resources: for what this process lacks the GPU for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from energytune.cluster.local import RayCluster
from energytune.cluster.waiting import situation
from energytune.errors import ResourceError
from energytune.progress import Progress

__all__ = ["run_once"]

_Result = TypeVar("_Result")
_TOLD_AFTER_S = 10.0
_LOOK_S = 1.0
"""Ctrl-C is seen between two looks."""


def run_once(
    cluster: RayCluster, function: Callable[[], _Result], name: str, progress: Progress
) -> _Result:
    """Runs a function in a worker process that holds what a job holds.

    Args:
        cluster: Entered.
        function: Is pickled; its result should be small.
        name: What is done, for a person.
        progress: Told of it, and of what it waits for.

    Raises:
        ResourceError: Its worker was lost.
        Exception: What the function has raised.
    """
    wanted: dict[str, float] = {"CPU": cluster.config.cpus_per_trial}
    if cluster.gpus_per_trial:
        wanted["GPU"] = cluster.gpus_per_trial

    def call() -> _Result:  # Ray takes no partial
        return function()

    group = placement_group([wanted])
    try:
        if not group.wait(_TOLD_AFTER_S):
            progress.note(situation(cluster))
            with progress.stage("waiting for resources", None):
                while not group.wait(_LOOK_S):
                    pass
        task = ray.remote(max_retries=1)(call).options(
            num_cpus=wanted["CPU"],
            num_gpus=wanted.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(group),
        )
        with progress.stage(name, None):
            result: _Result = _result(task.remote())
        return result
    finally:
        remove_placement_group(group)


def _result(reference: Any) -> Any:
    while not ray.wait([reference], timeout=_LOOK_S)[0]:
        pass
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise ResourceError(
            f"The worker that prepared the search was lost: {first} Start the search again to "
            "continue it."
        ) from error
