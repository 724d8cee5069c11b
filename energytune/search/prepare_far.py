"""Features and energy map where this process has no GPU and the trials have: on one of their nodes.

They are part of what is shared, so the trials find them; here come back only the map's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from energytune.cluster import RayCluster, run_once
from energytune.config import ProbeGrid
from energytune.progress import Progress
from energytune.trial.bench import BenchSpec
from energytune.trial.energy_map import build_energy_map
from energytune.trial.map_curve import MapCurve
from energytune.trial.run import build_here

__all__ = ["lacks_gpu", "prepare_far"]


def lacks_gpu(spec: BenchSpec) -> bool:
    """Returns whether trials compute on a GPU and this process sees none."""
    import torch

    return spec.use_gpu and not torch.cuda.is_available()


def prepare_far(
    cluster: RayCluster,
    spec: BenchSpec,
    depths: Sequence[int],
    grid: ProbeGrid | None,
    progress: Progress,
) -> list[MapCurve]:
    """Caches features, and probes the sampler's map, in a task that holds a trial's resources.

    Args:
        cluster: Entered.
        spec: Of the trials' bench.
        depths: Cuts whose features are wanted.
        grid: Heads of the map; None for a sampler without one.
        progress: Told of the whole, not of its stages.

    Returns:
        The map's curves; none without a grid.

    Raises:
        EnergyTuneError: Whatever is wrong there with data, weights, cuts or the device.
    """
    work = partial(_prepare, spec, tuple(depths), grid)
    return run_once(cluster, work, "features and energy map, on a node with a GPU", progress)


def _prepare(spec: BenchSpec, depths: Sequence[int], grid: ProbeGrid | None) -> list[MapCurve]:
    bench = build_here(spec)
    bench.prepare(depths)
    return build_energy_map(bench, grid) if grid is not None else []
