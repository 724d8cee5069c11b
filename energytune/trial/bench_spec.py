"""What a bench is built from: a small picklable description; every process builds its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from energytune.config import (
    EngineConfig,
    FinetuneConfig,
    InputConfig,
    ProbeConfig,
)
from energytune.data import Splits
from energytune.models import create_backbone
from energytune.progress import NO_PROGRESS, Progress
from energytune.storage import SharedStorage
from energytune.training.sharing import Sharing
from energytune.trial.bench_backbone import named_backbone, needs_download
from energytune.trial.bench_data import UserData, check_inputs, fetch_dataset, load_splits
from energytune.trial.checkpoints import CHECKPOINT_S

if TYPE_CHECKING:
    from energytune.trial.bench import Bench

__all__ = ["BenchSpec"]


@dataclass(frozen=True)
class BenchSpec:
    """Picklable description of a bench.

    Attributes:
        dataset: Dataset name, or a label for ``user_data``.
        backbone: Backbone name, or a user's own module that returns features.
        probe: Optimiser of head probing.
        finetune: Schedule and optimiser of finetuning.
        cache: Folder of all caches.
        model_dir: Where confirmed models are written.
        weights: ``"default"`` or ``"none"``.
        checkpoint: File with the backbone's weights.
        checkpoint_prefix: What stands before the backbone's names in it; None finds it.
        data_root: Folder under which image datasets lie.
        loader_workers: Processes that load images; None chooses.
        use_gpu: Whether trials compute on the first visible GPU.
        n_threads: CPU threads one trial computes with.
        cache_budget: Bytes that cached features may have on disk, such as ``"20GB"``; None takes
            ``$ENERGYTUNE_CACHE_BUDGET``, else a quarter of the free disk.
        user_data: A user's own datasets instead of a named one.
        image_size: Side of the input images in pixels; None is that of the checkpoint's header,
            of the dataset, or of the backbone.
        engine: How networks compute.
        gpu_share: Part of a GPU's memory that a worker may take, in (0, 1].
        storage_path: Shared storage, through which nodes with caches of their own hand one another
            features, snapshots and models; None if all see ``cache`` and ``model_dir``.
        search_id: The search's identity there.
        content: Fingerprint of the data and hash of the backbone's weights that every process
            must find; None for the first, which says what they are.
        pause_epochs: Finetuning epochs at which the state of a trial that is stopped there is
            kept, so that it can go on; empty if no trial is ever paused.
        checkpoint_s: Seconds of finetuning between two checkpoints, >= 0; 0 is one an epoch.
        max_feature_bytes: Bytes that cached features may have on disk at most, whatever
            ``cache_budget`` says, those of other searches included; None is no further limit.
        max_state_bytes: Bytes that checkpoints may have; None is no limit.
    """

    dataset: str
    backbone: str | nn.Module
    probe: ProbeConfig
    finetune: FinetuneConfig
    cache: Path
    model_dir: Path
    weights: Literal["default", "none"] = "default"
    checkpoint: Path | None = None
    checkpoint_prefix: str | None = None
    data_root: Path | None = None
    loader_workers: int | None = None
    use_gpu: bool = False
    n_threads: int = 1
    cache_budget: str | None = None
    user_data: UserData | None = field(default=None, repr=False)
    image_size: int | None = None
    engine: EngineConfig = field(default_factory=EngineConfig)
    gpu_share: float = 1.0
    storage_path: str | None = None
    search_id: str = ""
    content: tuple[str, str] | None = None
    pause_epochs: frozenset[int] = frozenset()
    checkpoint_s: float = CHECKPOINT_S
    max_feature_bytes: int | None = None
    max_state_bytes: int | None = None

    @property
    def sharing(self) -> Sharing:
        """What other nodes are handed."""
        return Sharing(SharedStorage(self.storage_path) if self.storage_path else None)

    def build(self, progress: Progress = NO_PROGRESS) -> Bench:
        """Loads data and backbone; pretrains an embedded backbone on first use.

        Raises:
            EnergyTuneError: Whatever is wrong with the data, the backbone or its weights.
        """
        from energytune.trial.bench import Bench

        torch.set_num_threads(self.n_threads)
        if self.user_data is None:  # before anything that takes long
            self._fetch_dataset(progress)
        if isinstance(self.backbone, str):
            backbone = named_backbone(self, self.backbone, progress)
            splits = self._splits(backbone.input_config, progress)
            check_inputs(backbone, splits)
            return Bench(self, splits, backbone)
        splits = self._splits(None, progress)
        images, _ = next(iter(splits.valid.batches(1)))
        backbone = create_backbone(
            self.backbone,
            checkpoint=self.checkpoint,
            checkpoint_prefix=self.checkpoint_prefix,
            input_shape=tuple(images.shape[1:]),
        )
        return Bench(self, splits, backbone)

    def _fetch_dataset(self, progress: Progress) -> None:
        fetch_dataset(
            self.dataset,
            self.data_root,
            weights_of=str(self.backbone) if needs_download(self) else None,
            progress=progress,
        )

    def _splits(self, input_config: InputConfig | None, progress: Progress) -> Splits:
        return load_splits(
            self.dataset,
            self.user_data,
            data_root=self.data_root,
            input_config=input_config,
            loader_workers=self.loader_workers,
            progress=progress,
        )
