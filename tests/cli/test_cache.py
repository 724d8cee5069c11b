from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from energytune.cli import cache

DAY = 86400


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(root))
    monkeypatch.setenv("ENERGYTUNE_CACHE_BUDGET", "20GB")
    for name, age in (("digits-mlp-new", 0), ("digits-mlp-old", 9 * DAY)):
        path = root / "backbones" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1500)
        stamp = path.stat().st_mtime - age
        os.utime(path, (stamp, stamp))
    return root


def names(root) -> list[str]:
    return sorted(path.stem for path in (root / "backbones").iterdir())


def test_the_list_says_what_there_is_how_large_and_how_old(run, root) -> None:
    lines = run("cache", "list").stdout.splitlines()
    assert lines[0] == "backbones: embedded backbones, pretrained on this machine, 3.0 kB"
    assert lines[1].split() == ["1.5", "kB", "0", "min", "ago", "digits-mlp-new.safetensors"]
    assert lines[2].split() == ["1.5", "kB", "9", "d", "ago", "digits-mlp-old.safetensors"]
    assert lines[3] == f"3.0 kB in {root}"
    assert lines[4] == "features may take 20.0 GB (set by ENERGYTUNE_CACHE_BUDGET)"


def test_the_list_as_json(run, root) -> None:
    document = json.loads(run("cache", "list", "--json").stdout)
    assert document["folder"] == str(root)
    assert document["n_bytes"] == 3000
    assert document["features_budget_bytes"] == 20 * 10**9
    assert [item["n_bytes"] for item in document["items"]] == [1500, 1500]


def test_an_empty_cache(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "none"))
    assert run("cache", "list").stdout.startswith("0 B in ")
    assert "nothing to remove" in run("cache", "clear").stdout


def test_clear_without_a_terminal_wants_to_be_sure(run, root) -> None:
    refused = run("cache", "clear")
    assert refused.exit_code == 2
    assert f"would remove 2 things (3.0 kB) from {root}" in refused.stderr
    assert "Add --yes" in refused.stderr
    assert len(names(root)) == 2


def test_clear_removes_and_says_how_much(run, root) -> None:
    assert run("cache", "clear", "--yes").stdout == "removed 2 things, 3.0 kB\n"
    assert names(root) == []


def test_clear_only_what_is_old(run, root) -> None:
    assert "removed 1 things, 1.5 kB" in run("cache", "clear", "--older-than", "7d", "--yes").stdout
    assert names(root) == ["digits-mlp-new"]


def test_clear_only_one_kind(run, root) -> None:
    assert "nothing to remove" in run("cache", "clear", "--kind", "features").stdout
    assert len(names(root)) == 2
    run("cache", "clear", "--kind", "backbones", "--kind", "features", "--yes")
    assert names(root) == []


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_it_asks(root, monkeypatch, capsys, answer) -> None:
    asked: list[str] = []

    def confirm(text: str, abort: bool) -> None:
        asked.append(text)
        if answer == "n":
            raise cache.typer.Abort

    monkeypatch.setattr(cache.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(cache.typer, "confirm", confirm)
    if answer == "y":
        cache.clear_command()
        assert "removed 2 things" in capsys.readouterr().out
    else:
        with pytest.raises(cache.typer.Abort):
            cache.clear_command()
    assert asked == [f"Remove 2 things (3.0 kB) from {root}?"]
    assert len(names(root)) == (0 if answer == "y" else 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kind", "feature"], "Unknown kind of cache 'feature'. Did you mean 'features'"),
        (["--older-than", "7"], "--older-than '7' has no unit"),
        (["--older-than", "soon"], "--older-than must be a duration, got 'soon'"),
    ],
)
def test_bad_options(run, root, arguments, told) -> None:
    result = run("cache", "clear", "--yes", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(names(root)) == 2


def test_what_is_being_built_is_said(run, root, monkeypatch) -> None:
    from energytune.cache_listing import CacheItem, Cleared

    item = CacheItem("features", root / "features" / "k", "x", 5, 0.0, building=True)
    monkeypatch.setattr(
        "energytune.cache_listing.clear_cache", lambda *_a, **_k: Cleared((), (item,))
    )
    told = run("cache", "clear", "--yes").stdout
    assert told == f"left, since it is being built: {item.path}\nremoved 0 things, 0 B\n"
