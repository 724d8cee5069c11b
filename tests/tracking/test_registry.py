"""The registry on a real SQLite store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from energytune.config import Recipe
from energytune.errors import TrackingError
from energytune.tasks.evidence import Evidence
from energytune.tracking.champion import RegisteredModel
from energytune.tracking.comparison import Comparison
from energytune.tracking.journal import TrackingJournal
from energytune.tracking.observer import TrackingObserver
from energytune.tracking.reconcile import ALIAS, reconcile
from energytune.tracking.registry import register_winner
from energytune.tracking.resend import sync
from energytune.tracking.store import default_uri, journal_path
from energytune.tracking.versions import MAX_TAG, pack_correct, unpack_correct
from energytune.trial import TrialRecord
from energytune.trial.evidence_file import read_evidence, write_evidence

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


@pytest.fixture
def register(
    tmp_path: Path, weights: tuple[Path, dict[str, Any]]
) -> Callable[..., RegisteredModel]:
    def call(
        uid: str,
        n_right: int,
        *,
        uri: str | None = None,
        protocol: str = "p",
        evidence: Evidence | None = None,
    ) -> RegisteredModel:
        folder = tmp_path / uid
        folder.mkdir(exist_ok=True)
        path = None if evidence is None else write_evidence(folder / "e.safetensors", evidence)
        return register_winner(
            uri or default_uri(tmp_path),
            "digits",
            run_folder=folder,
            weights=shutil.copy(weights[0], folder),  # as a search has it
            spec=weights[1],
            score=n_right / 100,
            protocol=protocol,
            correct=() if evidence else nested(n_right),
            evidence=path,
            metric=evidence.metric if evidence else "accuracy",
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
    assert unsure.numbers["test"]["n_gained"] == 3
    assert unsure.comparison.n_more == 220
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

    assert client.get_model_version(NAME, "1").tags["energytune.decision"] == first.decision
    # an alias that is gone comes back to where the evidence puts it
    client.delete_registered_model_alias(NAME, ALIAS)
    assert register("e", 60, protocol="q").champion == 4


@pytest.mark.integration
def test_the_decision_and_the_evidence_lie_beside_the_model(
    tmp_path: Path, register: Callable[..., RegisteredModel]
) -> None:
    register("a", 50)
    found = register("b", 53)
    client = MlflowClient(default_uri(tmp_path))
    version = client.get_model_version(NAME, str(found.version))
    folder = Path(client.get_model_version_download_uri(NAME, str(found.version)))
    told = json.loads((folder / "decision.json").read_text())
    assert told["outcome"] == "not enough evidence"
    assert told["text"] == found.decision == version.tags["energytune.decision"]
    assert version.description == found.decision
    assert Comparison.from_dict(json.loads(version.tags["energytune.numbers"])) == found.comparison
    assert {key: told[key] for key in found.numbers} == found.numbers
    assert max(map(len, version.tags.values())) < MAX_TAG
    evidence = read_evidence(folder / "evidence.safetensors")
    assert evidence.arrays["correct"].tolist() == nested(53)
    assert version.tags["energytune.evidence"] == evidence.digest()
    assert not [p for p in folder.rglob("*") if p.suffix in {".pkl", ".pt", ".pth", ".joblib"}]


def with_hits(share: float) -> Evidence:
    labelled = np.full((40, 3), 50)
    hits = np.random.default_rng(round(100 * share)).binomial(labelled, share)
    return Evidence("miou", {"counts": np.stack([hits, labelled, labelled], axis=1)})


def with_noise(noise: float) -> Evidence:
    rng = np.random.default_rng(0)
    targets = rng.integers(-1, 2, (60, 3)).astype(np.int8)
    scores = (targets + noise * rng.normal(size=(60, 3))).astype(np.float32)
    return Evidence("roc_auc", {"scores": scores, "targets": targets})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("worse", "better"), [(with_hits(0.5), with_hits(0.8)), (with_noise(3.0), with_noise(0.3))]
)
def test_other_scores_are_compared_by_the_bootstrap(
    worse: Evidence,
    better: Evidence,
    tmp_path: Path,
    register: Callable[..., RegisteredModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("a", 50, evidence=worse)
    equal = register("b", 50, evidence=worse)
    assert equal.decision.startswith("Not enough evidence")
    assert (equal.comparison.n_more, equal.champion) == (None, 1)
    found = register("c", 50, evidence=better)
    assert (found.is_champion, found.comparison.outcome) == (True, "takes over")
    test = found.comparison.test
    assert test is not None
    assert test.method == "paired bootstrap"
    assert test.difference == pytest.approx(better.score() - worse.score())

    # What was tested once is known by the versions' tags: no evidence is fetched again.
    monkeypatch.setattr("energytune.tracking.versions._fetch", None)
    champion, line = reconcile(MlflowClient(default_uri(tmp_path)), NAME)
    assert champion == 3
    assert line.steps[3] == found.comparison


@pytest.mark.integration
def test_a_version_whose_evidence_is_gone_can_not_be_compared(
    tmp_path: Path, register: Callable[..., RegisteredModel]
) -> None:
    register("a", 50, evidence=with_hits(0.5))
    client = MlflowClient(default_uri(tmp_path))
    (Path(client.get_model_version_download_uri(NAME, "1")) / "evidence.safetensors").unlink()
    found = register("b", 50, evidence=with_hits(0.8))
    assert found.champion == 1
    assert "v1 has no record of what it does on each test example" in found.decision


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
