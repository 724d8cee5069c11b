from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from energytune.data.csv_name import parse_csv_name
from energytune.data.smiles_csv import SmilesRows, read_smiles_csv
from energytune.errors import ConfigError, DataError


def written(folder: Path, text: str, name: str = "some.csv") -> Path:
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def labels(rows: SmilesRows) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in rows.labels]


TOX21 = 'NR-AR,SR-p53,mol_id,smiles\r\n0,1,TOX1,CCO\r\n"",0.0,"TOX2, a","C(=O)O"\n1,,TOX3,CCN'


@pytest.mark.parametrize("name", ["tox21.csv", "tox21.csv.gz"])
def test_moleculenets_tables_are_read(tmp_path: Path, name: str) -> None:
    rows = read_smiles_csv(written(tmp_path, TOX21, name))  # quotes, two line ends, no last one
    assert rows.smiles == ["CCO", "C(=O)O", "CCN"]
    assert rows.lines == [2, 3, 4]
    assert rows.label_names == ("NR-AR", "SR-p53")
    assert labels(rows) == [[0, 1], [None, 0], [1, None]]
    assert rows.parts == []


def test_a_byte_order_mark_blank_lines_and_line_breaks_in_quotes(tmp_path: Path) -> None:
    text = '\ufeff\n\nSMILES,note,toxic\n\nC,"two\nlines",1\n   \nCC,x,0\n\n'
    rows = read_smiles_csv(written(tmp_path, text))
    assert rows.smiles == ["C", "CC"]
    assert rows.lines == [5, 8]
    assert labels(rows) == [[1], [0]]


@pytest.mark.parametrize(
    "text",
    [
        "mol;a\nC;1\nCC;0",
        "canonical_smiles\ta\nC\t1\nCC\t0",
        "a,Smiles,logp,id\n1,C,0.5,x\n0,CC,1.5,y",
        "a,mol,smiles\n1,junk,C\n0,junk,CC",
    ],
)
def test_columns_are_found_by_name(tmp_path: Path, text: str) -> None:
    rows = read_smiles_csv(written(tmp_path, text))
    assert (rows.smiles, rows.label_names, labels(rows)) == (["C", "CC"], ("a",), [[1], [0]])


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, "structure,a,b,c\nC,1,0,0\nCC,0,,1")
    rows = read_smiles_csv(path, smiles="Structure", labels=("c", "a"))
    assert rows.label_names == ("c", "a")
    assert labels(rows) == [[0, 1], [1, 0]]


@pytest.mark.parametrize("blank", ["", " ", "nan", "NaN", "NA", "None", "null"])
def test_missing_labels_are_written_in_many_ways(tmp_path: Path, blank: str) -> None:
    rows = read_smiles_csv(written(tmp_path, f"smiles,a\nC,1\nCC,{blank}\nCCC,0.0\nCO,1e0"))
    assert labels(rows) == [[1], [None], [0], [1]]


def test_a_split_column_is_read(tmp_path: Path) -> None:
    text = "smiles,a,Split\nC,1,train\nCC,0,Valid\nCCC,1,validation\nO,0, TEST"
    rows = read_smiles_csv(written(tmp_path, text))
    assert rows.parts == ["train", "valid", "valid", "test"]
    assert rows.label_names == ("a",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("smiles,a\nC,1\nCC,0,7\n", r"line 3: a row of 3 columns, but the header on line 1 has 2"),
        ("smiles,a\nC,1\nCC\n", r"line 3: a row of 1 columns"),
        ("smiles,a\nC,1\nCC,yes\n", r"line 3, column 'a': the label 'yes' is no number"),
        ("smiles,a\nC,1\nCC,0\nO,2\n", r"line 4, column 'a': the label '2' is neither 0 nor 1"),
        ("smiles,a\nC,1\nCC,0\nO,-1\n", r"the label '-1' is neither"),
        ("smiles,a\nC,1\nO,inf\n", r"the label 'inf' is neither"),
        ("smiles,a\nC,x\nCC,y\n", r"has no label column: none of 'a' holds 0, 1 and blanks only"),
        ("smiles\nC\nCC\n", r"has no label column: none of its other columns holds"),
        ("smiles,a\nC,\nCC,nan\n", r"has no labels: all cells of its other columns \(a\)"),
        ("name,a\nC,1\n", r"no column called smiles, mol or .* are: name, a. .*\?smiles=COLUMN"),
        ("smiles,a\n", r"has a header and no row below it"),
        ("", r"is empty: a header"),
        ("smiles,a,a\nC,1,0\n", r"line 1: the column 'a' stands in the header 2 times"),
        ('smiles,a\n"C,1\nCC,0\n', r"line 2: the row can't be read"),
        ("smiles,a,split\nC,1,train\nCC,1,dev\n", r"line 3, column 'split': must be train, valid"),
    ],
)
def test_bad_tables_name_file_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=told) as caught:
        read_smiles_csv(path)
    assert str(caught.value).startswith(str(path))


def test_a_single_slip_in_a_label_column_is_no_reason_to_drop_it(tmp_path: Path) -> None:
    rows = "".join(f"{'C' * i},{i % 2},{i}\n" for i in range(1, 20))
    path = written(tmp_path, f"smiles,toxic,count\n{rows}CO,o,3\n")
    with pytest.raises(DataError, match=r"line 21, column 'toxic': the label 'o' is no number"):
        read_smiles_csv(path)
    path = written(tmp_path, f"smiles,toxic,count\n{rows}")
    assert read_smiles_csv(path).label_names == ("toxic",)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (("toxc",), r"no column 'toxc' to take labels from. Did you mean 'toxic'\?"),
        (("zzz",), r"no column 'zzz' to take labels from. There are: toxic, count, empty"),
        (("count",), r"line 3, column 'count': the label '5' is neither 0 nor 1 \(2 such cells"),
        (("empty",), r"column 'empty': all 3 labels are missing"),
    ],
)
def test_chosen_columns_must_be_labels(tmp_path: Path, columns: tuple[str, ...], told: str) -> None:
    path = written(tmp_path, "smiles,toxic,count,empty\nC,1,1,\nCC,0,5,\nO,0,6,\n")
    with pytest.raises(DataError, match=told):
        read_smiles_csv(path, labels=columns)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, TOX21, "cut.csv.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"cut.csv.gz is damaged or was not downloaded whole"):
        read_smiles_csv(path)
    path.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"is damaged"):
        read_smiles_csv(path)
    path = tmp_path / "latin.csv"
    path.write_bytes("smiles,a,name\nC,1,café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"no text in UTF-8 \(byte \d+ is 0xe9\)"):
        read_smiles_csv(path)


def test_names_say_which_columns() -> None:
    name = parse_csv_name("csv:/x/y.csv.gz?smiles=mol%2Cecule&labels=a,b%26c")
    assert (str(name.path), name.smiles, name.labels) == (
        "/x/y.csv.gz",
        "mol,ecule",
        ("a", "b&c"),
    )
    assert name.title == "y"
    plain = parse_csv_name("csv:sub/z.csv")
    assert plain.path == Path("sub/z.csv").absolute()
    assert (plain.smiles, plain.labels, plain.title) == (None, None, "z")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("csv:y.csv?label=a", r"unknown option 'label'. Did you mean 'labels'\?"),
        ("csv:y.csv?smiles=", r"'smiles' of .* must be given once, with a value"),
        ("csv:y.csv?labels=a&labels=b", r"'labels' of .* must be given once"),
        ("csv:y.csv?labels=a,a", r"names a column twice"),
    ],
)
def test_bad_names_are_told(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_csv_name(name)
