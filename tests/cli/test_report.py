from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from energytune.cli.options import SearchOptions
from energytune.optimizer import open_study
from energytune.search.about import about_search, without_map
from energytune.search.folder import RunFolder
from tests.report.pages import read
from tests.search.test_report import CURVES, bench, write_folder

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished search."""
    return write_folder(SearchOptions(out=tmp_path / "runs" / "one").to_config("default")).out


def test_writes_the_page_into_the_search_s_folder(run: Run, folder: Path) -> None:
    done = run("report", str(folder))
    assert (done.exit_code, done.stdout) == (0, f"Report: {folder / 'report.html'}\n")
    assert "90.0 % test accuracy" in read((folder / "report.html").read_text()).content


def test_writes_it_where_it_is_told(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("report", str(folder), "--out", str(tmp_path / "new" / "page.html"))
    assert done.exit_code == 0
    assert (tmp_path / "new" / "page.html").is_file()
    assert not (folder / "report.html").exists()


def test_of_several_searches_the_latest_is_meant(run: Run, folder: Path) -> None:
    later = write_folder(SearchOptions(out=folder.parent / "two").to_config("default")).out
    os.utime(folder / "search.json", (1, 1))
    assert run("report", str(folder.parent)).stdout == f"Report: {later / 'report.html'}\n"
    os.utime(later / "search.json", (0, 0))
    assert run("report", str(folder.parent)).stdout == f"Report: {folder / 'report.html'}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere is no folder. Name the folder of a search"),
        (["."], ". holds no search"),
        ([], "energytune-runs is no folder"),
        ([".", "--out", "page.pdf"], "--out must end in .html, got page.pdf. Try page.html."),
        (["one", "--storage", "journal:///nowhere/study.journal"], "There is no study at"),
    ],
)
def test_what_is_wrong_is_told_with_code_2(run: Run, words: list[str], told: str) -> None:
    done = run("report", *words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.output


def test_opens_the_browser_if_asked(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)))
    assert "No browser could be opened" in run("report", str(folder), "--open").stderr
    assert opened == [(folder / "report.html").as_uri()]
    run("report", str(folder))
    assert len(opened) == 1


def test_a_study_is_named_with_its_storage(run: Run, tmp_path: Path) -> None:
    from optuna.pruners import NopPruner
    from optuna.samplers import RandomSampler

    config = SearchOptions(out=tmp_path / "run").to_config("default")
    about = about_search(config, RunFolder(config), bench(), CURVES, user_module=False)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = open_study(url, "mine", sampler=RandomSampler(), pruner=NopPruner())
    study.set_user_attr("energytune", without_map(about))
    done = run("report", "mine", "--storage", url)
    assert done.exit_code == 0
    assert done.stdout == "Report: mine-report.html\n"
    assert "Made from the study alone" in done.stderr
    text = read(Path("mine-report.html").read_text()).content
    assert "has not ended" in text
    assert "No trial has run yet" in text
    assert run("report", "yours", "--storage", url).exit_code == 2


def test_help_says_what_it_does(run: Run) -> None:
    told = run("report", "--help").stdout
    for words in ("DIR|STUDY", "--storage", "--out", "--open", "loads nothing"):
        assert words in told
