"""Pretraining of the embedded backbones, on first use."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from energytune.data import PretrainSet, pretraining_set
from energytune.models import SPATIAL_BACKBONES, create_backbone
from energytune.models.checkpoint_write import checkpoint_bytes
from energytune.paths import CACHE_ADVICE, atomic_file
from energytune.progress import NO_PROGRESS, Progress
from energytune.seeds import derive_seed
from energytune.training.features import content_key
from energytune.training.order import epoch_order
from energytune.training.sgd import Sgd
from energytune.training.sharing import NOT_SHARED, Sharing
from energytune.training.threads import cpu_threads

__all__ = ["pretrain_embedded"]


def pretrain_embedded(
    dataset: str,
    backbone: str,
    cache: Path,
    progress: Progress = NO_PROGRESS,
    *,
    seed: int = 0,
    sharing: Sharing = NOT_SHARED,
) -> Path:
    """Returns the weights of an embedded backbone, pretrained for ``dataset`` on first use.

    Supervised, with the settings of the dataset's pretraining set and one seed; kept as
    safetensors under an address that depends on data, settings and architecture.

    Args:
        dataset: Name of an embedded dataset, for example ``"digits"``.
        backbone: Name of an embedded backbone, for example ``"digits-mlp"``.
        cache: Folder of all caches.
        progress: Told each epoch.
        seed: Of initialisation and batch order. The package's own backbone has seed 0.
        sharing: Through which nodes hand the weights to one another: two kinds of processor
            would round them differently.

    Raises:
        OutputError: If the cache can't be written.
    """
    source = pretraining_set(dataset)
    model, module = _fresh(backbone, source, seed)
    key = content_key(
        kind="pretrained backbone",
        seed=seed,
        data=source.fingerprint,
        n_outputs=source.task.n_outputs,
        config=asdict(source.config),
        backbone=backbone,
        shapes={name: list(value.shape) for name, value in module.state_dict().items()},
    )
    name = f"{backbone}-{key}.safetensors"
    path = cache / "backbones" / name
    if path.exists() or sharing.fetch(f"backbones/{name}", path):
        if sharing.lacks(f"backbones/{name}"):  # it is older than the storage
            sharing.put(f"backbones/{name}", path)
        return path

    config, task = source.config, source.task
    optimizer = Sgd(
        list(model.named_parameters()), momentum=config.momentum, weight_decay=config.weight_decay
    )
    n_samples = len(source.targets)
    n_steps = math.ceil(n_samples / config.batch_size) * config.epochs
    step = 0
    with (
        cpu_threads(1),  # the weights must not depend on who pretrains
        progress.stage(f"pretraining {backbone}", total=config.epochs) as advance,
    ):
        for epoch in range(1, config.epochs + 1):
            order = epoch_order(n_samples, seed, "pretrain", epoch, config.batch_size)
            for batch in torch.split(order, config.batch_size):
                loss = task.loss(model(source.images[batch]), source.targets[batch])
                lr = config.lr * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
                optimizer.step(loss, lr)
                step += 1
            advance(1)
    with atomic_file(path, CACHE_ADVICE) as file:
        file.write(checkpoint_bytes(module.state_dict(), _metadata(module)))
    sharing.put(f"backbones/{name}", path)
    return path


def _metadata(module: nn.Module) -> dict[str, str]:
    """Returns what a checkpoint must say of itself: the vocabulary of a network on graphs."""
    vocabulary = getattr(module, "vocabulary", None)
    return {"format": "pt"} | ({"vocabulary": vocabulary} if isinstance(vocabulary, str) else {})


def _fresh(backbone: str, source: PretrainSet, seed: int) -> tuple[nn.Module, nn.Module]:
    """Returns network with head, and the network; the caller's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        module = create_backbone(
            backbone, weights="none", seed=seed, spatial=backbone in SPATIAL_BACKBONES
        ).module
        with torch.no_grad():
            features = module(source.images[:2])
        torch.manual_seed(derive_seed(seed, "pretraining head"))
        head: nn.Module = nn.Linear(features.shape[1], source.task.n_outputs)
    if features.ndim == 4:  # maps, for a downstream task of one target a pixel
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return nn.Sequential(module, head).train(), module
