import pytest
import torch

from energytune.data import digits_source
from energytune.data.digits_source import read_digits
from energytune.errors import DataError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path))
    return tmp_path / "data" / "digits-4d28e91fb84e.safetensors"


@pytest.fixture
def forbid_sklearn(monkeypatch):
    def refuse():
        raise AssertionError("scikit-learn was asked although a good cache exists")

    return lambda: monkeypatch.setattr(digits_source, "_from_sklearn", refuse)


def test_second_read_needsforbid_sklearn(cache, forbid_sklearn):
    first = read_digits()
    forbid_sklearn()
    second = read_digits()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]  # nothing half-written


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_cache_is_made_again(cache, damage):
    genuine = read_digits()
    content = cache.read_bytes()
    cache.write_bytes(
        {
            "cut": content[:5000],
            "flipped": content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
            "empty": b"",
            "foreign": b"<html>",
        }[damage]
    )
    again = read_digits()
    assert all(torch.equal(a, b) for a, b in zip(genuine, again, strict=True))
    assert cache.read_bytes() == content


def test_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(blocked))
    assert read_digits()[0].shape == (1797, 64)


def test_other_digits_are_refused(cache, monkeypatch):
    images, targets = read_digits()
    cache.unlink()
    monkeypatch.setattr(digits_source, "_from_sklearn", lambda: (images + 1, targets))
    with pytest.raises(DataError, match="scikit-learn differ"):
        read_digits()
    assert not cache.exists()
