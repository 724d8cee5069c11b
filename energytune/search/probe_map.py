"""``probe()``: the energy map of a dataset and a backbone, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from energytune.config import (
    HeadArch,
    ProbeGrid,
    SearchSpace,
    grid_of_space,
    load_space,
    probe_grid,
)
from energytune.data import get_dataset
from energytune.errors import ConfigError, ResourceError
from energytune.models import EMBEDDED_BACKBONES
from energytune.paths import cache_dir
from energytune.progress import NO_PROGRESS, Advance, Progress
from energytune.search.energy_map import EnergyMap
from energytune.trial.bench import Bench, BenchSpec, UserData
from energytune.trial.energy_map import build_energy_map

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Device", "probe", "use_gpu"]

Device = Literal["auto", "cpu", "cuda"]


def probe(
    dataset: str | None = None,
    *,
    train: Any = None,
    valid: Any = None,
    test: Any = None,
    backbone: str | nn.Module | None = None,
    heads: Sequence[HeadArch] | None = None,
    label_smoothings: Sequence[float] | None = None,
    depths: Sequence[int] | None = None,
    lrs: Sequence[float] | None = None,
    weight_decays: Sequence[float] | None = None,
    n_seeds: int = 1,
    seed: int = 0,
    tau_max: int | None = None,
    n_views: int | None = None,
    batch_size: int | None = None,
    cosine: bool = False,
    n_converged: int | None = None,
    space: SearchSpace | str | Path | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_prefix: str | None = None,
    image_size: int | None = None,
    weights: Literal["default", "none"] = "default",
    data_root: str | Path | None = None,
    device: Device = "auto",
    cache_budget: str | None = None,
    progress: Progress = NO_PROGRESS,
) -> EnergyMap:
    """Probes a grid of heads, all of a cut in one pass, and returns their energy map.

    Nothing is finetuned and the test split is not read. What is not given is taken from the
    dataset's search space.

    Args:
        dataset: A dataset's name, or with ``train`` and ``test`` a label for your own data.
        train: Your own training set: map-style, items (image, class index).
        valid: Your own validation set; None cuts a stable 20 % from ``train``.
        test: Your own test set; it is checked, and not used.
        backbone: A backbone's name, or your own module that maps a batch to features.
        heads: Head architectures: ``"linear"``, ``"mlp"``, on maps also ``"aspp"``.
        label_smoothings: Smoothings in probing, each in [0, 1).
        depths: Numbers of reinitialised last blocks. None takes the space's for an embedded
            backbone and 0 for others, since every other depth trains real layers.
        lrs: Probing rates, each > 0.
        weight_decays: L2 penalties, each >= 0.
        n_seeds: Initialisations of each head, >= 1.
        seed: The first of them; it also orders the batches.
        tau_max: Last probing epoch, >= 0.
        n_views: Augmented views that probing takes in turn; 1 is the evaluation transform.
        batch_size: Samples a step.
        cosine: Whether the rate falls to 0 at ``tau_max``; else it is constant.
        n_converged: A head stops when its HP-train-accuracy is the same in so many snapshots in
            a row, >= 2; None probes all to the end.
        space: A search space, its name or its YAML file.
        checkpoint: File with the backbone's weights.
        checkpoint_prefix: What stands before the backbone's names in it; None finds it.
        image_size: Side of the input images in pixels; None is the checkpoint's, the dataset's
            or the backbone's own.
        weights: ``"none"`` for a backbone with random weights.
        data_root: Folder under which image datasets lie.
        device: ``"auto"`` takes a GPU where there is one.
        cache_budget: Room for cached features on disk, ``"20GB"``; None is a quarter of what is
            free.
        progress: Told of pretraining, downloads, features and every probing epoch.

    Raises:
        EnergyTuneError: Whatever is wrong with settings, data, weights or the device.
    """
    started = perf_counter()
    own_data = _own_data(train, valid, test, backbone)
    name = dataset or ("digits" if own_data is None else "custom")
    whole = space if isinstance(space, SearchSpace) else _load_space(space, name, own_data)
    if n_seeds < 1:
        raise ConfigError(f"n_seeds must be at least 1, got {n_seeds}.")
    grid = grid_of_space(
        whole,
        head_archs=_tuple(heads),
        label_smoothings=_tuple(label_smoothings),
        reinit_depths=_tuple(depths),
        lrs=_tuple(lrs),
        weight_decays=_tuple(weight_decays),
        seeds=tuple(range(seed, seed + n_seeds)),
        tau_max=tau_max,
        n_converged=n_converged,
    )
    grid = _with_probe(grid, n_views=n_views, batch_size=batch_size, cosine=cosine)
    noted = _Noted(progress)
    spec = BenchSpec(
        dataset=name,
        backbone=backbone if backbone is not None else get_dataset(name).backbone,
        probe=grid.probe,
        finetune=whole.finetune,
        cache=cache_dir(),
        model_dir=cache_dir(),  # nothing is finetuned, so no model is written
        weights=weights,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_prefix=checkpoint_prefix,
        image_size=image_size,
        data_root=None if data_root is None else Path(data_root),
        use_gpu=use_gpu(device),
        n_threads=len(os.sched_getaffinity(0)),
        user_data=own_data,
        cache_budget=cache_budget,
    )
    bench = spec.build(noted)
    if depths is None:
        grid = _default_depths(grid, whole, bench, noted)
    built = perf_counter()
    curves = build_energy_map(bench, grid, noted)
    seconds = {"build": built - started, "probe": perf_counter() - built}
    return EnergyMap(
        dataset=name,
        backbone=bench.backbone.name,
        grid=grid,
        curves=curves,
        n_classes=bench.splits.task.n_outputs,
        n_train=len(bench.splits.train),
        metric=bench.splits.task.metric,
        provenance=_provenance(bench),
        notes=noted.notes,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        _deepest=partial(getattr, bench.backbone, "max_reinit_depth"),
    )


class _Noted:
    """Passes everything on to another progress, and keeps the notes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.notes: list[str] = []

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Advance]:
        return self._progress.stage(name, total)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._progress.note(text)


