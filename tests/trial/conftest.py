"""The real digits with a pretrained backbone; two or three finetuning epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from energytune.config import FinetuneConfig, ProbeConfig, Recipe
from energytune.training.finetune import Finetuner
from energytune.trial import Job
from energytune.trial.bench import Bench, BenchSpec

MakeSpec = Callable[..., BenchSpec]


@pytest.fixture
def make_spec(_session_cache: str, tmp_path: Path) -> MakeSpec:
    """The backbone is pretrained once a session; features and snapshots are each test's own."""

    def make(**changes) -> BenchSpec:
        from energytune.training.pretrain import pretrain_embedded

        fields = {
            "dataset": "digits",
            "backbone": "digits-mlp",
            "probe": ProbeConfig(),
            "finetune": FinetuneConfig(epochs=2, patience=None),
            "cache": tmp_path / "cache",
            "model_dir": tmp_path / "models",
        } | changes
        if "weights" not in fields and "checkpoint" not in fields and "user_data" not in fields:
            fields["checkpoint"] = pretrain_embedded("digits", "digits-mlp", Path(_session_cache))
        return BenchSpec(**fields)

    return make


@pytest.fixture
def bench(make_spec: MakeSpec) -> Bench:
    return make_spec().build()


@pytest.fixture
def make_job() -> Callable[..., Job]:
    def make(tau: int = 4, *, seed: int = 0, role: str = "search", **dimensions) -> Job:
        recipe = Recipe(tau=tau, **({"ft_lr": 0.01} | dimensions))
        return Job(f"t{tau:03d}", 0, recipe, seed, role)

    return make


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The finetuning epochs that are really trained."""
    epochs: list[int] = []
    train = Finetuner._train_one_epoch

    def counting(self):
        epochs.append(self.epoch)
        return train(self)

    monkeypatch.setattr(Finetuner, "_train_one_epoch", counting)
    return epochs
