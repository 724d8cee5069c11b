from __future__ import annotations

import errno
from pathlib import Path

import pytest

from energytune.errors import DataError, OutputError
from energytune.paths import atomic_file, cache_dir, existing_parent


def test_cache_folder_comes_from_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "c"))
    assert cache_dir() == tmp_path / "c"
    assert not (tmp_path / "c").exists()


def test_cache_folder_expands_the_home(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ENERGYTUNE_CACHE", "~/c")
    assert cache_dir() == tmp_path / "c"


def test_cache_folder_without_a_name_is_the_platforms(monkeypatch) -> None:
    monkeypatch.delenv("ENERGYTUNE_CACHE")
    assert cache_dir().is_absolute()
    assert "energytune" in str(cache_dir())


def test_existing_parent(tmp_path, monkeypatch) -> None:
    assert existing_parent(tmp_path) == tmp_path
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    monkeypatch.chdir(tmp_path)
    assert existing_parent(Path("a/b")) == tmp_path


def test_file_appears_whole_and_alone(tmp_path) -> None:
    path = tmp_path / "new" / "file.bin"
    with atomic_file(path, "advice") as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(path.parent.iterdir()) == [path]


def test_file_replaces_an_older_one_only_at_the_end(tmp_path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with atomic_file(path, "advice") as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError("boom"), DataError("boom"), OutputError("boom")])
def test_an_error_in_the_block_leaves_nothing_and_passes_through(tmp_path, error) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_file(path, "advice") as file:
            file.write(b"part")
            raise error

    with pytest.raises(type(error)) as raised:
        write()
    assert raised.value is error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_output_error_with_path_cause_and_advice(tmp_path) -> None:
    path = tmp_path / "file.bin"

    def write() -> None:
        with atomic_file(path, "Free some space."):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError) as raised:
        write()
    message = str(raised.value)
    assert str(path) in message
    assert "No space left on device" in message
    assert message.endswith("Free some space.")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(OutputError, match="can't be written"),
        atomic_file(tmp_path / "file" / "sub" / "x", "advice"),
    ):
        raise AssertionError("the block must not run")
