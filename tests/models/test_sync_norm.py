from __future__ import annotations

import timm
import torch
from torch import nn

from energytune.models.sync_norm import has_batch_norm, synchronised_norm


def kinds(module: nn.Module) -> set[str]:
    return {type(part).__name__ for part in module.modules()}


def test_a_network_without_batch_norm_is_itself() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    assert not has_batch_norm(network)
    assert synchronised_norm(network) is network


def test_the_copy_shares_every_tensor_and_leaves_the_network_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    shell = synchronised_norm(network)
    own, shared = (dict(m.state_dict(keep_vars=True)) for m in (network, shell))
    assert list(own) == list(shared)
    assert all(shared[name] is tensor for name, tensor in own.items())
    assert "BatchNorm2d" in kinds(network)
    assert "SyncBatchNorm" in kinds(shell)
    shell.eval()
    assert network.training


def test_an_activation_that_is_joined_to_the_norm_stays() -> None:
    """Torch's own conversion would make a linear network of this one."""
    network = timm.create_model("efficientnet_b0", num_classes=0)
    shell = synchronised_norm(network)
    assert "BatchNormAct2d" not in kinds(shell)
    assert "SyncBatchNormAct" in kinds(shell)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(shell.eval()(images), network.eval()(images))
