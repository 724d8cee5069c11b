"""What a result was measured on, and the CPU time of the whole machine."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "optuna", "ray", "mlflow", "numpy", "scipy", "scikit-learn")


def cpu_model() -> str:
    """Returns the processor's name, or the architecture where there is none."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = re.findall(r"^model name\s*:\s*(.+)$", info, flags=re.MULTILINE)
    return names[0].strip() if names else platform.machine()


def n_cpus() -> int:
    """Returns the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def hardware() -> str:
    """Returns the machine as part of a file name: ``2cpu-intel-xeon-2.80ghz``."""
    model = re.sub(r"\((r|tm)\)|\b(cpu|processor)\b|@", " ", cpu_model().lower())
    return f"{n_cpus()}cpu-" + re.sub(r"[^a-z0-9.]+", "-", model).strip("-")


def metadata(**more: Any) -> dict[str, Any]:
    """Returns machine, versions, command and date of a result."""
    from energytune import __version__

    spec = sys.modules["__main__"].__spec__  # None of a script that was not started with -m
    script = ["-m", spec.name] if spec else [f"benchmarks/{Path(sys.argv[0]).name}"]
    return {
        "command": " ".join(["python", *script, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "n_cpus": n_cpus(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {"energytune": __version__} | {name: version(name) for name in LIBRARIES},
        **more,
    }


def write_json(path: Path, content: Any) -> None:
    """Writes indented JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one line a row; the columns are those of all rows, in order of appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def busy_cpu_s() -> float:
    """Returns the CPU seconds that this machine's processes have used since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def idle_load(seconds: float = 3.0) -> float:
    """Returns how many CPUs are busy with other things; a quiet machine shows less than 0.1."""
    before = busy_cpu_s()
    sleep(seconds)
    return (busy_cpu_s() - before) / seconds


@dataclass
class Stopwatch:
    """Wall-clock and CPU seconds of a block.

    Attributes:
        wall_s: Wall-clock seconds.
        machine_cpu_s: CPU seconds of all processes of the machine, strangers included.
        children_cpu_s: CPU seconds of the processes that were started and waited for; a service
            that left its parent is not among them.
    """

    wall_s: float = 0.0
    machine_cpu_s: float = 0.0
    children_cpu_s: float = 0.0

    def __enter__(self) -> Stopwatch:
        self._before = self._now()
        return self

    def __exit__(self, *_error: object) -> None:
        spent = [after - before for after, before in zip(self._now(), self._before, strict=True)]
        self.wall_s, self.machine_cpu_s, self.children_cpu_s = spent

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times = os.times()
        return perf_counter(), busy_cpu_s(), times.children_user + times.children_system
