"""Task heads: what turns features into logits."""

from __future__ import annotations

import torch
from torch import nn

from energytune.config import HEAD_ARCHS
from energytune.errors import unknown_name

__all__ = ["MLP_HIDDEN", "create_head"]

MLP_HIDDEN = 256
"""Width of the hidden layer of the ``mlp`` head."""


def create_head(head_arch: str, n_features: int, n_outputs: int, *, seed: int) -> nn.Module:
    """Builds a head with ``nn.Linear``'s default initialisation.

    Args:
        head_arch: ``"linear"``: one linear layer; ``"mlp"``: linear, ReLU, linear.
        n_features: Width D of the features, >= 1.
        n_outputs: Width K of the logits, >= 1.
        seed: The same seed gives bit-equal weights; the global generator is left as it was.

    Returns:
        A module from (N, D) features to (N, K) logits.

    Raises:
        UnknownNameError: If there is no such head.
    """
    if head_arch not in HEAD_ARCHS:
        raise unknown_name("head", head_arch, HEAD_ARCHS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if head_arch == "linear":
            return nn.Linear(n_features, n_outputs)
        return nn.Sequential(
            nn.Linear(n_features, MLP_HIDDEN), nn.ReLU(), nn.Linear(MLP_HIDDEN, n_outputs)
        )
