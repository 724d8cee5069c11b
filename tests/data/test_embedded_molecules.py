from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from energytune.data import dataset_status, get_dataset, load_dataset
from energytune.data import embedded_molecules as family
from energytune.data import smiles as smiles_module
from energytune.data.enumerated_smiles import CORES, ENDS, LINKERS, assemble, enumerate_molecules
from energytune.data.molecule_labels import (
    ALERTS,
    DESCRIPTORS,
    TOXICOPHORES,
    above_median,
    found_alerts,
    spoil,
    toxicophore_labels,
)
from energytune.data.pretraining import pretraining_set
from energytune.data.smiles import murcko_scaffold, parse_smiles, quiet_rdkit, rdkit_version
from energytune.errors import MissingDataError

TEXTS_SHA256 = "47e511514a372abb1fc06788ec07d9ac9dd69a96dc80c4b3034f8f2ad8c3f0b4"
SMILES_SHA256 = "517af44dfa2eb08904e0cfc95c82c3d8b60be3e6dc4bc8f40bc7bae51a7837ad"


def rows_of(dense: torch.Tensor) -> set[bytes]:
    return {molecule.numpy().tobytes() for molecule in dense}


def test_the_texts_are_what_they_were() -> None:
    texts = "\n".join(assemble(number, seed=0) for number in range(6000))
    assert hashlib.sha256(texts.encode()).hexdigest() == TEXTS_SHA256


@pytest.mark.skipif(rdkit_version() != "2026.9.1", reason="canonical SMILES of that RDKit")
def test_the_molecules_are_what_they_were() -> None:
    with quiet_rdkit():
        smiles = "\n".join(enumerate_molecules(500))
    assert hashlib.sha256(smiles.encode()).hexdigest() == SMILES_SHA256


def test_molecules_are_different_and_valid() -> None:
    with quiet_rdkit():
        found = enumerate_molecules(200)
        assert len(found) == 200
        assert list(found)[:50] == list(enumerate_molecules(50))
        assert all(parse_smiles(text) is not None for text in found)
    assert all(len(set(parts)) == len(parts) for parts in (CORES, ENDS))
    assert "" in LINKERS


def test_alerts_are_found() -> None:
    expected: dict[str, set[str]] = {
        "CCO": set(),
        "O=[N+]([O-])c1ccccc1": {"nitro"},
        "CN=NC": {"azo"},
        "C1OC1C": {"strained ring"},
        "C1CC1C": set(),
        "C=CC(=O)C": {"enone"},
        "COC(=O)C": set(),
        "CC=O": {"aldehyde"},
        "Nc1ccccc1": {"aromatic amine"},
        "CC(=O)Nc1ccccc1": set(),
        "CCN": {"aliphatic amine"},
        "CC(=O)NC": set(),
        "NNC(=O)C": {"hydrazine"},
        "CCBr": {"alkyl halide"},
        "Brc1ccccc1": {"aromatic halide"},
        "BrCCS": {"alkyl halide", "thiol"},
    }
    found = found_alerts([parse_smiles(text) for text in expected])
    assert dict(zip(expected, map(set, found), strict=True)) == expected
    assert {name for label in TOXICOPHORES.values() for name in label.alerts} <= set(ALERTS)


def test_labels_ask_for_alerts_and_for_the_molecule_around_them() -> None:
    alerts = [frozenset[str](), frozenset({"nitro"}), frozenset({"strained ring", "nitro"})] * 2
    descriptors = np.zeros((6, len(DESCRIPTORS)))
    descriptors[3:] = 1.0  # the last three lie above every median
    labels = dict(
        zip(TOXICOPHORES, toxicophore_labels(alerts, descriptors).T.tolist(), strict=True)
    )
    assert labels["nitro or azo"] == [0, 1, 1, 0, 1, 1]
    assert labels["hydrazine"] == [0] * 6
    assert labels["lipophilic alkylating"] == [0, 0, 0, 0, 0, 1]
    assert labels["unsaturated mutagenic"] == [0, 1, 1, 0, 0, 0]
    assert labels["small with two alerts"] == [0, 0, 1, 0, 0, 0]
    assert labels["flexible reactive"] == [0, 0, 0, 0, 1, 1]


