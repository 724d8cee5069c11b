"""How much of a GPU's memory a trial takes, where several share it."""

from __future__ import annotations

import math

import torch

from energytune.config.sizes import format_bytes

__all__ = ["CONTEXT_BYTES", "limit_memory", "n_trials_at", "too_much"]

CONTEXT_BYTES = 600 * 2**20
"""What CUDA itself takes in every process, beside what torch allocates: kernels, libraries."""


def n_trials_at(share: float) -> int:
    """Returns how many trials share a GPU where each holds ``share`` of it, in (0, 1]."""
    return math.floor(1.0 / share + 1e-9)


def too_much(peak_bytes: int, free_bytes: int, share: float) -> str:
    """Returns why so many trials don't fit on a GPU, and what would; empty if they do.

    Args:
        peak_bytes: What one trial takes at most, its CUDA context included.
        free_bytes: What is free on the GPU.
        share: ``gpus_per_trial``, in (0, 1).
    """
    n_trials = n_trials_at(share)
    if n_trials * peak_bytes <= free_bytes:
        return ""
    n_fitting = free_bytes // max(peak_bytes, 1)
    told = (
        f"gpus_per_trial = {share:g} puts {n_trials} trials on one GPU, and the first batch of "
        f"each takes {format_bytes(peak_bytes)}: {format_bytes(n_trials * peak_bytes)} of the "
        f"{format_bytes(free_bytes)} that are free. "
    )
    if n_fitting < 1:
        return told + (
            "Not even one fits: take a smaller finetune.batch_size or --image-size, or "
            "--precision bf16."
        )
    fitting = math.floor(1000 / n_fitting) / 1000
    return told + f"--gpus-per-trial {fitting:g} fits."


def limit_memory(share: float) -> None:
    """Keeps this process from taking more of its GPU than its share; below 1 only.

    What is above is an error for want of memory here, where the batch is halved, and not in the
    trial beside it.

    Args:
        share: Part of the GPU, in (0, 1].
    """
    if share >= 1 or not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(0).total_memory
    fraction = max(share / 2, share - CONTEXT_BYTES / total)
    torch.cuda.set_per_process_memory_fraction(fraction)
