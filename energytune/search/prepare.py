"""What a search needs before its first trial: a bench from the settings, and the energy map."""

from __future__ import annotations

from torch import nn

from energytune.config import ProbeGrid, SearchConfig, SearchSpace, grid_of_space
from energytune.data import get_dataset
from energytune.models import EMBEDDED_BACKBONES
from energytune.optimizer import MapLookup, Sampler, distributions, make_sampler
from energytune.paths import cache_dir
from energytune.progress import Progress
from energytune.search.clock import StageClock
from energytune.search.folder import RunFolder
from energytune.search.history import warm_start_for
from energytune.trial.bench import Bench, BenchSpec, UserData
from energytune.trial.energy_map import build_energy_map
from energytune.trial.map_curve import MapCurve

__all__ = ["bench_spec", "has_all_files", "map_grid", "sampler_of"]

_MAP_TAU_MAX = 512
"""Epochs of the sampler's map; larger taus count as this one. That is what the tabular benchmark's
searches have; on its small nets so long a map costs two to six finetunes already."""


def has_all_files(
    config: SearchConfig, user_data: UserData | None, module: nn.Module | None
) -> bool:
    """Returns whether data and backbone come with the package or with the call."""
    own_data = user_data is not None or get_dataset(config.dataset).embedded
    own_backbone = module is not None or config.backbone in (None, *EMBEDDED_BACKBONES)
    return own_data and own_backbone and config.checkpoint is None


def bench_spec(
    config: SearchConfig, folder: RunFolder, user_data: UserData | None, module: nn.Module | None
) -> BenchSpec:
    """Returns what the bench of a search is built from."""
    backbone: str | nn.Module | None = module or config.backbone
    if backbone is None:
        backbone = get_dataset(config.dataset).backbone
    return BenchSpec(
        dataset=config.dataset,
        backbone=backbone,
        probe=config.space.probe,
        finetune=config.space.finetune,
        cache=cache_dir(),
        model_dir=folder.models,
        weights=config.weights,
        checkpoint=config.checkpoint,
        checkpoint_prefix=config.checkpoint_prefix,
        image_size=config.image_size,
        data_root=config.data_root,
        loader_workers=config.loader_workers,
        checkpoint_s=config.checkpoint_s,
        n_threads=config.cpus_per_trial,
        user_data=user_data,
        cache_budget=config.cache_budget,
        engine=config.engine,
        storage_path=config.storage_path,
    )


def map_grid(space: SearchSpace, seed: int) -> ProbeGrid:
    """Returns the heads of the sampler's energy map: few enough that it is never waited for long.

    Those without a reinitialised layer, so that one pass over cached features probes all of them;
    and of the smoothings the two ends.

    Args:
        space: What is searched.
        seed: Of the trials, so that the map's heads start as theirs.
    """
    smoothing = space.label_smoothing
    return grid_of_space(
        space,
        label_smoothings=tuple(dict.fromkeys((smoothing.low, smoothing.high))),
        reinit_depths=(0,),
        seeds=(seed,),
        tau_max=min(space.tau.high, _MAP_TAU_MAX),
    )


def sampler_of(
    config: SearchConfig,
    folder: RunFolder,
    bench: Bench,
    clock: StageClock,
    progress: Progress,
    curves: list[MapCurve] | None = None,
) -> tuple[Sampler, list[MapCurve]]:
    """Makes the sampler; the one that reads the energy map has it probed first, or is given it.

    Args:
        config: The search.
        folder: Its folder.
        bench: Its data, backbone and caches.
        clock: Told the seconds of the map.
        progress: Told of probing.
        curves: The map, where another process has probed it.

    Returns:
        The sampler, and the map; it is empty for a sampler that reads none.

    Raises:
        EnergyTuneError: If the map can't be probed, or a warm start finds no database.
    """
    if config.sampler != "energy":
        return make_sampler(config.sampler, config.seed), []
    with clock.stage("map"):
        if curves is None:
            curves = build_energy_map(bench, map_grid(config.space, config.seed), progress)
        lookup = MapLookup(((curve.head, curve.snapshots) for curve in curves), config.space)
    sampler = make_sampler(
        "energy",
        config.seed,
        energy=lookup,
        space=distributions(config.space),
        warm_start=warm_start_for(config, folder, curves, progress),
    )
    return sampler, curves
