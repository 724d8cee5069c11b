"""Which registry is meant, and what is said when a model is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient

import energytune
from energytune.errors import OutputError, TrackingError, UnknownNameError
from energytune.tracking.drain import remember_uri
from energytune.tracking.load import find_uri, load_champion
from energytune.tracking.server import start_ui
from energytune.tracking.store import default_uri, journal_path
from tests.registered import ModelStore, register


def journal(folder: Path, uri: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    journal_path(folder).write_text("")
    if uri:
        remember_uri(journal_path(folder), uri)
    return folder


def test_the_first_place_that_is_named_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment")
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "mlflow.db").write_bytes(b"")
    assert find_uri("http://given", "some") == "http://given"
    assert find_uri(None, "some") == default_uri(tmp_path / "some")
    assert find_uri() == "http://from.environment"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(OutputError, match=r"energytune-runs is no folder.*--tracking-uri"):
        find_uri()
    (tmp_path / "energytune-runs").mkdir()
    with pytest.raises(OutputError, match="energytune-runs holds no search"):
        find_uri()
    (tmp_path / "energytune-runs" / "mlflow.db").write_bytes(b"")
    assert find_uri() == default_uri(tmp_path / "energytune-runs")


def test_the_folder_of_a_search_means_the_store_it_was_sent_to(tmp_path: Path) -> None:
    own = journal(tmp_path / "own")
    assert find_uri(None, own) == default_uri(own)
    sent = journal(tmp_path / "runs" / "sent", "http://server:5000")
    assert find_uri(None, sent) == "http://server:5000"
    assert find_uri(None, tmp_path / "runs") == "http://server:5000"
    (tmp_path / "runs" / "mlflow.db").write_bytes(b"")
    assert find_uri(None, tmp_path / "runs") == default_uri(tmp_path / "runs")
    assert find_uri(None, journal(tmp_path / "runs" / "new")) == default_uri(tmp_path / "runs")


@pytest.mark.integration
def test_what_is_not_registered_is_told_with_near_names(
    model_store: ModelStore, tmp_path: Path
) -> None:
    runs = model_store.root
    with pytest.raises(UnknownNameError, match=r"'digit-scene'\. Did you mean 'digit-scenes'"):
        energytune.load_champion("digit-scene", runs=runs)
    with pytest.raises(UnknownNameError, match=r"has no version 9\. It has versions 1, 2\."):
        load_champion("digits", version=9, runs=runs)
    empty = default_uri(tmp_path)
    with pytest.raises(UnknownNameError, match=r"No model is registered in .*--dataset stl10"):
        load_champion("stl10", tracking_uri=empty)
    with pytest.raises(TrackingError, match="can't be reached"):
        load_champion("digits", tracking_uri="http://127.0.0.1:9")


@pytest.mark.integration
def test_a_model_is_fetched_from_a_server_that_keeps_the_files(tmp_path: Path) -> None:
    with start_ui(default_uri(tmp_path / "server"), tmp_path / "server" / "files") as server:
        server.wait_until_ready()
        client = MlflowClient(server.url)
        kept = client.create_experiment("energytune-digits", "mlflow-artifacts:/kept")
        made = register(tmp_path, "digits", "digits-mlp", uri=server.url)
        (source,) = client.search_logged_models([kept])
        assert source.artifact_location.startswith("mlflow-artifacts:/kept")
        champion = load_champion("digits", tracking_uri=server.url, device="cpu")
    raw = np.random.default_rng(0).integers(0, 17, (5, 64))
    inputs = champion.preprocessing.stack([champion.preprocessing.prepare(row) for row in raw])
    with torch.inference_mode():
        expected = torch.softmax(made.model(inputs), dim=1)
    np.testing.assert_allclose(champion.predict_probs(raw), expected, atol=1e-6)


@pytest.mark.integration
def test_without_a_champion_the_versions_are_told(tmp_path: Path) -> None:
    register(tmp_path, "digits", "digits-mlp")
    client = MlflowClient(default_uri(tmp_path))
    client.delete_registered_model_alias("energytune-digits", "champion")
    with pytest.raises(UnknownNameError, match=r"no champion.*It has version 1; choose one"):
        load_champion("digits", runs=tmp_path)
    assert load_champion("digits", version=1, runs=tmp_path).version == 1
