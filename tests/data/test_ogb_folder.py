from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from energytune.config import InputConfig
from energytune.data import dataset_status, get_dataset, load_dataset
from energytune.data import molecules as family
from energytune.data import smiles as smiles_module
from energytune.data.entry import LoadRequest
from energytune.data.molecules import SOURCES
from energytune.data.ogb_folder import read_ogb_folder
from energytune.errors import DataError, MissingDataError

N = 30
CARBON = "5,0,4,5,2,0,2,0,0"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def get(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def write_folder(folder: Path, n_labels: int = 1) -> Path:
    """Thirty chains of 2 to 6 atoms in ogb's format; every fifth label is missing."""
    sizes = [2 + i % 5 for i in range(N)]
    bonds = [f"{a},{a + 1}" for n in sizes for a in range(n - 1)]
    label_rows = [
        ",".join(
            "" if (i + k) % 5 == 4 and n_labels > 1 else f"{(i + k) % 2}.0" for k in range(n_labels)
        )
        for i in range(N)
    ]
    names = [f"task-{k}" for k in range(n_labels)]
    tables = {
        "raw/num-node-list": [str(n) for n in sizes],
        "raw/num-edge-list": [str(n - 1) for n in sizes],
        "raw/node-feat": [CARBON for n in sizes for _ in range(n)],
        "raw/edge": bonds,
        "raw/edge-feat": ["0,0,0" for _ in bonds],
        "raw/graph-label": label_rows,
        "split/scaffold/train": [str(i) for i in range(20)],
        "split/scaffold/valid": [str(i) for i in range(24, 19, -1)],
        "split/scaffold/test": [str(i) for i in range(25, 30)],
        "mapping/mol": [
            ",".join([*names, "smiles", "mol_id"]),
            *(
                f"{row},{'C' * n},M{i}"
                for i, (row, n) in enumerate(zip(label_rows, sizes, strict=True))
            ),
        ],
    }
    for name, lines in tables.items():
        put(folder / f"{name}.csv.gz", "\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "ogbg_molhiv")


def test_graphs_labels_and_the_official_split_are_read(folder: Path) -> None:
    table = read_ogb_folder(folder)
    assert len(table.molecules) == N
    assert table.molecules.n_atoms[:6].tolist() == [2, 3, 4, 5, 6, 2]
    chain = table.molecules.select(np.array([1])).dense(table.molecules.shape)[0]
    assert chain[:3, 10:12].tolist() == [[2, 0], [1, 3], [2, 0]]
    assert chain[0, :10].tolist() == [5, 0, 4, 5, 2, 0, 2, 0, 0, 1]
    assert table.label_names == ("task-0",)
    assert table.labels[:3].tolist() == [[0.0], [1.0], [0.0]]
    assert {part: indices.tolist() for part, indices in table.parts.items()} == {
        "train": list(range(20)),
        "valid": list(range(20, 25)),
        "test": list(range(25, 30)),
    }
    assert (table.split, table.notes) == ("official scaffold split", ())


def test_blank_labels_are_missing_also_on_a_line_of_their_own(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", n_labels=3)
    table = read_ogb_folder(folder)
    assert table.labels.shape == (N, 3)
    assert table.labels[4].isnan().tolist() == [True, False, False]
    single = write_folder(tmp_path / "b")
    path = single / "raw/graph-label.csv.gz"
    put(path, "\n".join(["", *get(path)[1:]]) + "\n")
    table = read_ogb_folder(single)
    assert table.notes == ("1 of 30 molecules have no label and are left out",)
    assert table.parts["train"].tolist() == list(range(1, 20))


def replace(name: str, line: int, text: str | None) -> Callable[[Path], None]:
    """Replaces one line of a file, counted from 1, or drops it."""

    def change(folder: Path) -> None:
        path = folder / f"{name}.csv.gz"
        lines = get(path)
        lines[line - 1 : line] = [] if text is None else [text]
        put(path, "\n".join(lines) + "\n")

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replace("raw/node-feat", 7, None), r"num-node-list.* of 120 atoms, .*node-feat.* of 119"),
        (replace("raw/edge", 7, None), r"of 90 bonds, raw/edge.csv.gz of 89"),
        (replace("raw/num-edge-list", 1, None), r"of 30 molecules, raw/num-edge-list.csv.gz of 29"),
        (replace("raw/graph-label", 1, None), r"of 30 molecules, raw/graph-label.csv.gz of 29"),
        (replace("raw/node-feat", 7, "5,0,4"), r"line 7: a row of 3 columns, expected 9"),
        (replace("raw/node-feat", 7, CARBON + ",1"), r"line 7: a row of 10 columns, expected 9"),
        (replace("raw/node-feat", 7, "C" + CARBON[1:]), r"line 7, column 1: must be a number, got"),
        (replace("raw/node-feat", 7, "119" + CARBON[1:]), r"line 7: element must be .*\[0, 118\]"),
        (replace("raw/node-feat", 7, "5.5" + CARBON[1:]), r"line 7: element must be a whole"),
        (
            replace("raw/edge", 2, "0,3"),
            r"line 2: the bond \[0, 3\] of molecule 1 must be .* 0 to 2",
        ),
        (replace("raw/num-node-list", 4, "x"), r"line 4, column 1: must be a number, got 'x'"),
        (replace("raw/num-node-list", 4, "-5"), r"line 4: a count must be a whole number >= 0"),
        (replace("raw/graph-label", 3, "2"), r"line 3, column 1: a label must be 0, 1 or blank"),
        (replace("split/scaffold/test", 1, "30"), r"line 1: molecule 30 can't be in test: there"),
        (replace("split/scaffold/test", 1, "3"), r"molecule 3 can't be in test: it is in train"),
    ],
)
def test_damaged_folders_name_file_and_line(
    folder: Path, change: Callable[[Path], None], told: str
) -> None:
    change(folder)
    with pytest.raises(DataError, match=told) as caught:
        read_ogb_folder(folder)
    assert str(folder) in str(caught.value)


