"""The server's deployment folder, as far as it can be checked without containers."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "mlflow"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def test_no_python_hides_the_real_mlflow() -> None:
    assert not list(FOLDER.rglob("*.py"))


def test_every_port_is_bound_to_this_machine(compose: dict) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_variable_is_explained_and_no_secret_has_a_default(compose: dict) -> None:
    text = (FOLDER / "compose.yaml").read_text()
    used = dict(re.findall(r"\$\{(\w+)(:[-?])?", text))
    explained = set(re.findall(r"^#? ?(\w+)=", (FOLDER / "env.example").read_text(), re.M))
    assert set(used) == explained
    filled = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "env.example").read_text(), re.M))
    for name in ("POSTGRES_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY"):
        assert f"${{{name}:?" in text
        assert filled[name] == ""


def test_the_start_script_gets_what_it_asks_for(compose: dict) -> None:
    subprocess.run(["sh", "-n", FOLDER / "start.sh"], check=True)
    script = (FOLDER / "start.sh").read_text()
    needed = set(re.findall(r"\$\{?([A-Z0-9_]+)\b", script))
    optional = set(re.findall(r"\$\{([A-Z_]+):-", script))
    given = set(compose["services"]["mlflow"]["environment"])
    assert needed - optional - {"MLFLOW_AUTH_CONFIG_PATH"} <= given
    for option in ("--app-name basic-auth", "--allowed-hosts", "--artifacts-destination"):
        assert option in script


def test_the_image_holds_the_version_that_is_tested() -> None:
    version = importlib.metadata.version("mlflow")
    assert f"mlflow=={version}" in (FOLDER / "Dockerfile").read_text()


def test_secrets_are_not_committed() -> None:
    assert ".env" in (FOLDER / ".gitignore").read_text().split()
