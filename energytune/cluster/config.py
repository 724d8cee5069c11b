"""What is asked of a cluster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from energytune.errors import ConfigError
from energytune.redact import redact

__all__ = ["ClusterConfig"]


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
                f"ray_address must be host:port of the head, got {redact(self.address)!r}. Ray "
                "Client (ray://) would run the search itself on the head: start the search on a "
                "node of the cluster and give the address that `ray start` printed."
            )
