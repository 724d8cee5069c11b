"""Settings and fixtures that every test runs under."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.browsers import browser
from tests.not_run import pytest_runtest_makereport, pytest_terminal_summary

if TYPE_CHECKING:
    from tests.registered import ModelStore

__all__ = ["browser", "pytest_runtest_makereport", "pytest_terminal_summary"]

# Before torch is imported by any test module: small tensors only lose time on several threads,
# and results must not depend on how many cores the machine has.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# Programs that a shell starts in the background ignore Ctrl-C, and so would those that tests start
# and then interrupt. A handler is not handed down: they begin with the usual one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Takes what thousands of collected tests hold out of each later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("energytune-cache"))


@pytest.fixture(autouse=True)
def _own_cache(_session_cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests out of the user's cache; one cache a session, so that it is filled once."""
    monkeypatch.setenv("ENERGYTUNE_CACHE", _session_cache)


@pytest.fixture(scope="session")
def stl10_files() -> ModuleType:
    """The helpers of ``tests/data/stl10_files.py``."""
    path = Path(__file__).parent / "data" / "stl10_files.py"
    spec = importlib.util.spec_from_file_location("energytune_tests_stl10_files", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"can't load {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stl10_root(tmp_path: Path, stl10_files: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with hand-made STL-10 files: 100 labelled train and 40 test images.

    They load in this process and in every other one that shares ``$ENERGYTUNE_CACHE``.
    """
    root = tmp_path / "data-root"
    folder = stl10_files.write_stl10(root)
    stl10_files.patch_md5s(folder, monkeypatch)
    stl10_files.accept_md5s(folder)
    return root


@pytest.fixture(scope="session")
def model_store(tmp_path_factory: pytest.TempPathFactory, _session_cache: str) -> ModelStore:
    """A store with a registered model of each kind; see ``tests/registered.py``."""
    from tests.registered import make_store

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", _session_cache)
        return make_store(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A private Ray that stays up between searches; a search uses the session it finds."""
    from energytune.cluster import ClusterConfig, RayCluster

    storage = tmp_path_factory.mktemp("ray")
    with RayCluster(ClusterConfig(None, 2, 1, 0.0, storage)):
        yield
