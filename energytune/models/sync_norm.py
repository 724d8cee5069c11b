"""Batch normalisation that takes its statistics over all processes that train one network."""

from __future__ import annotations

import copy

from torch import nn

__all__ = ["has_batch_norm", "synchronised_norm"]


def has_batch_norm(module: nn.Module) -> bool:
    """Returns whether a network has batch normalisation."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def synchronised_norm(module: nn.Module) -> nn.Module:
    """Returns a network over the same tensors whose batch normalisation is synchronised.

    What it learns, running statistics included, is learnt by ``module``. Timm's layers that join
    normalisation and activation stay joined; torch's own conversion would drop the activation.

    Args:
        module: Stays as it is; a network without batch normalisation is returned itself.
    """
    if not has_batch_norm(module):
        return module
    from timm.layers.norm_act import convert_sync_batchnorm

    tensors = module.state_dict(keep_vars=True).values()
    shell = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    converted: nn.Module = convert_sync_batchnorm(shell)  # type: ignore[no-untyped-call]
    return converted
