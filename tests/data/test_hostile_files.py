"""Files that are made to do harm: small to send, and refused before they unfold or climb out."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from energytune.data.cars import _read_part
from energytune.data.catalog import get_dataset
from energytune.data.domainnet import read_list
from energytune.data.download import fetch_file, fetch_members
from energytune.data.entry import LoadRequest
from energytune.data.gzipped import open_gzip, open_gzip_text, unfolded_limit
from energytune.data.image_decoding import decode_image, from_base64
from energytune.data.image_digests import examine_images
from energytune.data.image_reading import read_image
from energytune.data.inside import check_inside
from energytune.data.mask_files import read_mask
from energytune.data.mat_files import read_mat
from energytune.data.number_table import read_numbers
from energytune.data.ogb_folder import _counts, _label_names
from energytune.data.smiles import MAX_LETTERS, parse_smiles, quiet_rdkit
from energytune.data.smiles_csv import read_smiles_csv
from energytune.data.table_lines import MAX_COLUMNS, table_lines
from energytune.data.voc_files import read_list as read_voc_list
from energytune.errors import ConfigError, DataError
from energytune.progress import NO_PROGRESS

WANTED = b"wanted content"


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """Returns a PNG file of that size by its header, whatever its chunks hold."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG file."""
    ends = struct.pack(">I", len(data)), struct.pack(">I", zlib.crc32(kind + data))
    return ends[0] + kind + data + ends[1]


def packed(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            member.size = len(WANTED) if member.isfile() else 0
            archive.addfile(member, io.BytesIO(WANTED) if member.isfile() else None)
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def taken(tmp_path: Path, content: bytes) -> tuple[str, set[str]]:
    """Returns what is told of an archive, and the files that it has made."""
    (tmp_path / "a.tar.gz").write_bytes(content)
    url = (tmp_path / "a.tar.gz").as_uri()
    told = fetch_members(
        url, ["wanted.bin"], tmp_path / "in" / "out", label="", progress=NO_PROGRESS
    )
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if not p.is_dir()}
    return told, made - {"a.tar.gz"}


@pytest.mark.parametrize("name", ["wanted.bin", "../../wanted.bin", "/tmp/x/../wanted.bin"])
def test_a_wanted_file_lands_in_its_folder_wherever_the_archive_puts_it(
    tmp_path: Path, name: str
) -> None:
    told, made = taken(tmp_path, packed(member("../evil"), member(name)))
    assert (told, made) == ("", {"in/out/wanted.bin"})
    assert (tmp_path / "in" / "out" / "wanted.bin").read_bytes() == WANTED


@pytest.mark.parametrize(
    ("kind", "link"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
    ],
)
def test_links_and_devices_are_no_files(tmp_path: Path, kind: bytes, link: str) -> None:
    told, made = taken(tmp_path, packed(member("data/wanted.bin", kind, link)))
    assert "has no wanted.bin" in told
    assert made == set()


def test_a_name_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    told, made = taken(tmp_path, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    assert "a name of 8,589,934,592 letters" in told
    assert made == set()


@pytest.mark.parametrize("n_bytes", [0, 3, 4, 9, 10, 12, 40, 60])
def test_an_archive_that_is_cut_short_is_told(tmp_path: Path, n_bytes: int) -> None:
    content = packed(member("wanted.bin"))
    flagged = content[:3] + b"\x0e" + content[4:]  # more fields of a header than there are
    for cut in (content[:n_bytes], flagged[:n_bytes]):
        told, made = taken(tmp_path, cut)
        assert "broke off" in told
        assert made == set()


def test_a_file_larger_than_any_is_not_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("energytune.data.download._MAX_BYTES", 10)
    assert "has no wanted.bin" in taken(tmp_path, packed(member("wanted.bin")))[0]
    (tmp_path / "b.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    url = (tmp_path / "b.gz").as_uri()
    told = fetch_file(url, tmp_path / "b", md5="", unzip=True, label="", progress=NO_PROGRESS)
    assert "larger than" in told
    assert not (tmp_path / "b").exists()


def test_a_gzip_bomb_is_refused_while_it_unfolds(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("energytune.data.gzipped._ALWAYS_BYTES", 1 << 18)
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"smiles,label\n" + b"C,0\n" * (1 << 20), 9))
    assert bomb.stat().st_size < 10_000
    for read in (read_numbers, read_smiles_csv, lambda path: list(open_gzip_text(path))):
        with pytest.raises(DataError, match="unfolds to more than"):
            read(bomb)


def test_gzip_is_read_as_it_is(tmp_path: Path) -> None:
    path, content = tmp_path / "x.gz", os.urandom(3 << 20)
    path.write_bytes(gzip.compress(content, 1))
    with open_gzip(path) as file:
        assert file.read(10) == content[:10]
        file.seek(0)
        assert file.read() == content
    assert unfolded_limit(0) < unfolded_limit(1000)


def test_a_line_without_an_end_and_a_table_of_columns_only_are_refused(
    tmp_path: Path, monkeypatch
) -> None:
    wide = tmp_path / "wide.csv"
    wide.write_text("smiles," + ",".join(map(str, range(MAX_COLUMNS))) + "\nC" + ",0" * MAX_COLUMNS)
    with pytest.raises(DataError, match="20,001 columns, more than 20,000"):
        read_smiles_csv(wide)
    (tmp_path / "wide.csv.gz").write_bytes(gzip.compress(b"0" + b",0" * MAX_COLUMNS))
    with pytest.raises(DataError, match="a row of over 20,000 columns"):
        read_numbers(tmp_path / "wide.csv.gz")
    monkeypatch.setattr("energytune.data.table_lines.MAX_LETTERS", 10)
    with pytest.raises(DataError, match="line 2: over 10 letters"):
        list(table_lines(wide, io.StringIO("short\n" + "x" * 11)))


def test_cells_that_no_table_has_are_told(tmp_path: Path) -> None:
    path = tmp_path / "n.csv.gz"
    path.write_bytes(gzip.compress(b"1,2\n3," + b"4" * 200_000 + b"x\n"))
    with pytest.raises(DataError, match="line 2: it can't be read"):
        read_numbers(path)
    path.write_bytes(gzip.compress(b"1e30\n"))
    with pytest.raises(DataError, match="must be a whole number"):
        _counts(path)
    (tmp_path / "mapping").mkdir()
    (tmp_path / "mapping" / "mol.csv.gz").write_bytes(b"\x1f\x8b\x08damaged")
    with pytest.raises(DataError, match="unpack"):
        _label_names(tmp_path, 1)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\0b", "x" * 300]
)
def test_lists_name_files_of_their_folder_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="inside of the dataset's folder"):
        check_inside(name, "Line 1")
    path = tmp_path / "real_train.txt"
    path.write_text(f"{name} 3\n")
    with pytest.raises(DataError, match="Line 1 of"):
        read_list(path)
    assert check_inside("real/a b/..c.jpg", "") == "real/a b/..c.jpg"


