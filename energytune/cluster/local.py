"""A Ray cluster for the time of a search: one of our own, or one that is joined."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray

from energytune.cluster.config import ClusterConfig
from energytune.cluster.environment import environment
from energytune.cluster.leftovers import PREFIX, drop_stale_folders
from energytune.cluster.nodes import Node, alive_nodes
from energytune.cluster.resources import (
    available_cpus,
    check_resources,
    count_gpus,
    resolve_gpus,
    slots_on,
    unreachable,
)
from energytune.errors import ResourceError
from energytune.redact import redact

__all__ = ["RayCluster"]

_MACHINE = "this machine"


class RayCluster:
    """Context manager: starts or joins Ray, and ends only what it started.

    Without an address it starts a private Ray on this machine, silent, without dashboard and
    without usage statistics; a session that this process has already opened is used as it is.

    Attributes:
        config: What was asked for.
        gpus_per_trial: GPUs that each job holds; valid once entered.
        concurrency: Jobs at once, >= 1; valid once entered.
        resources: All CPUs, GPUs and memory of the cluster; valid once entered.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self.config = config
        self.gpus_per_trial = 0.0
        self.concurrency = 1
        self.resources: dict[str, float] = {}
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Starts or joins.

        Raises:
            ResourceError: A GPU or CPU that was asked for is not there (for a Ray of our own
                this is known before anything starts), or the address can't be reached.
        """
        with contextlib.ExitStack() as undo:
            check_resources(self.config)
            undo.enter_context(environment(_SETTINGS))
            if ray.is_initialized():
                self._share()
            elif self.config.address is None:
                self._start(undo)
            else:
                self._join(self.config.address, undo)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the private Ray, or leaves the one that was joined."""
        self._undo.close()

    def other_nodes(self) -> list[Node]:
        """Returns the nodes with room for a job on which this process does not run."""
        return [node for node in alive_nodes() if not node.is_own and self._slots([node])]

    def _slots(self, nodes: Iterable[Node]) -> int:
        resources = [node.resources for node in nodes]
        return slots_on(resources, self.config.cpus_per_trial, self.gpus_per_trial)

    def _start(self, undo: contextlib.ExitStack) -> None:
        """Starts a private Ray; more CPUs than there are if the concurrency asks for it."""
        config = self.config
        n_gpus = 0 if config.gpus_per_trial == 0 else count_gpus()
        gpus = resolve_gpus(config.gpus_per_trial, n_gpus, _MACHINE)
        n_cpus = max(available_cpus(), (config.concurrency or 1) * config.cpus_per_trial)
        # Ray puts Unix sockets in here, whose paths may have 107 characters only.
        drop_stale_folders(Path("/tmp"))
        folder = tempfile.mkdtemp(prefix=PREFIX, dir="/tmp")
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        undo.enter_context(environment(_private_settings(config.preload)))
        if "RAY_AUTH_MODE" not in os.environ:
            undo.callback(os.environ.pop, "RAY_AUTH_MODE", None)  # Ray sets it and leaves it
        try:
            with contextlib.ExitStack() as start:
                _without_services(start)
                _init(
                    undo,
                    address="local",
                    include_dashboard=False,
                    num_cpus=n_cpus,
                    num_gpus=n_gpus if gpus else 0,
                    _temp_dir=folder,
                )
        except RuntimeError as failure:
            first = str(failure).strip().split("\n", 1)[0]
            raise ResourceError(
                f"Ray could not be started on {_MACHINE}: {first} Make room in the "
                "temporary folder and in memory, then try again."
            ) from failure
        self._adopt(_MACHINE)

    def _join(self, address: str, undo: contextlib.ExitStack) -> None:
        """Joins a running cluster as a driver."""
        try:
            _init(undo, address=address)
        except Exception as failure:
            raise unreachable(address, failure) from failure
        self._adopt(f"the cluster at {redact(address)}")

    def _share(self) -> None:
        """Uses the session that this process has open, if it is the one that is asked for."""
        open_at = str(ray.get_runtime_context().gcs_address)
        if self.config.address not in (None, "auto", open_at):
            raise ResourceError(
                f"ray_address = {redact(str(self.config.address))!r}, but this process has "
                f"already joined Ray at {open_at!r}. Call ray.shutdown() first."
            )
        self._adopt("the Ray session of this process")

    def _adopt(self, where: str) -> None:
        """Reads what there is and settles how many jobs run at once."""
        config = self.config
        self.resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.gpus_per_trial = resolve_gpus(
            config.gpus_per_trial, self.resources.get("GPU", 0.0), where
        )
        slots = self._slots(alive_nodes())
        if slots < (config.concurrency or 1):
            raise ResourceError(
                f"{config.concurrency or 1} trials at once with {config.cpus_per_trial} CPUs and "
                f"{self.gpus_per_trial:g} GPUs each were asked for, but {where} has room for "
                f"{slots}. Lower --concurrency, or what each trial holds."
            )
        self.concurrency = config.concurrency or slots


_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a job without a GPU must not see one
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_NICENESS = "RAY_worker_niceness"
_TOKEN = secrets.token_hex(32)


def _private_settings(preload: tuple[str, ...]) -> dict[str, str]:
    """Returns the environment of a Ray of our own.

    Ray listens on all interfaces and runs what it is sent, so it turns a token on: the user's if
    there is one, else one of this process (Ray would write one into the home folder). The mode
    itself is Ray's to set; a mode of ours would come too late for what Ray has read on import.

    Its workers have the priority that the search was started with. Ray would lower it (nice 15):
    beside two other busy processes on two cores a search then took six to ten times as long.
    """
    settings = {"RAY_preload_python_modules": ",".join(("energytune.cluster.worker", *preload))}
    settings[_NICENESS] = os.environ.get(_NICENESS, "0")
    users = any(name.startswith("RAY_AUTH_") for name in os.environ)
    if not users and not (Path.home() / ".ray" / "auth_token").exists():
        settings["RAY_AUTH_TOKEN"] = _TOKEN
    return settings


_SERVICES = ("start_api_server", "start_log_monitor", "start_monitor")
"""Of a cluster for several users: its dashboard, logs in a driver's terminal, the autoscaler."""


def _without_services(start: contextlib.ExitStack) -> None:
    """Lets a Ray of our own begin without what nobody asks of it: 3 of 20 CPU seconds of a search.

    Left out are also the parts of ``ray[default]``, where that is installed.
    """
    for name in _SERVICES:
        _replace(start, ray._private.node.Node, name, lambda *args, **kwargs: None)
    missing = ImportError("a Ray of our own has no dashboard")
    _replace(start, ray._private.utils, "get_dashboard_dependency_error", lambda: missing)


def _replace(undo: contextlib.ExitStack, owner: Any, name: str, by: Any) -> None:
    """Replaces a function of Ray's, if this version has it, until ``undo`` is closed."""
    if (real := getattr(owner, name, None)) is not None:
        undo.callback(setattr, owner, name, real)
        setattr(owner, name, by)


def _init(undo: contextlib.ExitStack, **options: Any) -> None:
    """Initialises Ray without a word, then and later."""
    undo.callback(ray.shutdown)
    # Ray prints what its daemons report (a killed worker, say) whatever it is told; what
    # matters of it is told to the source as a job's reason.
    _replace(undo, ray._private.worker, "print_to_stdstream", lambda *args, **kwargs: None)
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
