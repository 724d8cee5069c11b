from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from energytune.config import SearchConfig
from energytune.search.clock import StageClock
from energytune.search.folder import RunFolder
from energytune.search.tracked import TrackedSearch
from energytune.tasks import PerPixel
from energytune.tracking import Sender, TrackingJournal
from energytune.trial import TestResult
from tests.report.hand_made import trial

MakeConfig = Callable[..., SearchConfig]


def params(config: SearchConfig) -> dict[str, str]:
    """Returns the params of the parent run that a search begins with."""
    bench: Any = SimpleNamespace(
        backbone=SimpleNamespace(name="digits-mlp", weights_sha256="ab"),
        splits=SimpleNamespace(fingerprint="cd", protocol="digits test"),
    )
    folder = RunFolder(config)
    folder.path.mkdir()
    TrackedSearch(folder, config, bench, StageClock())
    (entry,) = TrackingJournal(folder.tracking_journal).read().entries
    assert entry["parent"] is None
    told = entry["params"]
    assert isinstance(told, dict)
    return told


def test_what_ends_a_search_and_its_finetunes_is_tracked(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    finetune = {"epochs": 12, "patience": 0.25}
    space = make_config().space.model_dump() | {"finetune": finetune}
    config = make_config(
        space=space,
        sampler="energy",
        until="converged",
        warm_start=True,
        ft_epochs_budget=500,
        n_confirm_recipes=4,
        gpus_per_trial=0.5,
        engine={"precision": "bf16", "compile": True},
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    told = params(config)
    assert {
        "until": "converged",
        "ft_epochs_budget": "500",
        "patience": "0.25",
        "ft_epochs": "12",
        "n_confirm_recipes": "4",
        "warm_start": "True",
        "precision": "bf16",
        "compile": "True",
        "channels_last": "False",
        "gpus_per_trial": "0.5",
    }.items() <= told.items()


def test_what_is_not_limited_is_none(make_config: MakeConfig, tmp_path: Path) -> None:
    finetune = {"epochs": 12, "patience": None}
    space = make_config().space.model_dump() | {"finetune": finetune}
    told = params(make_config(space=space, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    assert (told["ft_epochs_budget"], told["patience"]) == ("None", "None")
    assert (told["until"], told["warm_start"]) == ("trials", "False")


def test_the_version_tells_what_it_was_made_of(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tags and the evidence with which a winner goes to the registry."""
    told: dict[str, Any] = {}
    monkeypatch.setattr("energytune.search.tracked.note_winner", lambda *a, **k: told.update(k))
    monkeypatch.setattr(Sender, "register", lambda *_: None)
    monkeypatch.setattr("energytune.search.tracked.code_tags", lambda: {"energytune.version": "9"})
    config = make_config(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    bench: Any = SimpleNamespace(
        backbone=SimpleNamespace(name="digits-mlp", weights_sha256="ab"),
        splits=SimpleNamespace(fingerprint="cd", protocol="digits test"),
    )
    folder = RunFolder(config)
    folder.path.mkdir()
    tracked = TrackedSearch(folder, config, bench, StageClock())
    best = trial(2, (0.9,), tau=2)
    assert best.finished is not None
    test = TestResult(0.8, 0.5, (), evidence_path="/models/c002.test.safetensors")
    finished = replace(best.finished, test=test, model_path="/models/c002.safetensors")
    splits: Any = SimpleNamespace(
        protocol="scenes test",
        task=PerPixel(3),
        valid=SimpleNamespace(batches=lambda n: iter([(torch.zeros(n, 3, 8, 8), None)])),
        class_names=("a", "b", "c"),
        preprocessing={},
    )
    result: Any = SimpleNamespace(is_user_module=False, model_spec={})
    tracked._register(result, replace(best, finished=finished), splits)
    assert told["tags"] == {
        "backbone": "digits-mlp",
        "backbone_sha256": "ab",
        "seed": str(best.job.seed),
        "energytune.version": "9",
    }
    assert told["protocol"] == "scenes test; miou"
    assert (told["evidence"], told["correct"]) == ("/models/c002.test.safetensors", ())
    assert told["score"] == 0.8
