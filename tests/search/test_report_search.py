"""The page of real searches: written, logged, read again, and done again by its own command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError, OutputError, UnknownNameError
from energytune.search.about import read_about
from energytune.search.report_load import load_search, load_search_of_study
from energytune.search.report_write import write_report
from energytune.search.result import TuneResult
from energytune.search.run import run_search
from energytune.trial import TrialRecord
from tests.browsers import Browser
from tests.report.pages import Element, read, table
from tests.search.commands import parsed

pytestmark = pytest.mark.integration
MakeConfig = Callable[..., SearchConfig]
QUICK: dict[str, Any] = {
    "name": "quick",
    "tau": {"low": 0, "high": 64},
    "reinit_depth": {"low": 0, "high": 1},
    "ft_lr": {"low": 0.003, "high": 0.05, "default": 0.02},
    "finetune": {"epochs": 12, "patience": None},
}


@pytest.fixture(scope="module")
def searched(
    ray_session: None, tmp_path_factory: pytest.TempPathFactory, _session_cache: str
) -> TuneResult:
    """One finished search that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", _session_cache)
        return run_search(
            SearchConfig.model_validate(
                {
                    "dataset": "digits",
                    "space": QUICK,
                    "n_trials": 6,
                    "n_confirm_seeds": 2,
                    "n_confirm_recipes": 1,
                    "concurrency": 1,
                    "out": tmp_path_factory.mktemp("searched") / "run",
                }
            )
        )


def page_of(path: Path) -> Element:
    return read(path.read_text())


def test_a_search_ends_with_its_page(searched: TuneResult) -> None:
    assert searched.report_problem == ""
    page = page_of(searched.report_path)
    assert searched.winner is not None
    assert f"t{searched.winner.job.number:03d}" in page.one("p", class_="verdict").content
    assert len(page.all("figure")) == 7
    rows = dict(row for row in table(page, "What this search ran on") if len(row) == 2)
    assert len(rows["backbone weights, sha256"]) == len(rows["data fingerprint, sha256"]) == 64
    assert rows["samples"] == "100 train, 400 valid"
    assert {"energytune", "torch", "optuna", "ray", "mlflow", "Python"} <= set(rows)
    assert searched.registered is not None
    assert searched.registered.name in page.one("section", id="again").content
    assert "report" in searched.seconds


def test_its_numbers_are_those_of_the_result(searched: TuneResult) -> None:
    page = page_of(searched.report_path)
    for name, record in {"winner": searched.winner, **searched.baselines}.items():
        assert record is not None
        runs = [
            r.finished.test.accuracy
            for r in searched.confirmations
            if r.job.number == record.job.number and r.finished and r.finished.test
        ]
        (row,) = [
            row
            for row in table(page, "Test accuracy of the winner")
            if row[0] == name or row[0].endswith(f"({name})")
        ]
        assert row[1:3] == [f"t{record.job.number:03d}", f"{100 * sum(runs) / len(runs):.1f} %"]
        assert row[4] == " ".join(f"{100 * value:.1f}" for value in runs)


