from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from energytune.cli import checkup


@pytest.fixture(autouse=True)
def _few_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at is small here, so that no service is imported."""
    monkeypatch.setattr(checkup, "_NEEDED", {"torch": "torch", "pydantic": "pydantic"})


def advice(found: checkup.CheckUp) -> str:
    return "\n".join(f"{what} {step}" for what, step in found.missing)


def test_a_healthy_machine(run) -> None:
    import torch

    result = run("doctor")
    assert result.exit_code == 0
    assert f"torch       {torch.__version__}" in result.stdout
    assert "cores usable" in result.stdout
    assert "cache" in result.stdout
    assert "energytune datasets NAME" in result.stdout


def test_a_missing_package_comes_with_its_command(run, monkeypatch) -> None:
    monkeypatch.setattr(checkup, "_NEEDED", {"nowhere_to_be_found": "nowhere[all]"})
    result = run("doctor")
    assert result.exit_code == 1
    assert "nowhere_to_be_found  not installed" in result.stdout
    assert "-m pip install 'nowhere[all]'" in result.stdout


def test_a_broken_package_is_told_apart(monkeypatch) -> None:
    real = importlib.import_module

    def broken(name: str) -> object:
        if name == "pydantic":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    found = checkup.check_up()
    assert not found.healthy
    told = dict(found.versions)["pydantic"]
    assert told == "does not load: RuntimeError: operator torchvision::nms does not exist"
    assert "--force-reinstall" in advice(found)


def test_a_folder_that_cannot_be_written_is_told(monkeypatch, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(locked))
    monkeypatch.setattr(checkup, "existing_parent", lambda path: path)
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: path != locked)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50e9))
    found = checkup.check_up()
    assert not found.healthy
    assert f"{locked} can't be written. export ENERGYTUNE_CACHE=FOLDER" in advice(found)


def test_little_space_is_told_but_no_reason_to_fail(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3e8))
    found = checkup.check_up()
    assert found.healthy
    assert "Only 0.3 GB are free" in advice(found)


def test_gpus_are_named(monkeypatch) -> None:
    import torch

    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: gpu)
    assert "GPU 0: NVIDIA H100, 80 GiB" in checkup.check_up().devices
