"""Brings the bench of a search to where its trials compute."""

from __future__ import annotations

from dataclasses import dataclass, replace

from energytune.cluster import RayCluster
from energytune.config import SearchConfig
from energytune.progress import Progress
from energytune.search.budgets import DiskBudget
from energytune.search.nodes import check_nodes
from energytune.search.prepare import map_grid
from energytune.search.prepare_far import lacks_gpu, prepare_far
from energytune.trial.bench import Bench, BenchSpec
from energytune.trial.first_batch import check_first_batch
from energytune.trial.map_curve import MapCurve

__all__ = ["Placed", "place"]


@dataclass(frozen=True)
class Placed:
    """A bench whose features are cached where the trials find them.

    Attributes:
        bench: This process's; on the CPU where it has no GPU and the trials have.
        trial_spec: From which each worker builds its own.
        feature_bytes: Bytes of features that were added to this machine's cache.
        is_far: Whether the trials compute where this process can't.
        curves: The sampler's map, where it was probed far away; None if it is still to be.
    """

    bench: Bench
    trial_spec: BenchSpec
    feature_bytes: int = 0
    is_far: bool = False
    curves: list[MapCurve] | None = None


def place(
    bench: Bench,
    config: SearchConfig,
    disk: DiskBudget,
    cluster: RayCluster,
    *,
    search_id: str,
    progress: Progress,
) -> Placed:
    """Checks the nodes, puts the bench on the trials' device and caches the features of every cut.

    Args:
        bench: On the CPU.
        config: The search.
        disk: What may be written.
        cluster: Entered.
        search_id: The search's identity, in a shared storage.
        progress: Told of feature extraction.

    Raises:
        ResourceError: A node can't take part, or trials that are to share a GPU don't fit on it.
        EnergyTuneError: Whatever is wrong with the features.
    """
    n_gpus = cluster.gpus_per_trial
    before = bench.cached_feature_bytes
    room = disk.feature_bytes
    spec = replace(
        bench.spec,
        use_gpu=n_gpus > 0,
        gpu_share=min(1.0, n_gpus or 1.0),
        engine=bench.spec.engine.on_gpus(n_gpus),
        search_id=search_id,
        content=(bench.splits.fingerprint, bench.backbone.weights_sha256),
        max_feature_bytes=None if room is None else before + room,
    )
    check_nodes(cluster, spec, progress)
    searched = config.space.reinit_depth
    depths = {*range(searched.low, searched.high + 1)}
    if config.sampler == "energy":
        depths.add(0)  # for its map
    if lacks_gpu(spec):
        grid = map_grid(config.space, config.seed) if config.sampler == "energy" else None
        curves = prepare_far(cluster, spec, sorted(depths), grid, progress)
        here = Bench(replace(spec, use_gpu=False), bench.splits, bench.backbone)
        return Placed(here, spec, is_far=True, curves=curves if grid is not None else None)
    placed = Bench(spec, bench.splits, bench.backbone)
    placed.prepare(sorted(depths), progress)
    check_first_batch(placed, config.space.head_arch.choices, n_gpus)
    return Placed(
        placed,
        replace(spec, max_state_bytes=disk.state_bytes()),
        feature_bytes=placed.cached_feature_bytes - before,
    )
