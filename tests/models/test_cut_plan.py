from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from energytune.errors import CutError
from energytune.models import build_model, create_backbone
from energytune.models.cut_plan import CutPlanner
from energytune.models.hook_cut import HookCut


class Net(nn.Module):
    """A stem and three blocks; children of this class misbehave in one way each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.5)

    def group_matcher(self, coarse: bool) -> dict[str, str]:
        return {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"}

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        for block in self.blocks:
            z = torch.relu(block(z))
        return self.drop(self.norm(z))


class Skip(Net):
    def forward(self, x: Tensor) -> Tensor:
        early = self.stem(x)
        z = early
        for block in self.blocks:
            z = torch.relu(block(z))
        return z + early


class Lists(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ListBlock(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        z = [self.stem(x)]
        for block in self.blocks:
            z = block(z)
        return z[0]


class ListBlock(nn.Linear):
    def forward(self, z: list[Tensor]) -> list[Tensor]:
        return [super().forward(z[0])]


class Shared(Net):
    """The tail uses what a module of the prefix made of its own weights alone."""

    def forward(self, x: Tensor) -> Tensor:
        scale = self.stem(torch.ones(1, 6))
        z = self.stem(x)
        for block in self.blocks:
            z = torch.relu(block(z)) * scale
        return z


class Counts(Net):
    """Counts its inputs before the blocks, and shapes by that number what comes behind them."""

    def forward(self, x: Tensor) -> Tensor:
        n_inputs = len(x)
        return super().forward(x).reshape(n_inputs, 8)


class LateToken(Net):
    """Reads a parameter of the stem where it is, as late class tokens do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem_token = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.stem_token


class Inplace(Net):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 8)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        for block in self.blocks:
            z = block(z)
        return z


class OutOfOrder(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        for index in (2, 1, 0):
            z = self.blocks[index](z)
        return z


class Functional(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        for block in self.blocks:
            z = nn.functional.linear(z, block.weight, block.bias)
        return z


class RandomStart(Net):
    """Dropout of the network itself, before its blocks; its mode is also that of the tail."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, self.training))


class SkipInTraining(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self.stem(x) if self.training else 0)


class TwoOutputsInTraining(Net):
    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return (z, z) if self.training else z  # type: ignore[return-value]


class FailsInTraining(Net):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("no labels")
        return super().forward(x)


class Rows(Net):
    """Makes two rows of every input, as nets that look at patches do."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x).repeat(2, 1)
        for block in self.blocks:
            z = block(z)
        return z[: len(x)] + z[len(x) :]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (RandomStart, "what comes before 'blocks.2' is random while what follows is trained"),
        (SkipInTraining, "what comes after 'blocks.2' works otherwise in training mode"),
        (TwoOutputsInTraining, "what comes after 'blocks.2' works otherwise in training mode"),
        (FailsInTraining, "training what comes after 'blocks.2' fails: no labels"),
        (Rows, "the input of 'blocks.2' has 4 rows for 2 images"),
        (Skip, "also depends on what was computed before it"),
        (Lists, "input of ListBlock at the cut is a list, no tensor"),
        (Shared, "also uses a result of 'stem."),
        (OutOfOrder, "'blocks.1' runs after 'blocks.2' but belongs before it"),
        (Functional, "no module holds block 3"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(kind: type[Net], problem: str) -> None:
    backbone = create_backbone(kind(), input_shape=(6,))
    assert backbone.max_reinit_depth == 0
    assert problem in backbone.cut_problem
    with pytest.raises(CutError, match=f"'custom:{kind.__name__}'.*{re.escape(problem)}"):
        build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=1, seed=0)
    net = build_model(backbone, head_arch="linear", n_outputs=3, reinit_depth=0, seed=0)
    assert net(torch.zeros(2, 6)).shape == (2, 3)


@pytest.mark.parametrize("kind", [Net, LateToken, Inplace, Counts])
def test_what_can_be_cut(kind: type[Net]) -> None:
    net = kind().eval()
    planner = CutPlanner(net, (6,))
    assert (planner.max_depth, planner.problem) == (3, "")
    x = torch.randn(5, 6)
    for depth in (1, 2, 3):
        cut = HookCut(net, planner.plan(depth))
        z = cut.prefix(x)
        kept = z.clone()
        assert torch.equal(cut.resume(z), net(x))
        assert torch.equal(z, kept)
        assert planner.plan(depth).copies_input is (kind is Inplace)
        assert planner.plan(depth).batch_bound is (kind is Counts)


def test_dropout_behind_the_blocks_trains_with_the_tail_and_only_with_it() -> None:
    net = Net().train()
    cut = HookCut(net, CutPlanner(net, (6,)).plan(1))
    assert net.training  # planning leaves the modes as they were
    cut.train_tail(True)
    assert net.drop.training
    assert net.norm.training
    assert not net.stem.training
    cut.train_tail(False)
    assert not any(part.training for part in net.modules())


def test_planning_does_not_change_the_network() -> None:
    net = Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    CutPlanner(net, (6,)).plan(3)
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())


class NoStages(Lists):
    """Tells its blocks, which hand on lists, and no stages."""

    def group_matcher(self, coarse: bool) -> dict[str, str]:
        return {} if coarse else super().group_matcher(coarse)


class Stages(Lists):
    """Blocks that hand on lists, within two stages that hand on tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(ToList(), *(ListBlock(8, 8) for _ in range(2)), FromList())
            for _ in range(2)
        )
        del self.blocks

    def group_matcher(self, coarse: bool) -> dict[str, str]:
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^stem", "blocks": blocks}

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        for stage in self.stages:
            z = stage(z)
        return z


class ToList(nn.Module):
    def forward(self, z: Tensor) -> list[Tensor]:
        return [z]


class FromList(nn.Module):
    def forward(self, z: list[Tensor]) -> Tensor:
        return z[0]


def test_stages_are_counted_where_blocks_cannot_be_parted() -> None:
    planner = CutPlanner(Stages().eval(), (6,))
    assert (planner.stages, planner.n_blocks, planner.max_depth) == (True, 2, 2)
    assert planner.problem == ""
    assert planner.plan(1).path == "stages.1"


def test_blocks_are_counted_where_there_are_no_stages_either() -> None:
    for kind in (NoStages, Lists):
        planner = CutPlanner(kind().eval(), (6,))
        assert (planner.stages, planner.n_blocks, planner.max_depth) == (False, 3, 0)
        assert "is a list, no tensor" in planner.problem
