"""The page at a search's end, and a search that is read again from its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from energytune.config import MapHead, SearchConfig
from energytune.config.engine import EngineConfig
from energytune.errors import OutputError
from energytune.optimizer import Standing
from energytune.progress import NoProgress
from energytune.science.noise import SeedNoise
from energytune.search.about import (
    about_search,
    curves_of,
    end_of,
    read_about,
    without_map,
    write_about,
)
from energytune.search.folder import RunFolder
from energytune.search.report_load import load_search
from energytune.search.report_write import SearchReport, write_report
from energytune.search.result import TuneResult
from energytune.trial.map_curve import MapCurve
from tests.report.hand_made import of_test, small_confirmation, small_search, snapshot
from tests.report.pages import read

MakeConfig = Callable[..., SearchConfig]
HEAD = MapHead(0, "linear", 0.0, 0.03, 0.0, 0)
CURVES = [MapCurve(HEAD, tuple(snapshot(e) for e in (0, 1, 2, 4, 8, 16)))]


class Notes(NoProgress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


class Study:
    """Keeps attributes."""

    def __init__(self) -> None:
        self.attrs: dict[str, Any] = {}

    def set_user_attr(self, key: str, value: Any) -> None:
        self.attrs[key] = json.loads(json.dumps(value))


def bench(metric: str = "accuracy", **spec: Any) -> Any:
    return SimpleNamespace(
        spec=SimpleNamespace(user_data=None, engine=EngineConfig(), **spec),
        device=SimpleNamespace(type="cpu"),
        backbone=SimpleNamespace(name="digits-mlp", weights_sha256="ab" * 32, max_reinit_depth=4),
        splits=SimpleNamespace(
            train=[0] * 100,
            valid=[0] * 400,
            fingerprint="cd" * 32,
            protocol="accuracy on 400 valid",
            task=SimpleNamespace(metric=metric, n_outputs=10),
        ),
    )


def finished(config: SearchConfig, **changes: Any) -> TuneResult:
    """Returns what a search of hand-made records gave."""
    records = small_search()
    parts: dict[str, Any] = {
        "records": records,
        "confirmations": small_confirmation(),
        "winner": records[2],
        "baselines": {"tau=0": records[0], "tau=max": records[1]},
        "confirmed": [Standing(2, records[2].job.recipe, 0.9, 3)],
        "seed_noise": SeedNoise(0.01, 3, 8, 5),
        "seconds": {"total": 75.0, "search": 60.0},
        "end_reason": "5 trials",
    }
    return TuneResult(config=config, out=config.out, **{**parts, **changes})


def write_folder(config: SearchConfig, *, ended: bool = True) -> TuneResult:
    """Writes what a search leaves on disk; returns its result."""
    folder = RunFolder(config)
    folder.path.mkdir(parents=True)
    folder.claim({"data": "cd", "weights": "ab"})
    about = about_search(config, folder, bench(), CURVES, user_module=False)
    result = finished(config, about=about)
    if ended:
        about["end"] = end_of(result)
    write_about(folder.about, about)
    lines = [json.dumps(r.to_dict()) for r in result.records if r.duplicate_of is None]
    for run in result.confirmations:
        lines.append(json.dumps(replace(run, finished=run.finished).to_dict()))
        if run.finished is not None and run.finished.test is not None:
            lines.append(json.dumps(of_test(run).to_dict()))
    folder.records.write_text("".join(line + "\n" for line in lines))
    return result


def verdict(path: Path) -> str:
    return read(path.read_text()).one("p", class_="verdict").content


def test_a_search_that_ended_is_read_again_as_it_was(make_config: MakeConfig) -> None:
    result = write_folder(make_config())
    loaded = load_search(result.out)
    assert (loaded.state, loaded.n_waiting, loaded.notes) == ("ended", 0, ())
    again = loaded.result
    assert again.winner == result.winner
    assert again.baselines == result.baselines
    assert [(s.number, s.mean, s.roles) for s in again.confirmed] == [(2, 0.9, ("candidate",))]
    assert again.seed_noise == result.seed_noise
    assert again.seconds == result.seconds
    assert again.config == result.config
    assert [r for r in again.records if r.job.number < 5] == result.records[:5]
    complete = [r for r in result.confirmations if r.state == "COMPLETE"]
    assert sorted(r.job.id for r in again.confirmations) == sorted(r.job.id for r in complete)
    one, two = (
        write_report(result, result.out / "a.html"),
        again.write_report(result.out / "b.html"),
    )
    assert verdict(one) == verdict(two)
    assert "90.0 % test accuracy" in verdict(two)


def test_its_folder_may_have_moved(make_config: MakeConfig, tmp_path: Path) -> None:
    result = write_folder(make_config())
    moved = result.out.rename(tmp_path / "elsewhere")
    assert load_search(moved).result.out == moved


def test_a_search_that_was_killed_is_told_as_not_ended(make_config: MakeConfig) -> None:
    result = write_folder(make_config(), ended=False)
    with RunFolder(result.config).records.open("a") as file:
        file.write('{"job": {"role": "sea')  # torn
    loaded = load_search(result.out)
    assert loaded.state == "running"
    assert loaded.result.winner == result.records[2]  # the best so far
    assert loaded.notes == ("1 line of records.jsonl could not be read: left out.",)
    path = write_report(loaded.result, result.out / "x.html", state=loaded.state, n_waiting=3)
    page = read(path.read_text())
    assert "has not ended" in page.one("p", role="status").content
    assert "3 more are running or paused" in page.content


def test_a_folder_of_an_earlier_version_has_a_page_too(make_config: MakeConfig) -> None:
    result = write_folder(make_config())
    RunFolder(result.config).about.unlink()
    loaded = load_search(result.out)
    assert loaded.result.config.dataset == "digits"
    text = read(write_report(loaded.result, result.out / "x.html").read_text()).content
    assert "Versions, hashes and metric of this search were not recorded" in text


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 99}'])
def test_a_damaged_description_is_a_clear_error(make_config: MakeConfig, content: str) -> None:
    result = write_folder(make_config())
    about = RunFolder(result.config).about
    about.write_text(content)
    with pytest.raises(OutputError, match=r"about\.json can't be read.*delete it"):
        load_search(result.out)


def test_a_folder_without_a_search_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no search"):
        load_search(tmp_path)


def test_the_description_has_no_password(make_config: MakeConfig) -> None:
    config = make_config(
        storage="postgresql://me:secret@host/db", tracking_uri="https://me:secret@host"
    )
    folder = RunFolder(config)
    about = about_search(config, folder, bench(), CURVES, user_module=False)
    assert "secret" not in json.dumps(about)
    plain = make_config(tracking_uri="http://host:5000")
    kept = about_search(plain, folder, bench(), CURVES, user_module=False)
    assert kept["config"]["tracking_uri"] == "http://host:5000"
    page = finished(config, about=about)
    assert "secret" not in write_report(page, config.out / "x.html").read_text()


def test_the_energy_map_is_kept_but_not_in_the_study(make_config: MakeConfig) -> None:
    config = make_config()
    about = about_search(config, RunFolder(config), bench(), CURVES, user_module=False)
    assert curves_of(json.loads(json.dumps(about))) == CURVES
    assert curves_of(without_map(about)) == []


def test_begin_and_end_write_what_is_known(make_config: MakeConfig) -> None:
    config, notes, study = make_config(), Notes(), Study()
    folder = RunFolder(config)
    report = SearchReport(folder, notes)
    report.begin(config, bench(), CURVES, user_module=False)
    report.remember(study)
    begun = read_about(folder.about)
    assert begun is not None
    assert "end" not in begun
    assert ["backbone weights, sha256", "ab" * 32] in begun["facts"]
    report.end(finished(config, about=report.about))
    ended = read_about(folder.about)
    assert ended is not None
    assert ended["end"]["winner"] == 2
    assert study.attrs["energytune"] == without_map(ended)
    text = read(folder.report.read_text()).content
    assert "ab" * 32 in text
    assert "Probed before the first trial: 1 head. By trials: 1 more" in text
    assert (notes.told, report.problem) == ([], "")


def test_an_interrupted_search_has_a_page_with_a_banner(make_config: MakeConfig) -> None:
    config = make_config()
    report = SearchReport(RunFolder(config), Notes())
    report.begin(config, bench(), [], user_module=False)
    report.end(finished(config, about=report.about, interrupted=True, confirmations=[]))
    page = read(RunFolder(config).report.read_text())
    assert "was interrupted after 6 of" not in page.content  # the repeated one is no trial
    assert "was interrupted after 5 of 4 trials" in page.one("p", role="status").content


@pytest.mark.parametrize("error", [RuntimeError("no ink"), OutputError("the disk is full.")])
def test_a_page_that_can_not_be_drawn_stops_nothing(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_data: Any) -> str:
        raise error

    monkeypatch.setattr("energytune.report.page.render_page", fail)
    config, notes = make_config(), Notes()
    report = SearchReport(RunFolder(config), notes)
    report.begin(config, bench(), CURVES, user_module=False)
    result = finished(config, about=report.about)
    report.end(result)
    report.end(result)
    (told,) = notes.told  # once
    assert "could not be drawn" in told
    assert str(error).rstrip(".") in told
    assert f"`energytune report {config.out}` draws it again" in told
    assert report.problem == told
    assert not RunFolder(config).report.exists()
    assert read_about(RunFolder(config).about) is not None


def test_a_folder_that_can_not_be_written_stops_nothing(make_config: MakeConfig) -> None:
    config, notes = make_config(), Notes()
    config.out.parent.joinpath("a file").write_text("")
    config = config.model_copy(update={"out": config.out.parent / "a file" / "run"})
    report = SearchReport(RunFolder(config), notes)
    report.begin(config, bench(), CURVES, user_module=False)
    report.end(finished(config, about=report.about))
    assert len(notes.told) == 2
    assert all("the search itself is kept" in told for told in notes.told)


def test_ctrl_c_while_drawing_stops_nothing(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_data: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("energytune.report.page.render_page", interrupt)
    config, notes = make_config(), Notes()
    report = SearchReport(RunFolder(config), notes)
    report.end(finished(config))
    assert "not drawn: interrupted" in notes.told[0]


def test_other_metrics_are_carried_through(make_config: MakeConfig) -> None:
    config = make_config()
    about = about_search(config, RunFolder(config), bench("roc_auc"), CURVES, user_module=False)
    result = finished(config, about=about, metric="roc_auc")
    text = read(write_report(result, config.out / "x.html").read_text()).content
    assert "90.0 % test ROC-AUC" in text
    assert "test accuracy" not in text


def test_objects_of_one_s_own_can_not_be_named_by_a_command(make_config: MakeConfig) -> None:
    config = make_config()
    about = about_search(config, RunFolder(config), bench(), CURVES, user_module=True)
    page = read(write_report(finished(config, about=about), config.out / "x.html").read_text())
    again = page.one("section", id="again")
    assert "No command can run this search again" in again.content
    assert "Python objects" in again.content
    assert page.one("section", id="advice").all("code") == []


def test_a_result_shows_itself_in_a_notebook(make_config: MakeConfig) -> None:
    result = finished(make_config())
    fragment = result._repr_html_()
    root = read(fragment)
    assert "90.0 % test accuracy" in root.content
    assert len(root.all("svg", role="img")) == 2
    assert len(root.all("table")) == 1
    assert "write_report() does" in root.content
    path = result.write_report()
    assert path == result.report_path
    (link,) = read(result._repr_html_()).all("a")
    assert link.attrs["href"] == path.as_uri()
    hostile = result.config.model_copy(update={"dataset": "<script>x</script>"})
    assert "<script" not in replace(result, config=hostile)._repr_html_()


@pytest.mark.parametrize(
    "plot",
    ["outcome", "tau", "energy", "energy_map", "curves", "parallel", "adaptation", "costs"],
)
def test_a_result_draws_every_figure_of_the_page(make_config: MakeConfig, plot: str) -> None:
    figure = getattr(finished(make_config()), f"plot_{plot}")()
    assert any(axes.has_data() for axes in figure.axes)


def test_a_description_with_counts_of_no_sense_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "about.json"
    counts: dict[str, Any] = dict.fromkeys(("n_classes", "n_train", "n_valid"), 7)
    write_about(path, {"format": 1, **counts, "n_train": [7]})
    with pytest.raises(OutputError, match="n_train is no whole number"):
        read_about(path)
    write_about(path, {"format": 1, **counts})
    with pytest.raises(OutputError, match="it has no 'max_reinit_depth'"):
        read_about(path)