def test_lists_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "real_train.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="Line 1"):
        read_list(path)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("x" * 300)
    with pytest.raises(DataError, match="must be the id of one image"):
        read_voc_list(tmp_path, "train")


@pytest.mark.parametrize("name", ["csv:" + "x" * 300, "folder:a\0b", "hf:" + "a/" * 3000])
def test_names_that_can_be_no_path_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be a path"):
        get_dataset(name)


@pytest.mark.parametrize(
    "read",
    [
        decode_image,
        read_image,
        lambda path: read_mask(path, ["a"]),
        lambda path: read_image(io.BytesIO(path.read_bytes())),
    ],
)
@pytest.mark.parametrize(
    "content",
    [
        png(100_000, 100_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b"",
    ],
)
def test_giant_and_strange_images_are_refused(
    tmp_path: Path, read: Callable[[Any], Any], content: bytes
) -> None:
    path = tmp_path / "image.png"  # whatever it is called
    path.write_bytes(content)
    with pytest.raises((DataError, OSError, Image.DecompressionBombError)):
        read(path)
    found = examine_images(tmp_path, ["image.png"], decode=True, label="", progress=NO_PROGRESS)
    assert list(found.problems) == [0]


def test_text_in_an_image_does_not_unfold(tmp_path: Path) -> None:
    text = b"comment\0\0" + zlib.compress(bytes(8 << 20), 9)
    with pytest.raises(DataError, match="can't be decoded"):
        decode_image(png(4, 4, chunk(b"zTXt", text)))


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read, error in ((decode_image, DataError), (read_image, OSError)):
        with pytest.raises(error, match="no file"):
            read(tmp_path / "pipe.png")
    found = examine_images(tmp_path, ["pipe.png"], decode=True, label="", progress=NO_PROGRESS)
    assert "no file" in found.problems[0]


def test_base64_longer_than_an_image_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("energytune.data.image_decoding._MAX_LETTERS", 100)
    with pytest.raises(DataError, match="101 letters"):
        from_base64("A" * 101)


def test_a_smiles_that_would_take_minutes_is_none() -> None:
    with quiet_rdkit():
        assert parse_smiles("C" * MAX_LETTERS) is not None
        assert parse_smiles("c1ccccc1" * MAX_LETTERS) is None


def test_mat_files_are_read_apart(tmp_path: Path) -> None:
    from scipy.io import savemat

    rows = np.zeros(2, dtype=[("class", "O"), ("fname", "O")])
    rows["class"], rows["fname"] = [1, 2], ["a.jpg", "../../etc/passwd"]
    path = tmp_path / "table.mat"
    savemat(path, {"annotations": rows, "labels": np.arange(3), "names": ["a", "b"]})
    assert read_mat(path, "labels").tolist() == [0, 1, 2]
    assert [str(name).strip() for name in read_mat(path, "names")] == ["a", "b"]
    read = read_mat(path, "annotations")
    assert read.dtype.names == ("class", "fname")
    assert int(read[1]["class"]) == 2
    with pytest.raises(DataError, match="inside of the dataset's folder"):
        _read_part(tmp_path, "cars_train", path, LoadRequest(tmp_path, None))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="must hold the variable 'x'"):
        read_mat(path, "x")


def test_a_mat_file_that_ends_its_reader_is_damaged(tmp_path: Path, monkeypatch) -> None:
    killed = tmp_path / "mat_reader.py"
    killed.write_text("import os\nos.abort()\n")
    monkeypatch.setattr("energytune.data.mat_files.__file__", str(tmp_path / "mat_files.py"))
    (tmp_path / "x.mat").write_bytes(b"x")
    with pytest.raises(DataError, match="its reader broke"):
        read_mat(tmp_path / "x.mat", "labels")