def test_it_is_an_artifact_of_the_search_s_run(searched: TuneResult, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(searched.tracking.uri, searched.tracking.uri)
    run_id = searched.mlflow_run_id
    assert run_id is not None
    assert "report.html" in {file.path for file in client.list_artifacts(run_id)}
    path = client.download_artifacts(run_id, "report.html", str(tmp_path))
    logged = page_of(Path(path)).one("p", class_="verdict").content
    assert logged == page_of(searched.report_path).one("p", class_="verdict").content


def test_it_can_be_seen_in_a_browser(searched: TuneResult, browser: Browser) -> None:
    for width in (390, 1280):
        browser.open(searched.report_path, width=width)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.console() == []
        asked = [url for url in browser.requests() if not url.startswith("data:")]
        assert asked == [searched.report_path.as_uri()]


def test_its_folder_and_its_study_tell_the_same(searched: TuneResult, tmp_path: Path) -> None:
    loaded = load_search(searched.out)
    again = loaded.result
    assert loaded.state == "ended"
    assert again.winner == searched.winner
    assert list(again.confirmed) == list(searched.confirmed)
    assert again.seed_noise == searched.seed_noise
    assert again.records == searched.records
    written = page_of(write_report(again, tmp_path / "x.html", state=loaded.state))
    assert table(written, "Test accuracy of the winner") == table(
        page_of(searched.report_path), "Test accuracy of the winner"
    )

    of_study = load_search_of_study(searched.storage, searched.study_name)
    assert of_study.result.winner == searched.winner
    assert of_study.result.records == searched.records
    assert "are in the search's folder" in of_study.notes[0]
    path = write_report(
        of_study.result, tmp_path / "y.html", state=of_study.state, notes=of_study.notes
    )
    assert "Test was not read: no run of the winner" in page_of(path).content


def test_a_loaded_result_still_gives_the_model(searched: TuneResult) -> None:
    import torch

    one, two = searched.best_model(), load_search(searched.out).result.best_model()
    inputs = torch.randn(3, 64)
    assert torch.equal(one(inputs), two(inputs))


def test_an_unknown_study_is_a_clear_error(searched: TuneResult) -> None:
    with pytest.raises(UnknownNameError, match=searched.study_name):
        load_search_of_study(searched.storage, "rum")


def test_a_search_that_was_killed_has_a_page(searched: TuneResult, tmp_path: Path) -> None:
    folder = tmp_path / searched.out.name
    shutil.copytree(searched.out, folder)
    about = read_about(folder / "about.json")
    assert about is not None
    del about["end"]
    (folder / "about.json").write_text(json.dumps(about))
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:3]) + lines[3][:50])
    loaded = load_search(folder)
    assert loaded.state == "running"
    assert len(loaded.result.records) == 3
    text = page_of(write_report(loaded.result, folder / "x.html", state=loaded.state)).content
    assert "3 of 6 trials had ended" in text


def timeless(record: TrialRecord) -> dict[str, Any]:
    """Returns a record without what the clock and the cache decide."""
    clocks: dict[str, Any] = dict.fromkeys(
        ("seconds_hp", "seconds_ft", "started_ms", "ended_ms", "waited_ms"), 0
    )
    plain = replace(record, **clocks).to_dict()
    plain.pop("n_hp_epochs_run")
    if plain["finished"]:
        plain["finished"].pop("seconds")
        plain["finished"].pop("model_path")
    return plain


def test_its_command_does_the_search_again(
    searched: TuneResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_of(searched.report_path)
    command = page.one("section", id="again").all("code")[0].content
    assert str(searched.out) in command  # its space is no packaged one, and lies there
    config = parsed(command, monkeypatch).model_copy(update={"out": tmp_path / "again"})
    again = run_search(config)
    assert [timeless(r) for r in again.records] == [timeless(r) for r in searched.records]
    assert again.winner is not None
    assert searched.winner is not None
    assert again.winner.job == searched.winner.job


def test_a_search_whose_every_trial_failed_has_a_page_too(
    ray_session: None, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {**QUICK, "ft_lr": {"low": 1e29, "high": 1e30}}
    config = make_config(space=space, n_trials=2)
    with pytest.raises(EnergyTuneError, match="None of 2 trials is complete"):
        run_search(config)
    page = page_of(config.out / "report.html")
    assert "No trial is complete, so there is no winner yet." in page.content
    rows = table(page, "Trials that did not run")
    assert [row[0] for row in rows[1:]] == ["failed"] * (len(rows) - 1)


def test_a_study_of_somebody_else_is_refused(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'other.db'}"
    optuna.create_study(storage=url, study_name="theirs")
    with pytest.raises(OutputError, match="was not made by energytune"):
        load_search_of_study(url, "theirs")
