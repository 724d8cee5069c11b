from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph, PaddedShape
from energytune.errors import CutError
from energytune.models.assemble import build_model
from energytune.models.backbone import create_backbone
from energytune.models.cut import CutsItself
from energytune.models.gcn import ATOM_CATEGORIES, GCN
from energytune.tasks import MultiLabel

DEPTHS = (1, 2, 3, 4)


@pytest.fixture
def x() -> Tensor:
    rng = np.random.default_rng(3)
    graphs = []
    for n_atoms in (6, 1, 9, 4):
        atoms = np.stack([rng.integers(0, n, n_atoms) for n in ATOM_CATEGORIES], axis=1)
        bonds = [(i, int(rng.integers(0, i))) for i in range(1, n_atoms)]
        graphs.append(
            MoleculeGraph(atoms.astype(np.uint8), np.array(bonds, np.int64).reshape(-1, 2))
        )
    arrays = MoleculeArrays.from_graphs(graphs)
    return arrays.dense(PaddedShape(10, arrays.shape.n_neighbours + 1))


def make(batch_norm: bool, dropout: float = 0.0) -> GCN:
    torch.manual_seed(2)
    net = GCN(8, 4, batch_norm=batch_norm, dropout=dropout)
    for name, value in net.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 1.5)
        elif name.startswith("batch_norms") and name.endswith("bias"):
            value.uniform_(-0.5, 1.0)
    return net.eval()


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
def test_resuming_equals_the_whole_network(x: Tensor, depth: int, batch_norm: bool) -> None:
    net = make(batch_norm)
    cut = net.cut_before(depth)
    z = cut.prefix(x)
    assert z.shape == (4, 10, 8 + x.shape[2] - 9)
    assert torch.equal(cut.resume(z), net(x))


@pytest.mark.parametrize("depth", DEPTHS)
def test_features_that_were_stored_in_float16_resume_nearly_equal(x: Tensor, depth: int) -> None:
    net = make(True)
    cut = net.cut_before(depth)
    stored = cut.prefix(x).half().float()
    torch.testing.assert_close(cut.resume(stored), net(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("depth", DEPTHS)
def test_gradients_of_the_tail_equal_those_of_the_whole_network(x: Tensor, depth: int) -> None:
    net = make(True)
    cut = net.cut_before(depth)
    cut.train_tail(True)
    tail = [p for name, p in net.named_parameters() if name in cut.tail_state_names]
    with torch.no_grad():
        z = cut.prefix(x)
    resumed = torch.autograd.grad(cut.resume(z).square().sum(), tail)
    whole = torch.autograd.grad(net(x).square().sum(), tail)
    for a, b in zip(resumed, whole, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_prefix_is_frozen_and_the_tail_trains(x: Tensor, depth: int) -> None:
    net = make(True, dropout=0.5)
    cut = net.cut_before(depth)
    cut.train_tail(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    z = cut.prefix(x)
    assert torch.equal(z, cut.prefix(x))  # no dropout, no drift
    assert not torch.equal(cut.resume(z), cut.resume(z))
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    assert changed
    assert changed <= cut.tail_state_names
    cut.train_tail(False)
    assert not any(part.training for part in net.modules())


@pytest.mark.parametrize(("batch_norm", "per_layer"), [(True, 7), (False, 2)])
def test_the_tail_is_the_last_layers(batch_norm: bool, per_layer: int) -> None:
    net = make(batch_norm)
    for depth in DEPTHS:
        names = net.cut_before(depth).tail_state_names
        assert len(names) == per_layer * depth
        assert {name.split(".")[1] for name in names} == {str(4 - d) for d in range(1, depth + 1)}
    assert not any("atom_encoder" in name for name in net.cut_before(4).tail_state_names)


def test_values_leave_flags_and_neighbours_out(x: Tensor) -> None:
    net = make(False)
    cut = net.cut_before(2)
    z = cut.prefix(x)
    assert cut.values(z).shape == (4, 10, 8)
    assert torch.equal(z[..., 8:], x[..., 9:])
    padding = x[..., 9] == 0
    assert not z[padding].any()
    assert cut.tail_modules is None


def test_depth_0_is_the_whole_network(x: Tensor) -> None:
    net = make(True)
    cut = net.cut_before(0)
    z = cut.prefix(x)
    assert torch.equal(z, net(x))
    assert cut.resume(z) is z
    assert cut.values(z) is z
    assert cut.tail_state_names == frozenset()


@pytest.mark.parametrize("depth", [-1, 5])
def test_more_layers_than_there_are_can_not_be_cut_off(depth: int) -> None:
    with pytest.raises(CutError, match=r"reinit_depth of backbone 'GCN' must lie in \[0, 4\]"):
        make(True).cut_before(depth)


def test_it_says_that_it_cuts_itself() -> None:
    net = make(True)
    assert isinstance(net, CutsItself)
    assert net.n_blocks == 4


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("share_prefix", [True, False])
def test_task_models_are_built_with_any_tail(x: Tensor, depth: int, share_prefix: bool) -> None:
    backbone = create_backbone("gcn-small", weights="none")
    model = build_model(
        backbone,
        head_arch="linear",
        n_outputs=12,
        reinit_depth=depth,
        seed=3,
        share_prefix=share_prefix,
    )
    assert backbone.max_reinit_depth == 5
    z = model.features(x)
    assert torch.equal(model.from_features(z), model(x))
    assert z.shape == ((4, 64) if depth == 0 else (4, 10, 64 + x.shape[2] - 9))
    targets = torch.full((4, 12), torch.nan)
    targets[0, 0], targets[2, 5] = 1.0, 0.0
    model.set_probe_mode(True)
    loss = MultiLabel(12).loss(model.from_features(z.detach()), targets)
    gradients = torch.autograd.grad(loss, model.head_side_parameters())
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert len(gradients) == 2 + 2 * depth
