"""The closed form against autograd and torch's own optimiser."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from energytune.config import ProbeConfig
from energytune.models import build_model, create_backbone
from energytune.tasks import Multiclass
from energytune.training.head_epoch import head_epoch

N, K = 50, 7


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N, 64, generator=generator), torch.arange(N) % K


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("head_arch", ["linear", "mlp"])
def test_an_epoch_is_that_of_autograd_and_torchs_sgd(
    data: tuple[torch.Tensor, torch.Tensor],
    head_arch: str,
    depth: int,
    weight_decay: float,
    smoothing: float,
) -> None:
    images, targets = data
    backbone = create_backbone("digits-mlp", weights="none", seed=3)
    model = build_model(backbone, head_arch=head_arch, n_outputs=K, reinit_depth=depth, seed=5)
    model = model.double()
    reference = copy.deepcopy(model)
    with torch.no_grad():
        features = model.features(images.double())
    config = ProbeConfig(lr=0.1, momentum=0.8, weight_decay=weight_decay, batch_size=16)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))

    train, _ = head_epoch(model, features, targets, Multiclass(K), config, smoothing)
    assert model.dense_head_side() is not None
    for _ in range(3):
        train(order)

    optimizer = torch.optim.SGD(
        reference.head_side_parameters(), lr=0.1, momentum=0.8, weight_decay=weight_decay
    )
    for _ in range(3):
        for batch in torch.split(order, 16):
            optimizer.zero_grad()
            logits = reference.from_features(features[batch])
            F.cross_entropy(logits, targets[batch], label_smoothing=smoothing).backward()
            optimizer.step()

    for name, value in reference.head_side_state().items():
        torch.testing.assert_close(model.head_side_state()[name], value, rtol=1e-9, atol=1e-9)


def test_a_head_side_that_is_no_dense_chain_goes_through_autograd() -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sigmoid()

    class Net(nn.Module):
        sequential_blocks = True

        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(6, 5), Gate()])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    torch.manual_seed(0)
    backbone = create_backbone(Net(), input_shape=(6,))
    model = build_model(backbone, head_arch="linear", n_outputs=2, reinit_depth=1, seed=0)
    assert model.dense_head_side() is None
    features, targets = torch.randn(8, 5), torch.arange(8) % 2
    before = model.head.weight.detach().clone()
    gated = model.from_features(features).detach()
    torch.testing.assert_close(gated, model.head(features.sigmoid()))
    train, _ = head_epoch(model, features, targets, Multiclass(2), ProbeConfig(), 0.0)
    train(torch.arange(8))
    assert not torch.equal(model.head.weight, before)
