"""Frozen settings of head probing, finetuning and a whole search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from energytune.config.engine import EngineConfig
from energytune.config.problems import describe_problems
from energytune.config.sizes import parse_bytes
from energytune.config.space import SearchSpace
from energytune.errors import ConfigError
from energytune.redact import redact

__all__ = ["CONVERGING_SAMPLERS", "SearchConfig", "search_config"]

CONVERGING_SAMPLERS = ("energy",)
"""Samplers that say which improvement they expect, so that a search can end by it."""

_CONVERGED_CAP = 200


class SearchConfig(BaseModel):
    """Everything that defines a search; its fields are those of ``energytune search``.

    Attributes:
        dataset: Name of the downstream dataset, or a label for a user's own datasets.
        backbone: Name of the pretrained backbone; None takes the dataset's default.
        checkpoint: File with the backbone's weights; None takes the backbone's own.
        checkpoint_prefix: What stands before the backbone's names in that file; None finds it.
        weights: ``"default"`` for pretrained weights, ``"none"`` for a random backbone.
        image_size: Side of the input images in pixels; None takes the one that the checkpoint's
            header names, else the dataset's, else the backbone's.
        data_root: Folder under which image datasets lie; None is the user's data folder.
        space: What is searched, and the protocol of both training stages.
        narrow_depth: Whether ``reinit_depth`` is narrowed to what the backbone can be cut at;
            for default spaces. Else a range that is too deep is refused.
        baseline_taus: The baselines' tau; None takes 0 (if the space has it) and the space's
            largest. Kept apart from the space so that fixing tau does not lose the baselines.
        n_trials: Number of trials, the two baselines included, >= 1; the most there are if
            another limit ends the search before. None and nothing said are 30, and 200 with
            ``until="converged"``.
        seed: Seed of sampling, initialisation and batch order.
        time_budget_s: Wall-clock budget in seconds, confirmation included; None is no limit.
        ft_epochs_budget: Finetuning epochs of all trials together, >= 1, confirmation not
            included, from which on no trial begins; None is no limit.
        gpu_hours: Hours of GPUs that trials and confirmation may compute for, a trial's seconds
            times ``gpus_per_trial``, > 0; it needs trials on GPUs. None is no limit.
        max_disk: What the search may write, ``"20GB"``: its folder, and what it adds to the cache
            of features and snapshots. None is no limit but that of the features.
        until: ``"trials"``, or ``"converged"``: the search also ends once the sampler expects
            less improvement than half the seed deviation. For that the baselines are run on two
            further seeds at the start, and the sampler must be one that says what it expects.
        concurrency: Trials at once; None fills the CPUs (or GPUs).
        cpus_per_trial: CPU cores that one trial computes with.
        gpus_per_trial: GPUs one trial holds, fractions allowed; None uses one where there is one.
        engine: How trials compute: precision, layout in memory, compilation. Never searched.
        sampler: ``"energy"``, ``"tpe"``, ``"gp"`` or ``"random"``.
        pruner: ``"energy"``, ``"median"`` or ``"none"``.
        warm_start: Whether the first picks come from earlier searches beside ``out`` and in
            ``storage`` whose energy map is near; for ``sampler="energy"``. Off, since tasks
            differ in where on the map the best recipe lies.
        checkpoint_s: Seconds of finetuning between two checkpoints of a trial, >= 0: what a killed
            worker or search loses at most. 0 is one after each epoch.
        n_confirm_seeds: Seeds on which the best recipes and both baselines are confirmed.
        n_confirm_recipes: Recipes beside the baselines that are confirmed, the best of the search.
        out: Folder of the search.
        tracking_uri: MLflow tracking server; None is SQLite in the run folder.
        storage: Optuna storage URL; None is a journal file in the run folder.
        ray_address: Ray cluster to join; None starts one on this machine.
        storage_path: Shared storage of a cluster's nodes, an absolute path or a URL such as
            ``s3://bucket/folder``; None if they see one file system, or for one machine.
        loader_workers: Processes that load images for one trial; None chooses.
        cache_budget: Room for cached features on disk, ``"20GB"``; None is a quarter of what is
            free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    backbone: str | None = None
    checkpoint: Path | None = None
    checkpoint_prefix: str | None = None
    weights: Literal["default", "none"] = "default"
    image_size: int | None = Field(default=None, ge=1)
    data_root: Path | None = None
    space: SearchSpace
    narrow_depth: bool = False
    baseline_taus: tuple[int, ...] | None = None
    n_trials: int = Field(default=30, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    time_budget_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    ft_epochs_budget: int | None = Field(default=None, ge=1)
    gpu_hours: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_disk: str | None = None
    until: Literal["trials", "converged"] = "trials"
    concurrency: int | None = Field(default=None, ge=1)
    cpus_per_trial: int = Field(default=1, ge=1)
    gpus_per_trial: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    engine: EngineConfig = EngineConfig()
    sampler: Literal["tpe", "gp", "random", "energy"] = "energy"
    pruner: Literal["energy", "median", "none"] = "energy"
    warm_start: bool = False
    checkpoint_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    n_confirm_seeds: int = Field(default=3, ge=1)
    n_confirm_recipes: int = Field(default=3, ge=1)
    out: Path
    tracking_uri: str | None = None
    storage: str | None = None
    ray_address: str | None = None
    storage_path: str | None = None
    loader_workers: int | None = Field(default=None, ge=0)
    cache_budget: str | None = None

    @field_validator("max_disk")
    @classmethod
    def _is_size(cls, value: str | None) -> str | None:
        if value is not None:
            parse_bytes(value, "it")
        return value

    @property
    def is_timed(self) -> bool:
        """Whether time or GPU-hours bound the search."""
        return self.time_budget_s is not None or self.gpu_hours is not None

    @model_validator(mode="before")
    @classmethod
    def _default_cap(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("n_trials") is not None:
            return data
        rest = {name: value for name, value in data.items() if name != "n_trials"}
        if data.get("until") == "converged":
            rest["n_trials"] = _CONVERGED_CAP
        return rest

    @model_validator(mode="after")
    def _can_warm_start(self) -> Self:
        if self.warm_start and self.sampler != "energy":
            raise ValueError(
                "warm_start = True: needs the sampler that reads the energy map, 'energy'. Got "
                f"{self.sampler!r}; choose that sampler, or search without a warm start"
            )
        return self

    @model_validator(mode="after")
    def _can_converge(self) -> Self:
        if self.until != "converged":
            return self
        if self.sampler not in CONVERGING_SAMPLERS:
            names = ", ".join(map(repr, CONVERGING_SAMPLERS))
            raise ValueError(
                f"until = 'converged': needs a sampler that says what improvement it expects: "
                f"{names}. Got {self.sampler!r}; choose that sampler, or end by trials, time or "
                "finetuning epochs"
            )
        if self.baseline_taus == ():
            raise ValueError(
                "until = 'converged': needs the baselines, whose repeats measure the seed "
                "deviation. Search with them, or end by trials, time or finetuning epochs"
            )
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yields what is printed: addresses without their logins."""
        for name, value in super().__repr_args__():
            yield name, redact(value) if isinstance(value, str) else value


def search_config(**values: Any) -> SearchConfig:
    """Returns the settings of a search.

    Raises:
        ConfigError: If a value breaks a rule; the message has all of them.
    """
    try:
        return SearchConfig.model_validate(values)
    except ValidationError as error:
        problems = describe_problems(SearchConfig, error, values)
        raise ConfigError(
            "\n  ".join([f"{len(problems)} settings are wrong:", *problems])
        ) from None