def test_a_ragged_row_of_labels_is_no_missing_label(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", n_labels=3)
    replace("raw/graph-label", 5, "1.0,0.0")(folder)
    with pytest.raises(DataError, match=r"line 5: a row of 2 columns, expected 3"):
        read_ogb_folder(folder)


def test_a_truncated_archive_is_told(folder: Path) -> None:
    path = folder / "raw/node-feat.csv.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"node-feat.csv.gz is damaged or was not unpacked whole"):
        read_ogb_folder(folder)


def test_without_a_split_the_scaffolds_are_split(folder: Path) -> None:
    shutil.rmtree(folder / "split")
    with pytest.raises(DataError, match=r"The scaffold split of .* leaves train and valid empty"):
        read_ogb_folder(folder)  # chains have no scaffold
    lines = get(folder / "mapping/mol.csv.gz")
    rings = [f"0,C1{'C' * (1 + i)}C1,M{i}" for i in range(N)]
    put(folder / "mapping/mol.csv.gz", "\n".join([lines[0], *rings]))
    table = read_ogb_folder(folder)
    assert table.split == "Murcko scaffold split"
    assert [len(table.parts[part]) for part in ("train", "valid", "test")] == [24, 3, 3]
    (folder / "mapping/mol.csv.gz").unlink()
    with pytest.raises(DataError, match="neither split/scaffold"):
        read_ogb_folder(folder)


def test_a_missing_rdkit_is_told_where_a_split_is_to_be_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "split")
    monkeypatch.setattr(smiles_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"needs RDKit.*energytune\[mol\]"):
        read_ogb_folder(folder)


@pytest.mark.parametrize("name", ["ogbg_molhiv", "ogbg-molhiv"])
def test_the_family_loads_it_without_rdkit(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / name)
    monkeypatch.setattr(smiles_module, "find_spec", lambda name: None)
    entry = get_dataset("molhiv")
    assert dataset_status(entry, tmp_path) == (True, f"in {tmp_path / name}")
    splits = load_dataset("molhiv", data_root=tmp_path)
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [20, 5, 5]
    assert splits.class_names == ("task-0",)
    assert splits.task.n_outputs == 1
    assert "ROC-AUC on 5 valid" in splits.protocol
    assert "test molecules" in splits.protocol
    assert splits.protocol.endswith("official scaffold split")
    images, targets = next(iter(splits.train.batches(4)))
    assert images.shape == (4, 6, 9 + 1 + 2)
    assert targets.shape == (4, 1)


def test_the_second_load_comes_from_the_cache_until_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "ogbg_molhiv")
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cache"))
    first = load_dataset("molhiv", data_root=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(family, "read_ogb_folder", lambda folder: pytest.fail("read again"))
        second = load_dataset("molhiv", data_root=tmp_path)
    assert (first.fingerprint, first.hashes) == (second.fingerprint, second.hashes)
    assert torch.equal(first.train.targets, second.train.targets)
    (cached,) = (tmp_path / "cache" / "data").iterdir()
    cached.write_bytes(cached.read_bytes()[:-40] + bytes(40))
    assert load_dataset("molhiv", data_root=tmp_path).fingerprint == first.fingerprint
    replace("raw/graph-label", 25, "1")(folder)
    assert load_dataset("molhiv", data_root=tmp_path).hashes["test"] == first.hashes["test"]
    replace("raw/graph-label", 25, "0")(folder)
    replace("raw/graph-label", 26, "0")(folder)
    changed = load_dataset("molhiv", data_root=tmp_path)
    assert changed.hashes["test"] != first.hashes["test"]
    assert changed.hashes["train"] == first.hashes["train"]


def test_what_is_missing_is_told_with_paths_and_addresses(tmp_path: Path) -> None:
    for name, source in SOURCES.items():
        with pytest.raises(MissingDataError) as caught:
            load_dataset(name, data_root=tmp_path)
        for part in (*source.urls, str(tmp_path / f"ogbg_{name}"), source.tables[0]):
            assert part in str(caught.value)
    folder = write_folder(tmp_path / "ogbg_molhiv")
    (folder / "raw/edge.csv.gz").unlink()
    there, where = dataset_status(get_dataset("molhiv"), tmp_path)
    assert (there, where) == (False, f"not in {folder} (missing: raw/edge.csv.gz)")


def test_another_dataset_in_the_folder_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "ogbg_moltox21", n_labels=3)
    with pytest.raises(DataError, match="has 3 labels, but moltox21 has 12"):
        family.load(get_dataset("moltox21"), LoadRequest(tmp_path, InputConfig()))
