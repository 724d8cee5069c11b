from __future__ import annotations

import json
from contextlib import contextmanager

import pytest
from safetensors import safe_open

import energytune
from energytune.errors import ConfigError, OutputError, UnknownNameError
from energytune.models import create_backbone
from energytune.search import pretrain as module
from energytune.search.pretrain import pretrain

BRIEF = {"epochs": 2, "lr": 0.05, "batch_size": 32}


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.stages: list[tuple[str, int | None]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def stage(self, name: str, total: int | None):
        self.stages.append((name, total))
        yield lambda n_units: None


def metadata(path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_the_checkpoint_loads_and_says_how_it_was_made(tmp_path):
    watch = Notes()
    result = pretrain("digits-same", out=tmp_path / "a.safetensors", progress=watch, **BRIEF)
    assert watch.stages == [("pretraining digits-mlp on digits-same", 2)]
    assert watch.notes[-1].startswith("epoch 2/2: train ")
    loaded = create_backbone("digits-mlp", checkpoint=result.path)
    assert loaded.checkpoint_info["sha256"] == result.sha256
    told = metadata(result.path)
    story = json.loads(told["pretraining"])
    assert told["backbone"] == "digits-mlp"
    assert (story["dataset"], story["epochs"], story["lr"]) == ("digits-same", 2, 0.05)
    assert story["valid_score"] == result.best.valid_acc
    assert json.loads(result.to_json())["sha256"] == result.sha256
    assert energytune.pretrain is pretrain


def test_the_same_command_again_trains_nothing(tmp_path, monkeypatch):
    first = pretrain("digits-same", out=tmp_path / "a.safetensors", **BRIEF)
    monkeypatch.setattr(module, "PretrainRun", None)
    again = pretrain("digits-same", out=tmp_path / "a.safetensors", **BRIEF)
    assert (again.sha256, again.best, again.epochs) == (first.sha256, first.best, ())


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path):
    files = [
        pretrain("digits-same", out=tmp_path / f"{i}.safetensors", seed=seed, **BRIEF).sha256
        for i, seed in enumerate((0, 0, 1))
    ]
    assert files[0] == files[1] != files[2]


def test_a_file_that_is_something_else_is_kept(tmp_path):
    path = tmp_path / "a.safetensors"
    pretrain("digits-same", out=path, **BRIEF)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="was not made with these settings"):
        pretrain("digits-same", out=path, **{**BRIEF, "lr": 0.1})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"dataset": "digit"}, UnknownNameError, "digits"),
        ({"dataset": "digit-scenes"}, ConfigError, "one target a pixel"),
        ({"out": "a.pth"}, ConfigError, r"must end in .safetensors"),
        ({"epochs": 0}, ConfigError, "epochs"),
        ({"lr": -1.0}, ConfigError, "lr"),
        ({"keep": "worst"}, ConfigError, "keep"),
        ({"backbone": "gcn-small"}, ConfigError, "does not take the inputs"),
        ({"device": "tpu"}, ConfigError, "device must be"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, changes, error, told):
    monkeypatch.chdir(tmp_path)
    values = {"dataset": "digits-same", "out": "a.safetensors", **BRIEF, **changes}
    with pytest.raises(error, match=told):
        pretrain(values.pop("dataset"), **values)


def test_a_server_that_is_away_is_a_note(tmp_path):
    watch = Notes()
    result = pretrain(
        "digits-same",
        out=tmp_path / "a.safetensors",
        track=True,
        tracking_uri="http://127.0.0.1:9",
        home=tmp_path,
        progress=watch,
        **BRIEF,
    )
    assert result.path.exists()
    assert result.link == ""
    assert [note for note in watch.notes if note.startswith("not logged to MLflow")]


@pytest.mark.integration
def test_mlflow_has_one_run_with_the_whole_curve(tmp_path):
    from energytune.tracking import default_uri
    from energytune.tracking.client import open_client

    result = pretrain(
        "digits-same", out=tmp_path / "a.safetensors", track=True, home=tmp_path, **BRIEF
    )
    client = open_client(default_uri(tmp_path))
    experiment = client.get_experiment_by_name("energytune-pretraining")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_id in result.link
    assert run.data.params["lr"] == "0.05"
    assert run.data.tags["checkpoint_sha256"] == result.sha256
    curve = client.get_metric_history(run.info.run_id, "pretrain/valid_acc")
    assert [(m.step, m.value) for m in curve] == [(e.epoch, e.valid_acc) for e in result.epochs]
