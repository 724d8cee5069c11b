from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from energytune.data import dataset_status, get_dataset, load_dataset
from energytune.data import molecules as family
from energytune.data import smiles as smiles_module
from energytune.data.molecules import SOURCES
from energytune.errors import ConfigError, DataError, MissingDataError
from energytune.progress import Advance
from energytune.tasks import MultiLabel

N = 40
RINGS = [f"C1{'C' * (1 + i)}C1" for i in range(N)]
"""Forty scaffolds."""


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        self.stages.append(name)
        yield lambda n_units: None


def table(rows: list[str], header: str = "smiles,toxic,sweet") -> str:
    return "\n".join([header, *rows])


def good_rows() -> list[str]:
    """Each label has both classes wherever the scaffolds go; every seventh is missing."""
    return [f"{ring},{i % 2},{'' if i % 7 == 3 else (i // 2) % 2}" for i, ring in enumerate(RINGS)]


def written(folder: Path, text: str, name: str = "some.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_any_table_of_smiles_becomes_splits(tmp_path: Path) -> None:
    path = written(tmp_path, table(good_rows()))
    entry = get_dataset(f"csv:{path}")
    assert (entry.kind, entry.units, entry.where) == ("labels", "molecules", str(path))
    assert dataset_status(entry) == (True, f"in {path}")
    splits = load_dataset(f"csv:{path}")
    assert splits.name == "some"
    assert splits.task == MultiLabel(2)
    assert splits.class_names == ("toxic", "sweet")
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [32, 4, 4]
    assert splits.protocol.startswith("some: ROC-AUC on 4 valid")
    assert splits.protocol.endswith("Murcko scaffold split")
    images, targets = next(iter(splits.train.batches(32)))
    assert images.shape == (32, 42, 9 + 1 + 2)
    assert bool(targets.isnan().any())
    assert load_dataset(f"csv:{path}").fingerprint == splits.fingerprint


def test_loss_and_score_stand_missing_labels(tmp_path: Path) -> None:
    from energytune.models.gcn import GCN

    splits = load_dataset(f"csv:{written(tmp_path, table(good_rows()))}")
    torch.manual_seed(0)
    net = torch.nn.Sequential(GCN(8, 2), torch.nn.Linear(8, 2)).train()
    images, targets = next(iter(splits.train.batches(32)))
    loss = splits.task.loss(net(images), targets)
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)
    meter = splits.task.meter()
    meter.update(net(images), targets)
    assert 0.0 <= float(meter.compute()) <= 1.0


def test_columns_are_chosen_in_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, table(good_rows()))
    assert load_dataset(f"csv:{path}?labels=sweet").class_names == ("sweet",)
    assert get_dataset(f"csv:{path}?labels=sweet").n_classes == 1
    with pytest.raises(DataError, match="has no column called 'structure'"):
        load_dataset(f"csv:{path}?smiles=structure")
    with pytest.raises(ConfigError, match="unknown option 'label'"):
        load_dataset(f"csv:{path}?label=sweet")


def test_bad_smiles_and_rows_without_labels_are_left_out_and_told(tmp_path: Path) -> None:
    rows = [*good_rows(), "C1CC,1,0", "junk,1,0", ",1,0", "CC(C)(C)(C)(C),1,1", "CCO,,", "CCN,,nan"]
    path = written(tmp_path, table(rows))
    watch = Notes()
    splits = load_dataset(f"csv:{path}", progress=watch)
    assert len(splits.train) + len(splits.valid) + len(splits.test) == N
    assert watch.notes == [
        f"4 of 46 molecules of {path} can't be used and are left out: line 42 'C1CC': no valid "
        "SMILES; line 43 'junk': no valid SMILES; line 44 '': no valid SMILES; and 1 more",
        f"2 of 46 rows of {path} have no label and are left out: line 46, 47",
    ]
    assert watch.stages == ["molecules of some.csv"]
    again = Notes()
    load_dataset(f"csv:{path}", progress=again)  # from the cache
    assert (again.notes, again.stages) == (watch.notes, [])


def test_duplicates_are_kept_and_share_their_scaffold(tmp_path: Path) -> None:
    splits = load_dataset(f"csv:{written(tmp_path, table([*good_rows(), *good_rows()]))}")
    assert len(splits.train) + len(splits.valid) + len(splits.test) == 2 * N
    assert len(splits.train) == 64


