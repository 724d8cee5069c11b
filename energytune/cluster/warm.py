"""Two habits of Ray Tune that cost seconds and have no public setting."""

from __future__ import annotations

from typing import Any

import ray
from ray.tune.experiment import Trial

__all__ = ["keep_workers_warm"]


def keep_workers_warm(tune_controller: Any, trial: Trial, n_workers: int) -> None:
    """Lets Ray Tune use waiting processes and keep all of them between jobs.

    - Of the workers that have nothing to do, Tune keeps one and ends the others. While a source
      waits (all trials must have ended before the winner is confirmed, say), they would be lost,
      and each new one imports torch again. Here it may keep ``n_workers``.
    - Tune gives each worker class an environment variable of its own, so Ray can't use the
      processes that it started in advance and starts others (measured: 1-4 s later). Here the
      class has none; workers inherit the driver's environment.

    Both need attributes that are not public; where Ray has changed them nothing happens.

    Args:
        tune_controller: What a scheduler is given.
        trial: The first trial, before its worker is started.
        n_workers: Workers at once, >= 1.
    """
    controller = getattr(tune_controller, "_tune_controller", tune_controller)
    idle: Any = getattr(controller, "_actor_cache", None)
    if hasattr(idle, "increase_max"):
        idle.increase_max(trial.placement_group_factory, by=n_workers)
    classes = getattr(getattr(controller, "_class_cache", None), "_cache", None)
    worker_class = trial.get_trainable_cls()  # type: ignore[no-untyped-call]
    if isinstance(classes, dict) and worker_class is not None:
        classes.setdefault(worker_class, ray.remote(worker_class))
