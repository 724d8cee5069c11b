"""In which order samples are visited, and what dropout draws: by (seed, stage, epoch) alone.

So a run that resumes at an epoch equals one that never stopped, bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from energytune.seeds import derive_seed

__all__ = ["epoch_order", "seed_dropout"]


def epoch_order(n_samples: int, seed: int, stage: str, epoch: int, batch_size: int) -> Tensor:
    """Returns the order in which a stage visits the samples in an epoch, (N,) int64.

    Where the last batch would hold a single sample it is left out (another one each epoch):
    batch normalisation has no variance to compute on it.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, stage, epoch))
    order = torch.randperm(n_samples, generator=generator)
    return order[:-1] if n_samples > 1 and n_samples % batch_size == 1 else order


def seed_dropout(device: torch.device, *parts: int | str) -> None:
    """Seeds the generator that dropout and drop path on ``device`` draw from.

    ``torch.manual_seed`` would do, at 0.3 ms a call: it also queues a seed for every kind of
    device, with a traceback.
    """
    seed = derive_seed(*parts)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