def test_a_split_column_is_used(tmp_path: Path) -> None:
    parts = ["test", "test", "valid", "valid", *["train"] * (N - 4)]
    rows = [f"{row},{part}" for row, part in zip(good_rows(), parts, strict=True)]
    header = "smiles,toxic,sweet,split"
    splits = load_dataset(f"csv:{written(tmp_path, table(rows, header))}")
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [N - 4, 2, 2]
    assert splits.protocol.endswith("split of the file's own column")
    rows = [row.replace(",test", ",train") for row in rows]
    with pytest.raises(DataError, match="a column 'split', but no usable row in test"):
        load_dataset(f"csv:{written(tmp_path, table(rows, header), 'other.csv')}")


def bad_tables() -> dict[str, tuple[str, str]]:
    one_class = [f"{ring},{int(i > 36)},{i % 2}" for i, ring in enumerate(RINGS)]
    return {
        "all SMILES are bad": (
            table(["xx,1,0", "C1C,0,1"]),
            r"has no valid SMILES in 2 labelled rows: line 2 'xx': no valid SMILES; line 3 'C1C'",
        ),
        "a ragged row": (
            table([*good_rows(), "CCO,1"]),
            r"line 42: a row of 2 columns, but the header on line 1 has 3",
        ),
        "missing labels only": (
            table([f"{ring},," for ring in RINGS]),
            r"has no labels: all cells of its other columns \(toxic, sweet\) are blank",
        ),
        "a class that the scaffold split leaves out": (
            table(one_class),
            r"One class only in train: .* 'toxic' has 0 yes and 32 no in train.*The Murcko "
            r"scaffold split leaves this class out of train",
        ),
        "one scaffold": (
            table([f"{'C' * i}O,{i % 2},{i % 2}" for i in range(1, 20)]),
            r"The scaffold split of .* leaves train and valid empty: its 19 molecules have 1",
        ),
        "no number": (
            table([*good_rows(), "CCO,maybe,1"]),
            r"line 42, column 'toxic': the label 'maybe' is no number",
        ),
    }


@pytest.mark.parametrize("what", list(bad_tables()))
def test_bad_tables_are_told_in_full(tmp_path: Path, what: str) -> None:
    text, told = bad_tables()[what]
    with pytest.raises(DataError, match=told):
        load_dataset(f"csv:{written(tmp_path, text)}")


def test_nothing_to_score_is_told(tmp_path: Path) -> None:
    rows = [
        f"{ring},{i % 2},{'train' if i < 30 else 'test' if i % 2 else 'valid'}"
        for i, ring in enumerate(RINGS)
    ]
    path = written(tmp_path, table(rows, "smiles,toxic,split"))
    with pytest.raises(DataError, match=r"Nothing to score: .* 'some' has both classes in valid"):
        load_dataset(f"csv:{path}")


@pytest.mark.parametrize("name", [name for source in SOURCES.values() for name in source.tables])
def test_moleculenets_tables_are_found_by_name(tmp_path: Path, name: str) -> None:
    dataset = next(key for key, source in SOURCES.items() if name in source.tables)
    n_labels = get_dataset(dataset).n_classes
    columns = ["HIV_active"] if dataset == "molhiv" else [f"T{k}" for k in range(n_labels)]
    rows = [
        f"{ring},CI,{','.join(str((i + k) % 2) for k in range(n_labels))}"
        for i, ring in enumerate(RINGS)
    ]
    path = written(tmp_path, table(rows, f"smiles,activity,{','.join(columns)}"), name)
    assert dataset_status(get_dataset(dataset), tmp_path) == (True, f"in {path}")
    splits = load_dataset(dataset, data_root=tmp_path)
    assert (splits.name, splits.class_names) == (dataset, tuple(columns))


def test_a_missing_file_or_rdkit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match=r"none.csv does not exist. Name a file: csv:PATH"):
        load_dataset(f"csv:{tmp_path / 'none.csv'}")
    assert dataset_status(get_dataset(f"csv:{tmp_path / 'none.csv'}")) == (
        False,
        f"not in {tmp_path / 'none.csv'}",
    )
    path = written(tmp_path, table(good_rows()))
    monkeypatch.setattr(smiles_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r'RDKit.*pip install "energytune\[mol\]"'):
        load_dataset(f"csv:{path}")


def test_giants_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smiles_module, "MAX_ATOMS", 30)
    watch = Notes()
    splits = load_dataset(f"csv:{written(tmp_path, table(good_rows()))}", progress=watch)
    assert "31 atoms, more than 30" in watch.notes[0]
    assert splits.train.targets.shape[0] < 32
    assert family.status(get_dataset("molhiv"), tmp_path)[0] is False
