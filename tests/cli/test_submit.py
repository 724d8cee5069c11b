from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from energytune.cli.main import app
from energytune.cli.options import SearchOptions
from energytune.cli.submit import cluster_words
from energytune.cluster import submit as module
from energytune.errors import ConfigError

HEAD = "http://127.0.0.1:1"


class Job:
    """A submitted job; ``end`` gives its exit code, or raises."""

    id, look_command, stop_command = "raysubmit_1", "ray job logs", "ray job stop"

    def __init__(self, end: Callable[[], int]) -> None:
        self.end = end

    def follow(self, write: Callable[[str], object]) -> int:
        write("Search ended\n")
        return self.end()


def interrupt() -> int:
    raise KeyboardInterrupt


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command; gives the outcome and what was handed over."""
    handed: list[Any] = []

    def run(*words: str, end: Callable[[], int] = lambda: 0) -> Any:
        def submit(*given: Any) -> Job:
            handed.append(given)
            return Job(end)

        monkeypatch.setattr(module, "submit", submit)
        command = ["search", "--submit", "--ray-address", HEAD, *words]
        outcome = CliRunner().invoke(app, command)
        outcome.handed = handed  # type: ignore[attr-defined]
        return outcome

    return run


def test_the_same_command_is_handed_over_with_the_address_of_the_heads_own(submitted: Any) -> None:
    outcome = submitted("--trials", "5", "--out", "/shared/run", "--fix", "tau=8", "-v")
    assert outcome.exit_code == 0, outcome.output
    ((address, words, metadata),) = outcome.handed
    assert address == HEAD
    assert words == [
        *("search", "--dataset", "digits", "--trials", "5", "--fix", "tau=8"),
        *("--ray-address", "auto", "--out", "/shared/run", "--verbose"),
    ]
    assert metadata == {"energytune": "search", "dataset": "digits", "out": "/shared/run"}
    assert "Submitted to http://127.0.0.1:1 as raysubmit_1" in outcome.stderr
    assert outcome.stdout == "Search ended\n"


def test_the_exit_code_is_the_jobs(submitted: Any) -> None:
    assert submitted("--out", "/shared/run", end=lambda: 3).exit_code == 3


@pytest.mark.parametrize(("words", "code"), [((), 130), (("--no-wait",), 0)])
def test_who_no_longer_watches_is_told_how_to_look_and_to_stop(
    submitted: Any, words: tuple[str, ...], code: int
) -> None:
    outcome = submitted("--out", "/shared/run", *words, end=interrupt)
    assert outcome.exit_code == code
    assert "ray job logs\n  ray job stop\n" in outcome.stderr


def test_paths_that_mean_nothing_there_are_told_at_once(tmp_path: Path) -> None:
    options = SearchOptions(
        dataset="folder:pets",
        checkpoint=Path("weights.pth"),
        data_root=Path("data"),
        space="my.yaml",
        storage="sqlite:///study.db",
    )
    with pytest.raises(ConfigError) as caught:
        cluster_words(options)
    head, *problems = str(caught.value).splitlines()
    assert head.startswith("--submit runs the search on the head of the cluster")
    assert problems == [
        "  --out must be given: a folder that the head sees, such as /shared/my-search",
        "  --checkpoint must be an absolute path on the head, got 'weights.pth'",
        "  --data-root must be an absolute path on the head, got 'data'",
        "  --space must be an absolute path on the head, got 'my.yaml'",
        "  --dataset must hold an absolute path on the head, got 'folder:pets'",
        "  --storage must hold an absolute path on the head, got 'sqlite:///study.db'",
    ]


def test_a_named_space_a_file_there_and_databases_are_taken() -> None:
    for space in ("default", "/shared/space.yaml"):
        options = SearchOptions(
            out=Path("/o"), space=space, storage="sqlite:////s.db", tracking_uri="http://h:5000"
        )
        assert "--space" in cluster_words(options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--out", "/o", "--json"), "--json is not for --submit"),
        (("--out", "/o", "--trials", "0"), "--trials"),
        (("--out", "/o", "--space", "nosuch"), "nosuch"),
        ((), "--out must be given"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_handed_over(
    submitted: Any, words: tuple[str, ...], told: str
) -> None:
    outcome = submitted(*words)
    assert outcome.exit_code == 2
    assert told in outcome.stderr
    assert outcome.handed == []


def test_a_space_that_only_the_head_has_is_not_read_here(submitted: Any) -> None:
    outcome = submitted("--out", "/o", "--space", "/nowhere/space.yaml")
    assert outcome.exit_code == 0