def _own_data(train: Any, valid: Any, test: Any, backbone: Any) -> UserData | None:
    if train is None and valid is None and test is None:
        return None
    missing = [name for name, value in (("train", train), ("test", test)) if value is None]
    if missing or backbone is None:
        what = missing[0] if missing else "backbone"
        raise ConfigError(f"{what} must be given with your own data: train=, test= and backbone=.")
    return UserData(train, valid, test)


def _load_space(space: str | Path | None, dataset: str, own_data: Any) -> SearchSpace:
    if space is None:
        space = "default" if own_data is not None else get_dataset(dataset).space
    return load_space(space)


def _with_probe(
    grid: ProbeGrid, *, n_views: int | None, batch_size: int | None, cosine: bool
) -> ProbeGrid:
    """Returns the grid with other settings of its probe, checked again."""
    changes: dict[str, Any] = {}
    if n_views is not None:
        changes["n_views"] = n_views
    if batch_size is not None:
        changes["batch_size"] = batch_size
    if cosine:
        changes |= {"schedule": "cosine", "schedule_epochs": max(1, grid.tau_max)}
    values = grid.model_dump()
    values["probe"] |= changes
    return probe_grid(**values)


def _default_depths(
    grid: ProbeGrid, space: SearchSpace, bench: Bench, progress: Progress
) -> ProbeGrid:
    """Returns the grid with the space's depths where they are cheap, else without them."""
    low, high = space.reinit_depth.low, space.reinit_depth.high
    high = max(low, min(high, bench.backbone.max_reinit_depth))
    if high > low and bench.backbone.name not in EMBEDDED_BACKBONES:
        progress.note(
            f"depths {low + 1} to {high} train real layers and are left out: add --depth "
            f"{low} --depth {low + 1} to see them"
        )
        return grid
    return grid.model_copy(update={"reinit_depths": tuple(range(low, high + 1))})


def use_gpu(device: Device) -> bool:
    """Returns whether a GPU is to be used.

    Raises:
        ConfigError: If there is no such choice.
        ResourceError: If a GPU is asked for and there is none.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device must be auto, cpu or cuda, got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            "device = cuda was asked for, but torch finds no GPU here. Use --device cpu; "
            "`energytune doctor` shows what there is."
        )
    return device != "cpu" and torch.cuda.is_available()


def _provenance(bench: Bench) -> dict[str, Any]:
    import torch

    from energytune import __version__

    return {
        "energytune": __version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if bench.device.type == "cuda" else "cpu",
        "n_threads": bench.spec.n_threads,
        "backbone_sha256": bench.backbone.weights_sha256,
        "data_fingerprint": bench.splits.fingerprint,
        "protocol": bench.splits.protocol,
    }


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
