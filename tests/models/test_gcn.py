from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.data import atoms as data_atoms
from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph, PaddedShape
from energytune.models import gcn as gcn_module
from energytune.models.gcn import ATOM_CATEGORIES, GCN, GRAPH_BACKBONES, AtomEncoder

SHAPE = PaddedShape(9, 8)


def random_graph(n_atoms: int, rng: np.random.Generator) -> MoleculeGraph:
    atoms = np.stack([rng.integers(0, n, n_atoms) for n in ATOM_CATEGORIES], axis=1)
    pairs = [(i, j) for i in range(n_atoms) for j in range(i) if rng.random() < 0.4]
    return MoleculeGraph(atoms.astype(np.uint8), np.array(pairs, np.int64).reshape(-1, 2))


def batch(sizes: list[int], seed: int = 0, shape: PaddedShape = SHAPE) -> Tensor:
    rng = np.random.default_rng(seed)
    return MoleculeArrays.from_graphs([random_graph(n, rng) for n in sizes]).dense(shape)


def trained(batch_norm: bool = True, n_layers: int = 3) -> GCN:
    """A network whose batch normalisation has statistics and weights that are not the initial."""
    torch.manual_seed(1)
    net = GCN(8, n_layers, batch_norm=batch_norm)
    for name, value in net.state_dict().items():
        if name.endswith("bias"):
            value.uniform_(-0.5, 1.0)
        elif "batch_norms" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return net.eval()


def reference(net: GCN, molecule: Tensor) -> Tensor:
    """One molecule, (S, 9 + 1 + M), through D^-1/2 (A + I) D^-1/2 X W + b in float64."""
    rows = [row for row in molecule.tolist() if row[9] == 1.0]
    if not rows:
        return torch.zeros(net.num_features, dtype=torch.float64)
    adjacency = torch.eye(len(rows), dtype=torch.float64)
    for i, row in enumerate(rows):
        for neighbour in row[10:]:
            if neighbour:
                adjacency[i, int(neighbour) - 1] = 1.0
    scale = adjacency.sum(dim=1).rsqrt()
    propagation = scale[:, None] * adjacency * scale[None, :]
    state = {name: value.double() for name, value in net.state_dict().items()}
    x = torch.stack(
        [
            torch.stack(
                [
                    state[f"atom_encoder.atom_embedding_list.{k}.weight"][int(row[k])]
                    for k in range(9)
                ]
            ).sum(dim=0)
            for row in rows
        ]
    )
    for layer in range(net.n_blocks):
        x = propagation @ x @ state[f"convs.{layer}.lin.weight"].T + state[f"convs.{layer}.bias"]
        norm = f"batch_norms.{layer}"
        if f"{norm}.weight" in state:
            x = (x - state[f"{norm}.running_mean"]) / (
                state[f"{norm}.running_var"] + 1e-5
            ).sqrt() * state[f"{norm}.weight"] + state[f"{norm}.bias"]
        if layer < net.n_blocks - 1:
            x = x.clamp_min(0)
    return x.mean(dim=0)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_it_equals_an_independent_dense_reference(batch_norm: bool) -> None:
    net, x = trained(batch_norm), batch([5, 1, 9, 0, 4])
    expected = torch.stack([reference(net, molecule) for molecule in x])
    torch.testing.assert_close(net(x).double(), expected, rtol=1e-5, atol=1e-5)


def test_the_encoder_adds_nine_embeddings() -> None:
    torch.manual_seed(0)
    encoder = AtomEncoder(4)
    features = torch.tensor([[n - 1 for n in ATOM_CATEGORIES], [0] * 9], dtype=torch.float32)
    tables = [table.weight for table in encoder.atom_embedding_list]
    expected = torch.stack([sum(t[-1] for t in tables), sum(t[0] for t in tables)])
    torch.testing.assert_close(encoder(features), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_the_order_of_the_atoms_does_not_matter(seed: int, n_atoms: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(n_atoms, rng)
    order = rng.permutation(n_atoms)
    place = np.argsort(order)
    moved = MoleculeGraph(graph.atoms[order], place[graph.bonds].reshape(-1, 2))
    x = MoleculeArrays.from_graphs([graph, moved]).dense(SHAPE)
    first, second = trained()(x)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_molecule_is_alone_in_its_batch_and_padding_has_no_say() -> None:
    net = trained()
    x = batch([5, 3, 9])
    wide = batch([5, 3, 9], shape=PaddedShape(14, 11))
    for i in range(3):
        torch.testing.assert_close(net(x[i : i + 1])[0], net(x)[i])
    torch.testing.assert_close(net(wide), net(x))


@pytest.mark.parametrize("shape", [(2, 16, 16), (0, 16, 16), (2, 0, 16), (3, 4, 10)])
def test_molecules_without_atoms_have_no_features_and_no_nan(shape: tuple[int, ...]) -> None:
    net = trained()
    features = net(torch.zeros(shape))
    assert features.shape == (shape[0], 8)
    assert not features.any()


def test_an_empty_molecule_among_others_stays_zero_in_training() -> None:
    net = trained().train()
    features = net(batch([3, 0, 2]))
    assert not features[1].any()
    assert bool(torch.isfinite(features).all())
    features.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize(("name", "width"), [("gcn", 300), ("gcn-small", 64)])
def test_the_registered_networks(name: str, width: int) -> None:
    torch.manual_seed(5)
    net = GRAPH_BACKBONES[name]()
    torch.manual_seed(5)
    twin = GRAPH_BACKBONES[name]()
    assert (net.num_features, net.n_blocks, net.vocabulary) == (width, 5, "ogb-1")
    assert net.eval()(torch.zeros(2, *net.input_shape)).shape == (2, width)
    assert all(
        torch.equal(a, b)
        for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True)
    )
    assert any("running_mean" in key for key in net.state_dict()) is (name == "gcn")


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = GCN(8, 2, batch_norm=False, dropout=0.5)
    x = batch([6, 6])
    assert torch.equal(net.eval()(x), net.eval()(x))
    torch.manual_seed(1)
    dropped = net.train()(x)
    assert not torch.equal(dropped, net.eval()(x))


def test_a_copy_is_independent() -> None:
    net = trained()
    twin, x = copy.deepcopy(net), batch([4])
    with torch.no_grad():
        twin.convs[0].lin.weight.zero_()
    assert not torch.equal(net(x), twin(x))


def test_readers_and_networks_number_atoms_alike() -> None:
    assert data_atoms.ATOM_CATEGORIES == gcn_module.ATOM_CATEGORIES
    assert GCN.vocabulary == data_atoms.ATOM_VOCABULARY
    assert len(data_atoms.ATOM_FEATURES) == len(ATOM_CATEGORIES)
