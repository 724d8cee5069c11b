"""What is named on a command line becomes inputs; problems are kept for the inputs they concern."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from energytune.errors import DataError
from energytune.serving.sources import RawInput, read_sources


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "notes.txt", "deep/c.webp", ".hidden/d.png", "deep/.e.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "images"


def names(found: list[RawInput]) -> list[str]:
    return [Path(one.name).name for one in found]


def test_folders_are_searched_in_order_and_hidden_files_are_left_out(images: Path) -> None:
    found = read_sources([str(images), str(images / "notes.txt")], "image")
    assert names(found) == ["a.JPG", "b.png", "c.webp", "notes.txt"]
    assert all(isinstance(one.read(), Path) for one in found)


def test_what_is_missing_is_an_input_with_a_problem(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    named = ["no.png", str(tmp_path / "empty"), str(images / "b.png")]
    found = read_sources(named, "image", ["", "x.png\n", f"{images / 'a.JPG'}\n"])
    assert [one.problem for one in found] == [
        "there is no such file or folder",
        "the folder holds no image",
        "",
    ]
    with pytest.raises(DataError, match="no such file or folder"):
        found[0].read()
    lines = read_sources(["-"], "image", ["", "x.png\n", f"{images / 'a.JPG'}\n"])
    assert [one.problem for one in lines] == ["there is no such file", ""]


@pytest.mark.parametrize(("column", "sep"), [("path", ","), ("Image", ";"), ("file", "\t")])
def test_tables_of_images_are_relative_to_themselves(images: Path, column: str, sep: str) -> None:
    rows = [sep.join((column, "label")), "", sep.join(("b.png", "1")), sep.join(("no.png", "2"))]
    table = images / "list.csv"
    table.write_text("\ufeff" + "\n".join(rows))
    good, bad = read_sources([str(table)], "image")
    assert good.read() == images / "b.png"
    assert good.name == f"{table}, line 3 (b.png)"
    assert bad.problem == "there is no such file"


def test_molecules(tmp_path: Path) -> None:
    table = tmp_path / "some.csv.gz"
    table.write_bytes(gzip.compress(b'id,SMILES\n1,CCO\n2,"C(=O)O"\n'))
    (tmp_path / "some.smi").write_text("CC ethane\n\nC methane\n")
    named = ["N", str(table), str(tmp_path / "some.smi"), "-", "gone.csv"]
    found = read_sources(named, "smiles", ["O\n", "\n"])
    assert [one.raw for one in found] == ["N", "CCO", "C(=O)O", "CC", "C", "O", None]
    assert found[1].name == f"{table}, line 2"
    assert found[-1].problem


@pytest.mark.parametrize("header", ["", "a,b,c\n"])
def test_tables_of_numbers(tmp_path: Path, header: str) -> None:
    table = tmp_path / "some.csv"
    table.write_text(f"{header}1,2,3\n4,5,x\n")
    found = read_sources([str(table)], "pixels", n_values=3)
    assert [one.raw for one in found] == [["1", "2", "3"], ["4", "5", "x"]]
    with pytest.raises(DataError, match="has 3 columns, but this model takes 4 numbers"):
        read_sources([str(table)], "ready", n_values=4)


def test_pixels_may_be_a_list_of_files(images: Path) -> None:
    (images / "list.csv").write_text("path\nb.png\n")
    (found,) = read_sources([str(images / "list.csv")], "pixels", n_values=64)
    assert found.read() == images / "b.png"


def test_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    np.save(tmp_path / "flat.npy", np.arange(6))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    named = [str(tmp_path / name) for name in ("x.npy", "flat.npy", "pickled.npy")]
    first, second, flat, pickled = read_sources(named, "ready", n_values=3)
    assert (list(first.raw), list(second.raw)) == ([0, 1, 2], [3, 4, 5])
    assert "one row an input" in flat.problem
    assert "no array of numbers" in pickled.problem


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("name\nx\n", "no column 'path' or 'image'"),
        ("path,a\nx\n", "line 2: a row of 1 columns, but the first row has 2"),
        ('path\n"x\n', "can't be read as a table"),
    ],
)
def test_damaged_tables_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "some.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_sources([str(tmp_path / "some.csv")], "image")
