"""How much room cached features may take, on disk and in memory."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from energytune.config.sizes import parse_bytes
from energytune.paths import existing_parent

__all__ = ["CACHE_BUDGET_VARIABLE", "CacheBudget", "available_ram", "cache_budget"]

CACHE_BUDGET_VARIABLE = "ENERGYTUNE_CACHE_BUDGET"
_SHARE = 4
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class CacheBudget:
    """Room for cached features.

    Attributes:
        disk_bytes: Bytes that all cached features together may have on disk.
        ram_bytes: Bytes of them that a process may hold in memory.
        rule: Where ``disk_bytes`` comes from, for messages.
    """

    disk_bytes: int
    ram_bytes: int
    rule: str = "as set"

    def at_most(self, disk_bytes: int, rule: str) -> CacheBudget:
        """Returns this budget, or one of ``disk_bytes`` if that is less."""
        if disk_bytes >= self.disk_bytes:
            return self
        return CacheBudget(disk_bytes, self.ram_bytes, rule)


def cache_budget(root: Path, used_bytes: int, setting: str | None = None) -> CacheBudget:
    """Returns the budget: a quarter of the free disk and of the memory, unless a size is set.

    Args:
        root: Folder of the features; need not exist.
        used_bytes: What the features in it hold already; the default lets them grow by a quarter
            of the free disk.
        setting: A size for the disk such as ``"20GB"``; None takes ``$ENERGYTUNE_CACHE_BUDGET``,
            and without it the default.

    Raises:
        ConfigError: If the setting is no size.
    """
    ram_bytes = available_ram() // _SHARE
    name = "--cache-budget"
    if setting is None:
        name, setting = CACHE_BUDGET_VARIABLE, os.environ.get(CACHE_BUDGET_VARIABLE) or None
    if setting is not None:
        return CacheBudget(parse_bytes(setting, name), ram_bytes, f"set by {name}")
    n_free = shutil.disk_usage(existing_parent(root)).free
    return CacheBudget(used_bytes + n_free // _SHARE, ram_bytes, "a quarter of the free disk")


def available_ram() -> int:
    """Returns the bytes of memory that can be had without swapping, in this control group."""
    available = int(psutil.virtual_memory().available)
    left = _left_in_cgroup()
    return available if left is None else max(0, min(available, left))


def _left_in_cgroup() -> int | None:
    """Returns what a version 2 control group leaves; None without one or without a limit."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
        path = next(line.partition("::")[2] for line in lines if line.startswith("0::"))
        folder = _CGROUPS / path.lstrip("/")
        limit = int((folder / "memory.max").read_text())  # "max" is no number: no limit
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - used + int(stat["file"])  # the page cache is given back when needed
    except (OSError, ValueError, KeyError, StopIteration):
        return None
