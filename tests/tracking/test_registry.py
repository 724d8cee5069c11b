"""The registry on a real SQLite store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.torch import save_file

from energytune.config import Recipe
from energytune.errors import TrackingError
from energytune.models import build_model, create_backbone
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.observer import TrackingObserver
from energytune.tracking.reconcile import ALIAS, pack_correct, reconcile, unpack_correct
from energytune.tracking.registry import register_winner
from energytune.tracking.resend import sync
from energytune.tracking.store import default_uri, journal_path, prepare_sqlite, sqlite_path
from energytune.trial import TrialRecord

NAME = "energytune-digits"


@pytest.mark.parametrize("n", [1, 7, 8, 9, 597, 8000])
def test_correctness_survives_packing(n: int) -> None:
    flags = tuple(bool(x) for x in np.random.default_rng(n).random(n) < 0.9)
    packed = pack_correct(flags)
    assert unpack_correct(packed) == flags
    assert len(packed) < 20 + n / 4


@pytest.mark.parametrize("text", ["", "8", "8:", "8:AAAA", "x:eJwDAAAAAAE=", "9999:eJz7DwAB/wD/"])
def test_a_damaged_record_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack_correct(text)


def nested(n_right: int, n: int = 100) -> list[bool]:
    return [i < n_right for i in range(n)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    backbone = create_backbone("digits-mlp", weights="none", seed=1)
    model = build_model(backbone, head_arch="linear", n_outputs=10, reinit_depth=0, seed=5)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path, model.spec()


@pytest.fixture
def register(
    tmp_path: Path, weights: tuple[Path, dict[str, Any]]
) -> Callable[..., RegisteredModel]:
    def call(
        uid: str, n_right: int, *, uri: str | None = None, protocol: str = "p"
    ) -> RegisteredModel:
        folder = tmp_path / uid
        folder.mkdir(exist_ok=True)
        return register_winner(
            uri or default_uri(tmp_path),
            "digits",
            run_folder=folder,
            weights=weights[0],
            spec=weights[1],
            score=n_right / 100,
            protocol=protocol,
            correct=nested(n_right),
            recipe=Recipe(tau=9, ft_lr=0.01),
            run_uid=uid,
            search_id=f"s-{uid}",
            input_shape=(64,),
            tags={"test_accuracy_mean": "0.5"},
        )

    return call


@pytest.mark.integration
def test_champion_moves_by_evidence_and_under_one_protocol(
    tmp_path: Path, register: Callable[..., RegisteredModel]
) -> None:
    first = register("a", 50)
    assert (first.version, first.is_champion, first.champion) == (1, True, 1)
    unsure = register("b", 53)
    assert (unsure.version, unsure.is_champion, unsure.champion) == (2, False, 1)
    assert unsure.decision.startswith("Not enough evidence")
    assert unsure.numbers["n_gained"] == 3
    foreign = register("c", 99, protocol="q")
    assert not foreign.is_champion
    assert "another protocol" in foreign.decision
    better = register("d", 60)
    assert (better.is_champion, better.champion) == (True, 4)
    again = register("a", 50)
    assert (again.version, again.is_champion, again.champion) == (1, False, 4)
    assert "The champion is v4 now" in again.decision

    client = MlflowClient(default_uri(tmp_path))
    champion = client.get_model_version_by_alias(NAME, ALIAS)
    assert (champion.version, champion.tags["test_accuracy_mean"]) in {("4", "0.5"), (4, "0.5")}
    assert champion.tags["energytune.decision"] == better.decision
    assert champion.tags["tau"] == "9"

    # a new line is begun by taking the alias away
    client.delete_registered_model_alias(NAME, ALIAS)
    assert register("e", 60, protocol="q").champion == 3


@pytest.mark.integration
def test_a_champion_set_by_somebody_else_is_left_alone(
    tmp_path: Path, register: Callable[..., RegisteredModel]
) -> None:
    register("a", 50)
    client = MlflowClient(default_uri(tmp_path))
    own = client.create_model_version(NAME, str(tmp_path / "somewhere"))
    client.set_registered_model_alias(NAME, ALIAS, str(own.version))
    challenger = register("b", 90)
    assert challenger.champion == int(own.version)
    assert not challenger.is_champion


@pytest.mark.integration
def test_the_registered_model_predicts(
    tmp_path: Path, register: Callable[..., RegisteredModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    register("a", 50)
    uri = default_uri(tmp_path)
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@{ALIAS}")
    finally:
        mlflow.set_tracking_uri(None)
    out = model.predict(np.zeros((3, 64), dtype=np.float32))
    np.testing.assert_allclose(out["probs"].sum(-1), 1, atol=1e-6)


@pytest.mark.integration
def test_a_record_too_long_for_a_tag_is_read_from_the_model(
    register: Callable[..., RegisteredModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energytune.tracking.registry.MAX_TAG_RECORD", 10)
    register("a", 50)
    assert register("b", 60).champion == 2


@pytest.mark.integration
def test_sync_registers_what_could_not_be_registered(
    tmp_path: Path,
    register: Callable[..., RegisteredModel],
    make_record: Callable[..., TrialRecord],
) -> None:
    folder = tmp_path / "s.c0"
    journal = TrackingJournal(journal_path(folder))
    observer = TrackingObserver(journal, "s", "digits", "digits-mlp", {})
    record = make_record(0, role="confirm")
    observer.job_ended(record)
    observer.finish()
    with pytest.raises(TrackingError, match="can't be reached"):
        register("s.c0", 50, uri="http://127.0.0.1:9")
    models = [sync(folder, default_uri(tmp_path)).model for _ in range(2)]
    assert models[0] is not None
    assert models[0].is_champion
    assert models[1] is not None
    assert models[1].version == models[0].version == 1


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(5))
def test_races_end_with_the_right_champion(tmp_path: Path, seed: int) -> None:
    uri = default_uri(tmp_path)
    path = sqlite_path(uri)
    assert path is not None
    prepare_sqlite(path)
    MlflowClient(uri).create_registered_model(NAME)
    rights = np.random.default_rng(seed).permutation([50, 57, 70, 71]).tolist()
    barrier = threading.Barrier(len(rights))
    problems: list[BaseException] = []

    def search(n_right: int) -> None:
        try:
            client = MlflowClient(uri)
            tags = {"energytune.score": str(n_right / 100), "energytune.protocol": "p"}
            tags["energytune.correct"] = pack_correct(nested(n_right))
            barrier.wait()
            from energytune.tracking.reconcile import retrying

            made = retrying(lambda: client.create_model_version(NAME, f"/m/{n_right}", tags=tags))
            reconcile(client, NAME, int(made.version))
        except BaseException as failure:
            problems.append(failure)

    threads = [threading.Thread(target=search, args=(n,)) for n in rights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    champion = MlflowClient(uri).get_model_version_by_alias(NAME, ALIAS)
    # 71 takes over from 50 and 57 but not from 70: whichever of the two was registered first
    order = sorted(
        MlflowClient(uri).search_model_versions(f"name = '{NAME}'"), key=lambda v: int(v.version)
    )
    wanted = next(v.source for v in order if v.source in ("/m/70", "/m/71"))
    assert champion.source == wanted
