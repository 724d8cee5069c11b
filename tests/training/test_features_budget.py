from __future__ import annotations

from collections import namedtuple

import pytest

from energytune.errors import ConfigError
from energytune.training import features_budget
from energytune.training.features_budget import available_ram, cache_budget

USAGE = namedtuple("usage", "total used free")


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.delenv("ENERGYTUNE_CACHE_BUDGET", raising=False)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: USAGE(1000, 600, 400))
    monkeypatch.setattr(features_budget, "available_ram", lambda: 80)


def test_the_default_is_a_quarter_of_what_is_free(tmp_path) -> None:
    budget = cache_budget(tmp_path / "not" / "there", 0)
    assert (budget.disk_bytes, budget.ram_bytes) == (100, 20)
    assert budget.rule == "a quarter of the free disk"
    assert cache_budget(tmp_path, 7).disk_bytes == 107  # what is there already may stay


def test_the_setting_goes_before_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE_BUDGET", "2kB")
    budget = cache_budget(tmp_path, 7)
    assert (budget.disk_bytes, budget.rule) == (2000, "set by ENERGYTUNE_CACHE_BUDGET")
    budget = cache_budget(tmp_path, 7, "3kB")
    assert (budget.disk_bytes, budget.rule) == (3000, "set by --cache-budget")


def test_an_empty_variable_is_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE_BUDGET", "")
    assert cache_budget(tmp_path, 0).disk_bytes == 100


def test_a_variable_that_is_no_size_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE_BUDGET", "lots")
    with pytest.raises(ConfigError, match="ENERGYTUNE_CACHE_BUDGET must be a size, got 'lots'"):
        cache_budget(tmp_path, 0)


@pytest.mark.parametrize(
    ("limit", "left"),
    [("1000", 450), ("max", 10**6), ("100", 0), ("nonsense", 10**6), (None, 10**6)],
)
def test_a_control_group_bounds_the_memory(tmp_path, monkeypatch, limit, left) -> None:
    group = tmp_path / "sys" / "box"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("1:cpu:/x\n0::/box\n")
    (group / "memory.current").write_text("600\n")
    (group / "memory.stat").write_text("anon 550\nfile 50\n")
    if limit is not None:
        (group / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(features_budget, "_CGROUPS", tmp_path / "sys")
    monkeypatch.setattr(features_budget, "_OWN_CGROUP", tmp_path / "cgroup")
    memory = namedtuple("memory", "available")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(10**6))
    assert available_ram() == left
