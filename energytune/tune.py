"""``tune()``: a search from Python, on a named dataset or on one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from energytune.config import EngineConfig, SearchSpace, apply_fixes, load_space, search_config
from energytune.errors import ConfigError
from energytune.progress import NO_PROGRESS, Progress
from energytune.search.folder import default_out
from energytune.search.result import TuneResult
from energytune.search.run import run_search

if TYPE_CHECKING:
    from torch import nn

    from energytune.trial import Observer

__all__ = ["TuneResult", "resume", "run_search", "tune"]


def tune(
    dataset: str | None = None,
    *,
    train: Any = None,
    valid: Any = None,
    test: Any = None,
    backbone: str | nn.Module | None = None,
    space: SearchSpace | str | Path | None = None,
    fix: Mapping[str, Any] | None = None,
    n_trials: int | None = None,
    seed: int = 0,
    time_budget_s: float | None = None,
    ft_epochs_budget: int | None = None,
    gpu_hours: float | None = None,
    max_disk: str | None = None,
    until: Literal["trials", "converged"] = "trials",
    concurrency: int | None = None,
    cpus_per_trial: int = 1,
    gpus_per_trial: float | None = None,
    engine: EngineConfig | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_prefix: str | None = None,
    image_size: int | None = None,
    weights: Literal["default", "none"] = "default",
    data_root: str | Path | None = None,
    sampler: Literal["tpe", "gp", "random", "energy"] = "energy",
    pruner: Literal["energy", "median", "none"] = "energy",
    warm_start: bool = False,
    checkpoint_s: float = 30.0,
    n_confirm_seeds: int = 3,
    n_confirm_recipes: int = 3,
    out: str | Path | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    ray_address: str | None = None,
    storage_path: str | None = None,
    loader_workers: int | None = None,
    cache_budget: str | None = None,
    observers: Sequence[Observer] = (),
    progress: Progress = NO_PROGRESS,
) -> TuneResult:
    """Searches how to prepare a task head before finetuning, and returns what it found.

    Args:
        dataset: A dataset's name (``energytune datasets`` lists them), or, with ``train`` and
            ``test``, a label for your own data.
        train: Your own training set: map-style, items (image, class index).
        valid: Your own validation set; None cuts a stable 20 % from ``train``.
        test: Your own test set; read once, for the winner and both baselines.
        backbone: A backbone's name, or your own module that maps a batch to features; None takes
            the dataset's default.
        space: A search space, its name or its YAML file; None takes the dataset's default.
        fix: Dimensions to hold at a value: ``{"head_arch": "linear"}``.
        n_trials: Trials at most, both baselines included, >= 1; None is 30, and 200 with
            ``until="converged"``.
        seed: Seed of sampling, initialisation and batch order.
        time_budget_s: Wall-clock budget in seconds, confirmation included.
        ft_epochs_budget: Finetuning epochs of all trials together, >= 1, confirmation not
            included, from which on no trial begins.
        gpu_hours: GPU-hours of trials and confirmation, > 0; it needs trials on GPUs.
        max_disk: What the search may write, ``"20GB"``: its folder and what it adds to the cache.
        until: ``"converged"`` ends the search as well once the sampler expects less improvement
            than half the seed deviation; it needs ``sampler="energy"``.
        concurrency: Trials at once; None fills the CPUs, or the GPUs.
        cpus_per_trial: CPU cores of one trial.
        gpus_per_trial: GPUs of one trial, fractions allowed; None uses one where there is one.
        engine: Precision, layout in memory and compilation of all trials; None is float32 as torch
            computes it. A whole number of ``gpus_per_trial`` above 1 sets ``n_processes``.
        checkpoint: File with the backbone's weights.
        checkpoint_prefix: What stands before the backbone's names in it; None finds it.
        image_size: Side of the input images in pixels; None is the checkpoint's, the dataset's
            or the backbone's own.
        weights: ``"none"`` for a backbone with random weights.
        data_root: Folder under which image datasets lie.
        sampler: ``"energy"``, ``"tpe"``, ``"gp"`` or ``"random"``.
        pruner: ``"energy"``, ``"median"`` or ``"none"``.
        warm_start: Whether the first picks come from earlier searches of the same store whose
            energy map is near; it needs ``sampler="energy"``.
        checkpoint_s: Seconds of finetuning between two checkpoints of a trial, >= 0.
        n_confirm_seeds: Seeds on which the best recipes and both baselines are confirmed, >= 1;
            the best by mean wins.
        n_confirm_recipes: Recipes beside the baselines that are confirmed, >= 1.
        out: Folder of the search; naming it again continues it.
        tracking_uri: MLflow tracking server; None is SQLite in the run folder.
        storage: Optuna storage URL; None is a journal file in the run folder.
        ray_address: Ray cluster to join.
        storage_path: What the nodes of a cluster share, an absolute path or a URL such as
            ``s3://bucket/folder``; None if they see the same files.
        loader_workers: Processes that load images for one trial.
        cache_budget: Room for cached features on disk, ``"20GB"``; None is a quarter of what is
            free.
        observers: Told of every job and event.
        progress: Told of pretraining, downloads and feature extraction.

    Raises:
        EnergyTuneError: Whatever is wrong with settings, data, weights, folder or devices.
    """
    own_data = _own_data(train, valid, test)
    if own_data is None and dataset is None:
        dataset = "digits"
    name = dataset or "custom"
    module = None if backbone is None or isinstance(backbone, str) else backbone
    if own_data is not None and backbone is None:
        raise ConfigError(
            "backbone must be given with your own data: a timm name such as 'resnet18', or a "
            "module that maps a batch to features."
        )
    wide = _space(space, name if own_data is None else None)
    config = search_config(
        dataset=name,
        backbone=type(module).__name__ if module is not None else _as_name(backbone),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_prefix=checkpoint_prefix,
        image_size=image_size,
        weights=weights,
        data_root=None if data_root is None else Path(data_root),
        space=apply_fixes(wide, fix or {}),
        narrow_depth=space is None,
        baseline_taus=(wide.tau.low, wide.tau.high),
        n_trials=n_trials,
        seed=seed,
        time_budget_s=time_budget_s,
        ft_epochs_budget=ft_epochs_budget,
        gpu_hours=gpu_hours,
        max_disk=max_disk,
        until=until,
        concurrency=concurrency,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        engine=engine or EngineConfig(),
        sampler=sampler,
        pruner=pruner,
        warm_start=warm_start,
        checkpoint_s=checkpoint_s,
        n_confirm_seeds=n_confirm_seeds,
        n_confirm_recipes=n_confirm_recipes,
        out=Path(out) if out is not None else default_out(name),
        tracking_uri=tracking_uri,
        storage=storage,
        ray_address=ray_address,
        storage_path=storage_path,
        loader_workers=loader_workers,
        cache_budget=cache_budget,
    )
    return run_search(
        config, observers=observers, progress=progress, user_data=own_data, module=module
    )


def resume(
    search: str | Path,
    *,
    n_trials: int | str | None = None,
    storage: str | None = None,
    out: str | Path | None = None,
    time_budget_s: float | None = None,
    gpu_hours: float | None = None,
    max_disk: str | None = None,
    concurrency: int | None = None,
    cpus_per_trial: int | None = None,
    gpus_per_trial: float | None = None,
    ray_address: str | None = None,
    storage_path: str | None = None,
    tracking_uri: str | None = None,
    observers: Sequence[Observer] = (),
    progress: Progress = NO_PROGRESS,
) -> TuneResult:
    """Goes on with a search where it was stopped or killed, or extends one that has ended.

    The study says what was done: nothing that has ended is run again, and what was running goes
    on from its last checkpoint. A search of :func:`tune` with Python objects goes on by the same
    call with the same ``out``.

    Args:
        search: Folder of the search; with ``storage``, the name of its study.
        n_trials: Trials in all, or ``"+20"`` for so many more; None is as before.
        storage: Optuna storage URL that holds the study.
        out: Folder of a search that is named by its study, if it was moved.
        time_budget_s: Wall-clock budget in seconds from now; None is as before, from now.
        gpu_hours: GPU-hours in all, what was spent included; None is as before.
        max_disk: Room on the disk in all, ``"50GB"``; None is as before.
        concurrency: Trials at once; None is as before, as for all of the following.
        cpus_per_trial: CPU cores that one trial computes with.
        gpus_per_trial: GPUs one trial holds.
        ray_address: Ray cluster to join.
        storage_path: Folder or URL that all nodes share.
        tracking_uri: MLflow server.
        observers: Watchers of the search.
        progress: Told about long work.

    Returns:
        As :func:`tune`.

    Raises:
        EnergyTuneError: There is no such search, another process runs it, or what :func:`tune`
            raises.
    """
    from energytune.search.resume import resumed_config

    config = resumed_config(
        search,
        n_trials=n_trials,
        storage=storage,
        out=None if out is None else Path(out),
        time_budget_s=time_budget_s,
        gpu_hours=gpu_hours,
        max_disk=max_disk,
        concurrency=concurrency,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        ray_address=ray_address,
        storage_path=storage_path,
        tracking_uri=tracking_uri,
    )
    return run_search(config, observers=observers, progress=progress)


def _own_data(train: Any, valid: Any, test: Any) -> Any:
    if train is None and valid is None and test is None:
        return None
    if train is None or test is None:
        missing = "train" if train is None else "test"
        raise ConfigError(
            f"{missing} must be given with your own data. Pass train= and test=; valid= is cut "
            "from train if it is left out."
        )
    from energytune.trial.bench import UserData

    return UserData(train, valid, test)


def _as_name(backbone: Any) -> str | None:
    return backbone if isinstance(backbone, str) else None


def _space(space: SearchSpace | str | Path | None, dataset: str | None) -> SearchSpace:
    if isinstance(space, SearchSpace):
        return space
    if space is not None:
        return load_space(space)
    from energytune.data import get_dataset

    return load_space(get_dataset(dataset).space if dataset else "default")