def test_spoilt_labels_depend_on_seed_molecule_and_label_only() -> None:
    labels = np.tile(np.array([[0.0, 1.0, 1.0]], np.float32), (4000, 1))
    keys = [f"m{i}" for i in range(4000)]
    spoilt = spoil(labels, keys, noise=0.03, missing=0.2, seed=0)
    assert np.array_equal(
        spoilt[::-1], spoil(labels, keys[::-1], noise=0.03, missing=0.2, seed=0), True
    )
    missing = np.isnan(spoilt)
    assert abs(missing.mean() - 0.2) < 0.01
    assert abs((spoilt != labels)[~missing].mean() - 0.03) < 0.005
    assert not np.array_equal(missing[:, 1], missing[:, 2])
    other = spoil(labels, keys, noise=0.03, missing=0.2, seed=1)
    assert not np.array_equal(np.isnan(other), missing)
    assert np.array_equal(spoil(labels, keys, noise=0.0, missing=0.0, seed=0), labels)


def test_half_of_the_molecules_lie_above_a_median() -> None:
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 6.0]])
    assert above_median(values).tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]


def test_the_downstream_task() -> None:
    splits = load_dataset("molecules")
    entry = get_dataset("molecules")
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [400, 400, 800]
    assert len(splits.class_names) == splits.task.n_outputs == entry.n_classes == 12
    test = splits.test.open("to count labels")
    labels = torch.cat([splits.train.targets, splits.valid.targets, test.targets])
    shares = labels.nanmean(dim=0)
    assert bool(((shares > 0.08) & (shares < 0.6)).all())
    assert abs(float(labels.isnan().float().mean()) - 0.2) < 0.02
    assert load_dataset("molecules").fingerprint == splits.fingerprint


def test_no_molecule_is_in_two_places() -> None:
    places = []
    for name in ("molecules", "descriptors"):
        splits = load_dataset(name)
        whole = pretraining_set("descriptors" if name == "molecules" else "molecules")
        places.append(rows_of(whole.images))
        parts = [splits.train, splits.valid, splits.test.open("to compare")]
        found = [rows_of(part.molecules.dense(part.shape)) for part in parts]  # type: ignore[attr-defined]
        assert sum(map(len, found)) == len(set().union(*found)) > 0.98 * sum(map(len, parts))
        assert set().union(*found) <= places[-1]
    assert not places[0] & places[1]


def test_no_scaffold_is_on_both_sides() -> None:
    with quiet_rdkit():
        scaffolds = [murcko_scaffold(molecule) for molecule in enumerate_molecules(300).values()]
    sides = {scaffold: family._is_downstream(scaffold) for scaffold in scaffolds}
    assert 0.15 < np.mean([sides[scaffold] for scaffold in scaffolds]) < 0.5


def test_pretraining_reads_the_other_task() -> None:
    source = pretraining_set("molecules")
    assert source.targets.shape == (len(source.images), len(DESCRIPTORS))
    assert source.images.shape[2] == 9 + 1 + 4
    assert not source.targets.isnan().any()
    assert bool(((source.targets.mean(dim=0) > 0.2) & (source.targets.mean(dim=0) < 0.8)).all())
    assert source.task.n_outputs == len(DESCRIPTORS) == get_dataset("descriptors").n_classes
    assert source.fingerprint == pretraining_set("molecules").fingerprint
    assert pretraining_set("descriptors").task.n_outputs == 12


def test_a_missing_rdkit_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(smiles_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r'molecules.*pip install "energytune\[mol\]"'):
        load_dataset("molecules")
    with pytest.raises(MissingDataError, match=r'pip install "energytune\[mol\]"'):
        pretraining_set("molecules")
    there, where = dataset_status(get_dataset("molecules"), tmp_path)
    assert not there
    assert 'pip install "energytune[mol]"' in where
