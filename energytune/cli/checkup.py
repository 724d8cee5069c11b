"""What ``energytune doctor`` looks at."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from energytune.paths import cache_dir, existing_parent

__all__ = ["CheckUp", "check_up", "print_check_up"]

_NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "ray": "ray[tune]",
    "optuna": "optuna",
    "mlflow": "mlflow",
    "sklearn": "scikit-learn",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "scipy": "scipy",
}
"""Module -> what pip installs it by."""

_LEAST_FREE_GB = 1.0


@dataclass
class CheckUp:
    """What was found.

    Attributes:
        versions: (name, version), or (name, why it does not work).
        devices: A line for each kind of device.
        paths: (what, where and in which state).
        missing: (what is missing, the command or step that mends it).
        healthy: Whether a search on the embedded data can run.
    """

    versions: list[tuple[str, str]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    healthy: bool = True


def check_up() -> CheckUp:
    """Looks at packages, devices, folders and datasets; changes nothing."""
    found = CheckUp()
    found.versions.append(("python", f"{platform.python_version()} ({sys.executable})"))
    _check_packages(found)
    if "torch" in sys.modules:
        _check_devices(found)
        _check_datasets(found)
    _check_paths(found)
    return found


def print_check_up(found: CheckUp) -> None:
    """Prints what was found, and at the end what to do."""
    from energytune.cli.display import make_console

    console = make_console()

    def section(title: str, rows: list[tuple[str, str]]) -> None:
        console.print(title, style="bold")
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            console.print(f"  {name:<{width}}  {text}".rstrip(), soft_wrap=True)

    section("Versions", found.versions)
    section("Devices", [(line, "") for line in found.devices])
    section("Paths", found.paths)
    if found.missing:
        section("Missing", [])
        for what, step in found.missing:
            console.print(f"  {what}\n    {step}", soft_wrap=True)
    else:
        console.print("Nothing is missing.")


def _check_packages(found: CheckUp) -> None:
    """Imports each package: one that is installed can still be broken."""
    # Before mlflow is imported: without a network its telemetry can break a call.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    try:
        found.versions.append(("energytune", version("energytune")))
    except PackageNotFoundError:
        found.versions.append(("energytune", "not installed, runs from its source"))
    for module, name in _NEEDED.items():
        command = f"{sys.executable} -m pip install '{name}'"
        try:
            loaded = importlib.import_module(module)
            # Tells more than the metadata: torch's says which CUDA it was built for.
            number = getattr(loaded, "__version__", None) or version(name.partition("[")[0])
            found.versions.append((module, number))
        except (ImportError, PackageNotFoundError):
            found.versions.append((module, "not installed"))
            found.missing.append((f"The package {name} is not installed.", command))
            found.healthy = False
        except Exception as error:  # what a broken package raises is anyone's guess
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            found.versions.append((module, f"does not load: {reason}"))
            found.missing.append(
                (f"The package {name} does not load.", f"{command} --force-reinstall")
            )
            found.healthy = False


def _check_devices(found: CheckUp) -> None:
    import torch

    n_usable = len(os.sched_getaffinity(0))
    found.devices.append(f"CPU: {n_usable} of {os.cpu_count()} cores usable")
    if not torch.cuda.is_available():
        found.devices.append("GPU: none that torch can use; a search runs on the CPU")
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        found.devices.append(f"GPU {i}: {gpu.name}, {gpu.total_memory / 2**30:.0f} GiB")


def _check_datasets(found: CheckUp) -> None:
    from energytune.data import DATASETS, dataset_status, default_data_root

    absent = [entry.name for entry in DATASETS.values() if not dataset_status(entry)[0]]
    if absent:
        found.missing.append(
            (
                f"{len(absent)} of {len(DATASETS)} datasets are not in {default_data_root()}: "
                f"{', '.join(absent)}.",
                "energytune datasets NAME    # where its files go, and what downloads itself",
            )
        )


def _check_paths(found: CheckUp) -> None:
    from energytune.search.folder import DEFAULT_HOME

    folders = {"cache": cache_dir(), "searches": DEFAULT_HOME.absolute()}
    if "torch" in sys.modules:
        from energytune.data import default_data_root

        folders["datasets"] = default_data_root()
    for name, folder in folders.items():
        writable = os.access(existing_parent(folder), os.W_OK | os.X_OK)
        free_gb = shutil.disk_usage(existing_parent(folder)).free / 1e9
        state = "can be written" if writable else "CAN'T BE WRITTEN"
        found.paths.append((name, f"{folder} ({state}, {free_gb:.1f} GB free)"))
        if not writable:
            found.missing.append((f"{folder} can't be written.", _path_advice(name, folder)))
            found.healthy = False
        elif free_gb < _LEAST_FREE_GB:
            found.missing.append(
                (f"Only {free_gb:.1f} GB are free for {folder}.", _path_advice(name, folder))
            )


def _path_advice(name: str, folder: Path) -> str:
    if name == "searches":
        return "energytune search --out FOLDER    # another place"
    variable = {"cache": "ENERGYTUNE_CACHE", "datasets": "ENERGYTUNE_DATA"}[name]
    return f"export {variable}=FOLDER    # another place than {folder}"
