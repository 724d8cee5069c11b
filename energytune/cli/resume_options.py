"""What was asked of ``energytune resume``, and the commands that ask it again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from energytune.cli.duration import parse_duration

if TYPE_CHECKING:
    from energytune.cli.summary import Command
    from energytune.config import Recipe, SearchConfig

__all__ = ["ResumeOptions"]


@dataclass(frozen=True)
class _Text:
    """A command that is known already."""

    text: str

    def command(self) -> str:
        return self.text


@dataclass(frozen=True)
class ResumeOptions:
    """The options of ``energytune resume``; None where nothing was said.

    Attributes:
        search: Folder of the search, or name of its study.
        trials: ``--trials``, ``"50"`` or ``"+20"``.
        time_budget: ``--time-budget``, for example ``"30m"``.
        gpu_hours: ``--gpu-hours``.
        max_disk: ``--max-disk``.
        concurrency: ``--concurrency``.
        cpus_per_trial: ``--cpus-per-trial``.
        gpus_per_trial: ``--gpus-per-trial``.
        ray_address: ``--ray-address``.
        storage_path: ``--storage-path``.
        storage: ``--storage``.
        tracking_uri: ``--tracking-uri``.
        out: ``--out``.
    """

    search: str
    trials: str | None = None
    time_budget: str | None = None
    gpu_hours: float | None = None
    max_disk: str | None = None
    concurrency: int | None = None
    cpus_per_trial: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    storage_path: str | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    out: Path | None = None

    def to_config(self) -> SearchConfig:
        """Returns the settings with which the search goes on.

        Raises:
            EnergyTuneError: See :func:`energytune.search.resume.resumed_config`.
        """
        from energytune.search.resume import resumed_config

        return resumed_config(
            self.search,
            n_trials=self.trials,
            storage=self.storage,
            out=self.out,
            time_budget_s=parse_duration(self.time_budget) if self.time_budget else None,
            gpu_hours=self.gpu_hours,
            max_disk=self.max_disk,
            concurrency=self.concurrency,
            cpus_per_trial=self.cpus_per_trial,
            gpus_per_trial=self.gpus_per_trial,
            ray_address=self.ray_address,
            storage_path=self.storage_path,
            tracking_uri=self.tracking_uri,
        )

    def command(self) -> str:
        """Returns the ``energytune resume`` command with these options, quoted for a shell."""
        words = ["energytune", "resume", self.search]
        for name in (
            *("trials", "time_budget", "gpu_hours", "max_disk"),
            *("concurrency", "cpus_per_trial", "gpus_per_trial"),
            *("ray_address", "storage_path", "storage", "tracking_uri", "out"),
        ):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(words)

    def at(self, out: Path, trials: int | None = None) -> ResumeOptions:
        """Returns the same options; with ``trials``, for so many in all."""
        search = self.search if self.storage is not None else str(out)
        return replace(self, search=search, trials=None if trials is None else str(trials))

    def reproduce(self, recipe: Recipe, seed: int) -> Command:
        """Returns the command that runs ``recipe`` and nothing else, confirmed in the same way."""
        from energytune.search.command import reproduction

        return _Text(reproduction(self.to_config(), recipe).winner)
