from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.data.molecule_arrays import MoleculeArrays, MoleculeGraph, PaddedShape
from energytune.data.molecule_split import MoleculeSplit
from energytune.errors import DataError


def graph(n_atoms: int, bonds: list[tuple[int, int]], first: int = 0) -> MoleculeGraph:
    atoms = np.arange(first, first + 9 * n_atoms).reshape(n_atoms, 9) % 200
    return MoleculeGraph(atoms.astype(np.uint8), np.array(bonds, np.int64).reshape(-1, 2))


GRAPHS = [graph(3, [(0, 1), (1, 2)]), graph(1, [], 30), graph(0, []), graph(2, [(1, 0)], 50)]


def test_the_dense_form_is_features_flag_and_neighbours() -> None:
    arrays = MoleculeArrays.from_graphs(GRAPHS)
    assert arrays.shape == PaddedShape(3, 2)
    dense = arrays.dense(PaddedShape(4, 3))
    assert dense.shape == (4, 4, 13)
    assert dense.dtype == torch.float32
    assert dense[0, :, 9:].tolist() == [
        [1.0, 2.0, 0.0, 0.0],
        [1.0, 1.0, 3.0, 0.0],
        [1.0, 2.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
    ]
    assert dense[0, 1, :9].tolist() == list(range(9, 18))
    assert dense[1, 0].tolist() == [*range(30, 39), 1, 0, 0, 0]
    assert not dense[2].any()
    assert dense[3, :2, 9:].tolist() == [[1.0, 2.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]


def test_a_bond_counts_once_however_it_is_listed() -> None:
    once = MoleculeArrays.from_graphs([graph(3, [(0, 1), (1, 2)])])
    often = MoleculeArrays.from_graphs([graph(3, [(1, 0), (0, 1), (1, 2), (2, 1), (2, 2)])])
    assert once.sha256() == often.sha256()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=8))
def test_selected_molecules_are_those_of_the_whole(order: list[int]) -> None:
    arrays = MoleculeArrays.from_graphs(GRAPHS)
    shape = arrays.shape
    indices = np.array(order, np.int64)
    selected = arrays.select(indices)
    assert len(selected) == len(order)
    assert torch.equal(selected.dense(shape), arrays.dense(shape)[torch.from_numpy(indices)])
    direct = MoleculeArrays.from_graphs([GRAPHS[i] for i in order])
    assert selected.sha256() == direct.sha256()


def test_the_hash_tells_molecules_apart() -> None:
    hashes = {
        MoleculeArrays.from_graphs(graphs).sha256()
        for graphs in (
            GRAPHS,
            GRAPHS[::-1],
            [graph(3, [(0, 1), (0, 2)]), *GRAPHS[1:]],
            [graph(3, [(0, 1), (1, 2)], 1), *GRAPHS[1:]],
        )
    }
    assert len(hashes) == 4


def test_it_is_stored_and_read_as_it_is() -> None:
    arrays = MoleculeArrays.from_graphs(GRAPHS)
    again = MoleculeArrays.from_tensors({**arrays.tensors(), "other": torch.zeros(1)})
    assert again.sha256() == arrays.sha256()


def test_memory_is_small() -> None:
    arrays = MoleculeArrays.from_graphs([graph(26, [(i, i + 1) for i in range(25)])] * 100)
    n_bytes = sum(t.numel() * t.element_size() for t in arrays.tensors().values())
    assert n_bytes / 100 < 500  # molpcba: 437,929 molecules of 26 atoms in 0.2 GB


def split(n: int = 4) -> MoleculeSplit:
    arrays = MoleculeArrays.from_graphs(GRAPHS[:n])
    targets = torch.tensor([[1.0, torch.nan], [0.0, 1.0], [1.0, 1.0], [torch.nan, 0.0]])[:n]
    return MoleculeSplit(arrays, targets, PaddedShape(5, 4))


def test_a_split_gives_padded_batches_in_any_order() -> None:
    data = split()
    whole = data.molecules.dense(data.shape)
    batches = list(data.batches(3))
    assert [len(images) for images, _ in batches] == [3, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), whole)
    order = torch.tensor([3, 0, 3])
    ((images, targets),) = data.batches(5, order=order, augment=True, seed=7)
    assert torch.equal(images, whole[order])
    assert targets.isnan().tolist() == [[True, False], [False, True], [True, False]]
    assert data.targets.shape == (4, 2)


def test_a_large_split_is_packed_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = list(split().batches(2))
    monkeypatch.setattr("energytune.data.molecule_split._DENSE_BYTES", 0)
    packed = list(split().batches(2))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(kept, packed, strict=True))


def test_a_split_that_does_not_fit_is_refused() -> None:
    arrays = MoleculeArrays.from_graphs(GRAPHS)
    with pytest.raises(DataError, match="one row of labels for each molecule: got 4 molecules"):
        MoleculeSplit(arrays, torch.zeros(3, 2), arrays.shape)
    with pytest.raises(DataError, match="don't fit into 2 and 2"):
        MoleculeSplit(arrays, torch.zeros(4, 2), PaddedShape(2, 2))
