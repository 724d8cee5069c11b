"""Source and wheel hold the package and its search spaces, and hide no other package."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, as a registry would do it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: set[str]) -> Message:
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return message_from_string(archive.read(name).decode())


def test_the_source_has_what_its_tests_need_and_nothing_that_was_made(wheel: Path) -> None:
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "Makefile", "constraints.txt", "tests/conftest.py"}
    assert needed <= names
    made = (".venv", "site/", "energytune-runs/")
    assert not [name for name in names if "__pycache__" in name or name.startswith(made)]


def test_nothing_but_the_package_is_at_top_level(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"energytune"}
    assert len(tops) == 2


def test_every_module_and_every_space_is_in_the_wheel(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "energytune").rglob("*.py")}
    spaces = {f"energytune/search_spaces/{p.name}" for p in (ROOT / "search_spaces").glob("*.yaml")}
    assert len(spaces) >= 2
    assert modules | spaces | {"energytune/py.typed"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_the_command_and_the_requirements_are_declared(
    wheel: Path, names: set[str], metadata: Message
) -> None:
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        assert "energytune = energytune.cli.main:main" in archive.read(entry).decode()
    required = " ".join(metadata.get_all("Requires-Dist") or [])
    for name in ("torch", "timm", "optuna", "ray[tune]", "mlflow", "scikit-learn", "safetensors"):
        assert name in required
    assert metadata["Requires-Python"] == ">=3.11"


def test_an_installed_package_carries_its_spaces(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "from energytune.config import list_spaces, load_space\n"
        "print(*list_spaces().values())\n"
        "print(load_space('stl10').tau.high)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    paths, tau = told.stdout.splitlines()
    assert tau == "200"
    inside = str(tmp_path / "site" / "energytune" / "search_spaces")
    assert all(path.startswith(inside) for path in paths.split())


def test_the_deployment_folder_holds_no_python() -> None:
    assert list((ROOT / "mlflow").rglob("*.py")) == []


@pytest.mark.integration
def test_mlflow_from_the_repository_root_is_the_real_one() -> None:
    code = "import mlflow; print(mlflow.__file__); print(mlflow.__version__)"
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    path, version = told.stdout.splitlines()
    assert not Path(path).is_relative_to(ROOT / "mlflow")
    assert version.startswith("3.")
