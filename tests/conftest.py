"""Settings that every test runs under."""

from __future__ import annotations

import os

import pytest

# Before torch is imported by any test module: small tensors only lose time on several threads,
# and results must not depend on how many cores the machine has.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("energytune-cache"))


@pytest.fixture(autouse=True)
def _own_cache(_session_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests out of the user's cache; one cache a session, so that it is filled once."""
    monkeypatch.setenv("ENERGYTUNE_CACHE", _session_cache)
