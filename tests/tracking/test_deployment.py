"""The server's deployment folder, as far as it can be checked without containers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "mlflow"
SECRETS = (
    "POSTGRES_PASSWORD",
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_SECRET_KEY",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def test_no_python_hides_the_real_mlflow() -> None:
    assert not list(FOLDER.rglob("*.py"))


def has_docker_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return found.returncode == 0


def schema_says(file: Path) -> subprocess.CompletedProcess[str]:
    """Holds a compose file against the schema of the compose specification."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, file], capture_output=True, text=True, check=False)


def test_the_compose_file_follows_the_specification(tmp_path: Path) -> None:
    told = schema_says(FOLDER / "compose.yaml")
    assert told.returncode == 0, told.stdout
    if has_docker_compose():  # resolves the variables too
        env = tmp_path / "env"
        lines = (FOLDER / "env.example").read_text().splitlines()
        filled = [f"{ln}a1b2" if ln.removesuffix("=") in SECRETS else ln for ln in lines]
        env.write_text("\n".join(filled))
        files = ["--env-file", env, "--file", FOLDER / "compose.yaml"]
        subprocess.run(["docker", "compose", *files, "config", "--quiet"], check=True)
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((FOLDER / "compose.yaml").read_text().replace("healthcheck:", "healtcheck:"))
    assert schema_says(wrong).returncode == 1


def test_every_port_is_bound_to_this_machine(compose: dict) -> None:
    services = compose["services"].values()
    ports = [port for service in services for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_artifact_store_is_reached_by_the_server_only(compose: dict) -> None:
    storage = compose["services"]["storage"]
    assert "ports" not in storage
    assert storage["networks"] == ["storage"]
    assert compose["networks"]["storage"] == {"internal": True}
    assert "storage" in compose["services"]["mlflow"]["networks"]
    assert "networks" not in compose["services"]["postgres"]


def test_every_service_tells_whether_it_is_well_and_is_waited_for(compose: dict) -> None:
    services = compose["services"]
    assert all(service["healthcheck"]["test"] for service in services.values())
    assert all(service["restart"] == "unless-stopped" for service in services.values())
    waits = services["mlflow"]["depends_on"]
    assert waits == {
        "postgres": {"condition": "service_healthy"},
        "storage": {"condition": "service_healthy"},
    }


def test_every_image_and_package_is_pinned(compose: dict) -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    images = [s["image"] for s in compose["services"].values() if "image" in s]
    images += re.findall(r"^FROM (\S+)", dockerfile, re.M)
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image
    installed = re.search(r"--no-cache-dir \\\n\s*(.+?) \\\n", dockerfile)
    assert installed is not None
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", part) for part in installed[1].split())


def test_the_image_holds_the_versions_that_are_tested() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    pins = (FOLDER.parent / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    for package in ("mlflow", "psycopg2-binary", "flask-wtf", "boto3"):
        (pin,) = (line for line in pins if line.startswith(f"{package}=="))
        assert pin in dockerfile


def test_every_variable_is_explained_and_no_secret_has_a_default() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text))
    filled = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "env.example").read_text(), re.M))
    assert used == set(filled)
    for name in SECRETS:
        assert set(re.findall(rf"\$\{{{name}(:?[-?])?", text)) == {":?"}
        assert filled[name] == ""
    for name, default in re.findall(r"\$\{(\w+):?-([^}]*)\}", text):
        assert filled[name] == default, name


def test_the_start_script_gets_what_it_asks_for(compose: dict) -> None:
    subprocess.run(["sh", "-n", FOLDER / "start.sh"], check=True)
    script = (FOLDER / "start.sh").read_text()
    needed = set(re.findall(r"\$\{?([A-Z0-9_]+)\b", script))
    optional = set(re.findall(r"\$\{([A-Z0-9_]+):-", script))
    given = set(compose["services"]["mlflow"]["environment"])
    assert needed - optional - {"MLFLOW_AUTH_CONFIG_PATH"} <= given
    for option in ("--app-name basic-auth", "--allowed-hosts", "--artifacts-destination"):
        assert option in script


def test_secrets_are_not_committed() -> None:
    assert ".env" in (FOLDER / ".gitignore").read_text().split()
