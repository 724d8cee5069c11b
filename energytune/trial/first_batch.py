"""The memory of a first batch, measured before several trials are put on one GPU."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from energytune.config import HeadArch, Recipe
from energytune.errors import ResourceError
from energytune.training.engine import laid_out, training_forward
from energytune.training.feeding import device_batches
from energytune.training.gpu_memory import CONTEXT_BYTES, too_much
from energytune.training.micro_batch import is_out_of_memory, release_memory
from energytune.training.sgd import Sgd
from energytune.trial.bench import Bench

__all__ = ["check_first_batch", "train_first_batch"]


def check_first_batch(bench: Bench, heads: Iterable[HeadArch], share: float) -> None:
    """Checks that as many trials fit on the GPU as are to share it; elsewhere it does nothing.

    A finetune trains the whole network whatever its depth, so of the recipes only the heads
    differ. The features that are on the GPU already count, for each trial has its own.

    Args:
        bench: On the trials' device, its features loaded.
        heads: All that are searched.
        share: ``gpus_per_trial``.

    Raises:
        ResourceError: If they don't fit, with the share that would.
    """
    if bench.device.type != "cuda" or not 0 < share < 1:
        return
    device = bench.device
    release_memory(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        for head in heads:
            train_first_batch(bench, head)
        peak = torch.cuda.max_memory_reserved(device) + CONTEXT_BYTES
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        peak = torch.cuda.get_device_properties(device).total_memory
    release_memory(device)
    free, _ = torch.cuda.mem_get_info(device)
    if told := too_much(peak, free, share):
        raise ResourceError(told)


def train_first_batch(bench: Bench, head: HeadArch) -> float:
    """Trains a fresh model on one batch, forward, backward and step; returns its loss in nats."""
    config, engine, splits = bench.spec.finetune, bench.spec.engine, bench.splits
    recipe = Recipe(tau=0, head_arch=head, ft_lr=1.0)
    model = bench.model(recipe, seed=0)
    laid_out(model, engine)
    model.train()
    optimizer = Sgd(
        list(model.named_parameters()),
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    order = torch.arange(min(config.batch_size, len(splits.train)))
    forward = training_forward(model, engine.model_copy(update={"compile": False}), bench.device)
    batches = device_batches(
        splits.train, len(order), device=bench.device, engine=engine, order=order
    )
    inputs, targets, _ = next(iter(batches))
    loss = splits.task.loss(forward(inputs), targets)
    optimizer.step(loss, 0.0)
    return float(loss.detach())
