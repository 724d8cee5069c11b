"""A few damaged files for each reader; ``benchmarks/fuzz.py`` feeds ten thousand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.fuzz import row_of, share_of
from benchmarks.fuzzing.mutate import mutate_file, mutate_json
from benchmarks.fuzzing.seeds import load_seeds, write_seeds
from benchmarks.fuzzing.targets import TARGETS
from benchmarks.fuzzing.worker import feed, input_of

N_INPUTS = 20
APART = {"mat files"}
"""Read by a process of its own each time; tests/data/test_hostile_files.py has them."""


@pytest.fixture(scope="module")
def seeds(ray_session: None, tmp_path_factory: pytest.TempPathFactory, _session_cache: str) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", _session_cache)
        write_seeds(folder)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("target", sorted(TARGETS.keys() - APART))
def test_no_damaged_file_is_a_crash(target: str, seeds: Path, tmp_path: Path) -> None:
    valid = load_seeds(seeds, TARGETS[target].seeds or target)
    crashes = []
    for number in range(N_INPUTS):
        told = feed(target, input_of(target, number, 7, valid), tmp_path / "current")
        if told["outcome"] == "crashed":
            crashes.append((number, told["error"], told.get("where", "")[-600:]))
    assert crashes == []


@pytest.mark.integration
@pytest.mark.parametrize("target", sorted(TARGETS.keys() - APART - {"tracking journal"}))
def test_what_is_valid_is_accepted(target: str, seeds: Path, tmp_path: Path) -> None:
    outcomes = {
        feed(target, files, tmp_path / "current")["outcome"]
        for files in load_seeds(seeds, TARGETS[target].seeds or target)
    }
    assert "accepted" in outcomes
    assert "crashed" not in outcomes


def test_a_bug_is_a_crash_and_a_refusal_is_none(tmp_path: Path, monkeypatch) -> None:
    from benchmarks.fuzzing.targets import Target
    from energytune.errors import DataError

    def buggy(folder: Path) -> None:
        raise KeyError("x") if (folder / "b").exists() else DataError("no")

    monkeypatch.setitem(TARGETS, "buggy", Target("buggy", buggy))
    told = [feed("buggy", {name: b""}, tmp_path / "x") for name in ("a", "b")]
    assert [one["outcome"] for one in told] == ["refused", "crashed"]
    assert "KeyError" in told[1]["error"]
    row = row_of("buggy", told)
    assert (row["inputs"], row["refused"], row["crashed"]) == (2, 1, 1)


def test_an_input_is_known_by_its_number() -> None:
    valid = [{"a.json": b'{"x": [1, 2, {"y": "z"}]}', "b.csv": b"a,b\n1,2\n"}]
    made = [[input_of("study", n, 0, valid) for n in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert len({str(files) for files in made[0]}) > 40


def test_whatever_is_damaged_stays_bytes() -> None:
    for number in range(300):
        rng = random.Random(number)
        for name in ("a.json", "a.gz", "a.safetensors", "a.pt", "a.png", "a.jsonl", "a.yaml"):
            assert isinstance(mutate_file(rng, name, b'{"a": 1}\n'), bytes)
        mutate_json(rng, {"a": [1, 2.5, None, {"b": "c"}]})


def test_shares_add_up() -> None:
    names = list(TARGETS)
    assert sum(share_of(name, names, 10_000) for name in names) >= 10_000
    assert min(share_of(name, names, 10_000) for name in names) >= 40
