from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph, PaddedShape
from energytune.models.graph_layout import pack, unpack


@st.composite
def molecules(draw: st.DrawFn) -> list[MoleculeGraph]:
    """Up to five graphs of up to seven atoms, some without atoms or bonds."""
    graphs = []
    for n_atoms in draw(st.lists(st.integers(0, 7), min_size=1, max_size=5)):
        atoms = np.array(
            [[draw(st.integers(0, 255)) for _ in range(9)] for _ in range(n_atoms)], np.uint8
        ).reshape(-1, 9)
        pairs = [(i, j) for i in range(n_atoms) for j in range(i)]
        bonds = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
        graphs.append(MoleculeGraph(atoms, np.array(bonds, np.int64).reshape(-1, 2)))
    return graphs


def dense_of(graphs: list[MoleculeGraph], *, more_slots: int = 0, more_columns: int = 0) -> Tensor:
    arrays = MoleculeArrays.from_graphs(graphs)
    shape = arrays.shape
    return arrays.dense(PaddedShape(shape.n_slots + more_slots, shape.n_neighbours + more_columns))


@settings(max_examples=60, deadline=None)
@given(molecules(), st.integers(0, 3), st.integers(0, 2))
def test_unpacking_gives_the_graphs_that_were_packed(
    graphs: list[MoleculeGraph], more_slots: int, more_columns: int
) -> None:
    dense = dense_of(graphs, more_slots=more_slots, more_columns=more_columns)
    atoms, unpacked = unpack(dense, 9)
    expected: set[tuple[int, int]] = set()
    start = 0
    for graph in graphs:
        for a, b in graph.bonds.tolist():
            expected |= {(start + a, start + b), (start + b, start + a)}
        start += len(graph.atoms)
    assert np.array_equal(atoms.numpy(), np.concatenate([graph.atoms for graph in graphs]))
    edges = list(map(tuple, unpacked.edge_index.T.tolist()))
    assert len(edges) == len(set(edges))
    assert set(edges) == expected
    sizes = [len(graph.atoms) for graph in graphs]
    assert unpacked.batch.tolist() == [i for i, size in enumerate(sizes) for _ in range(size)]
    assert unpacked.n_graphs == len(graphs)


@settings(max_examples=60, deadline=None)
@given(molecules(), st.integers(0, 3), st.integers(1, 5))
def test_packing_undoes_unpacking_for_values_of_any_width(
    graphs: list[MoleculeGraph], more_slots: int, width: int
) -> None:
    dense = dense_of(graphs, more_slots=more_slots)
    atoms, unpacked = unpack(dense, 9)
    assert torch.equal(pack(atoms, unpacked), dense)
    values = torch.randn(len(atoms), width)
    again, unpacked_again = unpack(pack(values, unpacked), width)
    assert torch.equal(again, values)
    for before, after in zip(unpacked, unpacked_again, strict=True):
        assert before == after if isinstance(before, int) else torch.equal(before, after)


def test_atoms_may_stand_in_any_slots() -> None:
    dense = torch.zeros(1, 5, 1 + 1 + 2)
    dense[0, 1] = torch.tensor([7.0, 1.0, 4.0, 0.0])  # its neighbour is in slot 3
    dense[0, 3] = torch.tensor([8.0, 1.0, 0.0, 2.0])  # its neighbour is in slot 1
    atoms, graphs = unpack(dense, 1)
    assert atoms.flatten().tolist() == [7.0, 8.0]
    assert sorted(map(tuple, graphs.edge_index.T.tolist())) == [(0, 1), (1, 0)]
    assert torch.equal(pack(atoms, graphs), dense)


def test_slots_up_to_2000_survive_float16() -> None:
    slots = torch.arange(2001, dtype=torch.float32)
    assert torch.equal(slots.half().float(), slots)
    dense = torch.zeros(1, 2000, 3)
    dense[0, :, 1] = 1.0
    dense[0, :-1, 2] = torch.arange(2, 2001)
    _, graphs = unpack(dense.half(), 1)
    assert graphs.edge_index[0].tolist() == list(range(1, 2000))


def test_padding_is_zero_and_gradients_reach_the_values_only() -> None:
    dense = torch.zeros(2, 3, 1 + 1 + 1)
    dense[0, 0] = torch.tensor([5.0, 1.0, 2.0])
    dense[0, 1] = torch.tensor([6.0, 1.0, 1.0])
    dense.requires_grad_(True)
    atoms, graphs = unpack(dense, 1)
    packed = pack(atoms * 3, graphs)
    assert int((packed[0, 2:] != 0).sum()) == int((packed[1] != 0).sum()) == 0
    (gradient,) = torch.autograd.grad(packed[..., :1].sum(), dense)
    assert gradient[..., 0].flatten().tolist() == [3.0, 3.0, 0.0, 0.0, 0.0, 0.0]
    assert not gradient[..., 1:].any()
