"""Whole files under names, in a folder, in fsspec's memory, and in a real S3-compatible store."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energytune.errors import ConfigError, EnergyTuneError, OutputError
from energytune.storage import SharedStorage
from tests.s3_server import BUCKET, s3_server


@pytest.fixture(params=["path", "file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SharedStorage:
    url = {
        "path": str(tmp_path / "a folder"),
        "file": f"file://{tmp_path}/shared",
        "memory": f"memory://{uuid.uuid4().hex}/shared",
    }[request.param]
    return SharedStorage(url)


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A bucket of an S3-compatible server on this machine."""
    with s3_server() as place:
        yield (
            f"s3://user:secret@{BUCKET}/cluster?scheme=http&endpoint_override={place}"
            "&region=us-east-1"
        )


def check_it_keeps_whole_files(storage: SharedStorage, tmp_path: Path) -> None:
    big, back = tmp_path / "big.bin", tmp_path / "deep" / "back.bin"
    big.write_bytes(bytes(range(256)) * 40_000)
    assert storage.names() == []
    assert storage.fetch("features/a/data", back) is False
    assert not back.parent.exists()
    assert storage.get_bytes("features/a/data") is None
    assert storage.exists("features/a/data") is False
    storage.put("features/a/data", big)
    storage.put_bytes("features/a/meta.json", b"{}")
    storage.put_bytes("features-b", b"")
    assert storage.exists("features/a/data") is True
    assert storage.fetch("features/a/data", back) is True
    assert back.read_bytes() == big.read_bytes()
    storage.put_bytes("features/a/meta.json", b"other")
    assert storage.get_bytes("features/a/meta.json") == b"other"
    assert storage.get_bytes("features-b") == b""
    whole = ["features-b", "features/a/data", "features/a/meta.json"]
    assert storage.names() == whole
    assert storage.names("features") == whole
    assert storage.names("features/") == whole[1:]
    assert storage.names("features/a/m") == whole[2:]
    assert storage.names("none/") == []
    for _ in range(2):
        storage.delete("features/a/data")
    assert storage.names("features/") == ["features/a/meta.json"]
    storage.check()
    assert storage.names(".check") == []


def test_keeps_whole_files(storage: SharedStorage, tmp_path: Path) -> None:
    check_it_keeps_whole_files(storage, tmp_path)


@pytest.mark.integration
def test_keeps_whole_files_in_an_object_store(s3_url: str, tmp_path: Path) -> None:
    storage = SharedStorage(s3_url)
    assert storage.local_path("a") is None
    check_it_keeps_whole_files(storage, tmp_path)


@pytest.mark.integration
def test_a_bucket_that_is_not_there_is_told_without_the_password(s3_url: str) -> None:
    storage = SharedStorage(s3_url.replace("@shared", "@elsewhere"))
    with pytest.raises(OutputError, match=r"s3://\*\*\*@elsewhere.*can't be written") as caught:
        storage.check()
    assert "secret" not in str(caught.value)


def check_a_broken_off_write_leaves_nothing(storage: SharedStorage) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage._write("broken/a", broken())
    assert storage.names("broken/") == []


def test_a_broken_off_write_leaves_nothing(storage: SharedStorage) -> None:
    check_a_broken_off_write_leaves_nothing(storage)
    folder = storage.local_path("broken")
    if folder is not None:
        assert list(folder.iterdir()) == []


@pytest.mark.integration
def test_a_broken_off_write_leaves_nothing_in_an_object_store(s3_url: str) -> None:
    check_a_broken_off_write_leaves_nothing(SharedStorage(s3_url))


def test_what_can_not_be_read_keeps_what_was_there(
    storage: SharedStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.put_bytes("a", b"before")
    (tmp_path / "a").write_bytes(b"mine")

    class Gone:
        def __enter__(self) -> Gone:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def read(self, n_bytes: int) -> bytes:
            raise OSError("the disk is gone")

    monkeypatch.setattr(Path, "open", lambda *args: Gone())
    with pytest.raises(OutputError, match=r"/a can't be read to be shared: the disk is gone\.$"):
        storage.put("a", tmp_path / "a")
    monkeypatch.undo()
    assert storage.get_bytes("a") == b"before"
    folder = storage.local_path("a")
    if folder is not None:
        assert [path.name for path in folder.parent.iterdir()] == ["a"]


def test_a_name_in_a_folder_that_can_not_be_opened_is_told(tmp_path: Path) -> None:
    storage = SharedStorage(str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"can't be read: \w+Error"):
        storage.fetch("a", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_is_being_written_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "a.0123456789ab.part").write_bytes(b"half")
    assert SharedStorage(str(tmp_path)).names() == []


def test_a_local_file_that_is_not_there_is_told(storage: SharedStorage, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nothing can't be read to be shared: No such file"):
        storage.put("a", tmp_path / "nothing")


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    storage = SharedStorage(str(tmp_path / "file" / "shared"))
    with pytest.raises(OutputError, match=r"can't be written.*another --storage-path"):
        storage.check()


@given(st.text(max_size=12) | st.sampled_from(["..", "a/../b", "/etc/x", "a//b", "a/.", "a\\b"]))
def test_no_name_leaves_the_storage(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    storage = SharedStorage("/nowhere/shared")
    try:
        path = storage.local_path(name)
    except ConfigError:
        return
    assert path is not None
    assert Path("/nowhere/shared") in path.parents
    assert ".." not in path.parts


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", "/etc/passwd", "", "a//b", "a\0"])
def test_names_that_would_leave_it_are_refused(storage: SharedStorage, name: str) -> None:
    for call in (storage.get_bytes, storage.delete, storage.exists, storage.local_path):
        with pytest.raises(ConfigError, match="parts joined by"):
            call(name)
    with pytest.raises(ConfigError, match="parts joined by"):
        storage.put_bytes(name, b"")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("shared/folder", "must be an absolute path or a URL"),
        ("", "must be an absolute path or a URL"),
        ("nosuch://user:secret@host/a", "nosuch://\\*\\*\\*@host/a' can't be used.*nosuch"),
        ("sftp://user:secret@host/a", "install fsspec's driver for sftp://"),
        ("s3://user:secret@host /a", "can't be used"),
        ("file:///", "must name a folder, not the root"),
        ("/", "must be an absolute path"),
    ],
)
def test_what_can_not_be_opened_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SharedStorage(url)
    assert isinstance(caught.value, EnergyTuneError)
    assert "secret" not in str(caught.value)


def test_it_travels_between_processes_and_shows_no_secret() -> None:
    storage = SharedStorage("s3://user:sec%2Fret@bucket/a?region=eu")
    assert pickle.loads(pickle.dumps(storage)) == storage
    for text in (str(storage), repr(storage)):
        assert "s3://***@bucket/a?region=eu" in text
