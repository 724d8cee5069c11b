from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from energytune.cli.main import app
from energytune.cli.options import SearchOptions
from energytune.cli.resume_options import ResumeOptions
from tests.report.hand_made import small_search
from tests.search.test_report import write_folder

Run = Callable[..., Result]

EVERYTHING = ResumeOptions(
    search="my study",
    trials="+20",
    time_budget="30m",
    gpu_hours=8.5,
    max_disk="50GB",
    concurrency=3,
    cpus_per_trial=2,
    gpus_per_trial=0.25,
    ray_address="127.0.0.2:6379",
    storage_path="/shared/digits",
    storage="sqlite:///study.db",
    tracking_uri="http://127.0.0.1:5000",
    out=Path("where it is"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    options = SearchOptions(out=tmp_path / "one run", trials=5, seed=3)
    return write_folder(options.to_config("default")).out


def test_the_command_is_read_back_as_it_was() -> None:
    words = shlex.split(EVERYTHING.command())
    assert words[:2] == ["energytune", "resume"]
    import typer

    parser = typer.main.get_command(app).commands["resume"]
    told = parser.make_context("resume", words[2:]).params
    told["out"] = Path(told["out"])  # older versions of typer make it one later
    assert {name: told[name] for name in vars(EVERYTHING)} == vars(EVERYTHING)


def test_a_search_goes_on_with_its_settings(run: Run, stub: Any, folder: Path) -> None:
    done = run("resume", str(folder), "--trials", "+20", "--concurrency", "7")
    assert done.exit_code == 0, done.output
    (config,) = stub.configs
    assert (config.out, config.seed, config.n_trials, config.concurrency) == (folder, 3, 25, 7)
    assert "energytune resume: digits, 25 trials, seed 3" in done.stdout


def test_what_to_do_next_goes_on_from_here(run: Run, stub: Any, folder: Path) -> None:
    options = ResumeOptions(str(folder), trials="+5")
    assert options.at(folder, 40).command() == f"energytune resume '{folder}' --trials 40"
    by_study = ResumeOptions("mine", storage="sqlite:///s.db").at(folder, 40)
    assert by_study.command() == "energytune resume mine --trials 40 --storage sqlite:///s.db"
    again = options.reproduce(small_search()[2].job.recipe, 3).command()
    assert again.startswith("energytune search --dataset digits --seed 3 --trials 1 --fix tau=")


def test_interrupted_it_says_how_to_go_on(run: Run, stub: Any, folder: Path) -> None:
    stub.failure = KeyboardInterrupt()
    done = run("resume", str(folder))
    assert done.exit_code == 130
    assert f"energytune resume '{folder}'" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere is no folder"),
        (["one run", "--trials", "many"], "trials must be a number, or + and a number"),
        (["one run", "--time-budget", "soon"], "--time-budget must be a duration"),
        (["one run", "--concurrency", "0"], "concurrency"),
    ],
)
def test_what_is_wrong_is_told_with_code_2(
    run: Run, stub: Any, folder: Path, words: list[str], told: str
) -> None:
    done = run("resume", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert stub.configs == []
