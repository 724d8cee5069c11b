from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from energytune.models import Backbone, create_backbone


@cache
def _timm_backbone(name: str, size: int) -> Backbone:
    return create_backbone(name, weights="none", input_shape=(3, size, size), seed=3)


@pytest.fixture
def timm_backbone() -> Callable[[str, int], Backbone]:
    """Small timm backbones with random weights; each is built once and never changed."""
    return _timm_backbone


@pytest.fixture
def mlp() -> Backbone:
    return create_backbone("digits-mlp", weights="none", seed=3)


def perturb(module: nn.Module) -> nn.Module:
    """Adds noise to every weight: fresh residual branches are scaled by 0 and hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return module


@pytest.fixture(name="perturb")
def _perturb() -> Callable[[nn.Module], nn.Module]:
    return perturb
