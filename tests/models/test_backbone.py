from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from energytune.errors import ConfigError, MissingDataError, UnknownNameError
from energytune.models import Backbone, build_model, create_backbone, weights_sha256


class Blocks(nn.Module):
    """A user's own module that is its blocks and nothing else."""

    sequential_blocks = True

    def __init__(self, n_blocks: int = 3, skip: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.Sequential(*(nn.Linear(6, 6) for _ in range(n_blocks)))
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.blocks(x)
        return z + x if self.skip else z


class Gamma(Blocks):
    """Blocks with a weight that nobody can reinitialise."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks[2].gamma = nn.Parameter(torch.ones(6))
        self.blocks[2].reset_parameters = None  # type: ignore[assignment, method-assign]


def test_embedded(mlp: Backbone) -> None:
    assert (mlp.name, mlp.n_features, mlp.input_shape) == ("digits-mlp", 128, (64,))
    assert (mlp.input_config, mlp.max_reinit_depth, mlp.cut_problem) == (None, 4, "")
    assert not mlp.module.training
    assert (
        mlp.weights_sha256 == create_backbone("digits-mlp", weights="none", seed=3).weights_sha256
    )
    assert mlp.weights_sha256 != create_backbone("digits-mlp", weights="none").weights_sha256


def test_embedded_weights_are_not_downloaded() -> None:
    with pytest.raises(MissingDataError, match=r"pretrains it.*--checkpoint FILE"):
        create_backbone("digits-mlp")


def test_unknown_weights_and_name() -> None:
    with pytest.raises(ConfigError, match="'default' or 'none', got 'imagenet'"):
        create_backbone("digits-mlp", weights="imagenet")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'digits-mlp'"):
        create_backbone("digit-mlp", weights="none")


def test_embedded_backbones_load_no_heavy_library() -> None:
    code = (
        "import sys; from energytune.models import create_backbone, build_model;"
        "b = create_backbone('digits-mlp', weights='none');"
        "build_model(b, head_arch='mlp', n_outputs=10, reinit_depth=2, seed=0);"
        "print([m for m in ('timm', 'torchvision', 'sklearn', 'huggingface_hub') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sha256_depends_on_names_values_and_dtype() -> None:
    net = nn.Linear(2, 2)
    digest = weights_sha256(net)
    assert digest == weights_sha256(net)
    assert digest != weights_sha256(nn.Sequential(net))
    assert digest != weights_sha256(net.double())
    net.float()
    with torch.no_grad():
        net.weight[0, 0] += 1
    assert digest != weights_sha256(net)


def test_own_module_at_depth_0_is_flattened_and_copied() -> None:
    own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    own.train()
    backbone = create_backbone(own, input_shape=(1, 5, 5))
    assert (backbone.name, backbone.n_features) == ("custom:Sequential", 2 * 3 * 3)
    assert backbone.max_reinit_depth == 0
    assert "not (N, D)" in backbone.cut_problem
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=0, seed=0)
    assert net(torch.zeros(2, 1, 5, 5)).shape == (2, 3)
    assert net.features(torch.zeros(2, 1, 5, 5)).shape == (2, 18)
    assert own.training
    assert int(own[1].num_batches_tracked) == 0


def test_own_module_with_sequential_blocks() -> None:
    backbone = create_backbone(Blocks(), input_shape=(6,))
    assert backbone.max_reinit_depth == 3
    nets = [
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=2, seed=s)
        for s in (0, 0, 1)
    ]
    x = torch.randn(4, 6)
    assert torch.equal(nets[0].from_features(nets[0].features(x)), nets[0](x))
    digests = [weights_sha256(net) for net in nets]
    assert digests[0] == digests[1] != digests[2]
    own = backbone.module.state_dict()
    changed = {n for n, t in nets[0].backbone.state_dict().items() if not torch.equal(t, own[n])}
    assert changed == {f"blocks.{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}


def test_sequential_blocks_that_are_not_the_network() -> None:
    with pytest.raises(ConfigError, match="does not give its output"):
        create_backbone(Blocks(skip=True), input_shape=(6,))


def test_blocks_with_one_shared_weight_are_not_parted() -> None:
    own = Blocks()
    own.blocks[2].weight = own.blocks[0].weight
    backbone = create_backbone(own, input_shape=(6,))
    with pytest.raises(ValueError, match=r"'blocks\.2\.weight' and 'blocks\.0\.weight' are one"):
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=3, seed=0)


def test_own_layer_without_initialiser_is_named() -> None:
    backbone = create_backbone(Gamma(), input_shape=(6,))
    build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=0, seed=0)
    with pytest.raises(ValueError, match=r"'blocks\.2' \(Linear\).*reset_parameters"):
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Linear(4, 2), None, "input_shape must be given.*Linear"),
        (nn.Linear(4, 2), (5,), r"'custom:Linear' does not take inputs of shape \(5,\)"),
        (nn.LSTM(4, 2), (3, 4), "must return one tensor.*tuple"),
        (nn.Flatten(0), (4,), r"must return one tensor.*\(8,\)"),
    ],
)
def test_own_modules_that_cannot_be_used(
    module: nn.Module, shape: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        create_backbone(module, input_shape=shape)
