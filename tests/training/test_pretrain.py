from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from energytune.data import pretraining_set
from energytune.models import create_backbone
from energytune.paths import atomic_file
from energytune.training import pretrain
from energytune.training.pretrain import pretrain_embedded


@pytest.fixture
def short(monkeypatch):
    """Two epochs instead of forty."""

    def brief(name: str):
        source = pretraining_set(name)
        return replace(source, config=replace(source.config, epochs=2))

    monkeypatch.setattr(pretrain, "pretraining_set", brief)


class Watch:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.n_done = 0

    @contextmanager
    def stage(self, name: str, total: int | None):
        self.stages.append((name, total))

        def advance(n_units: int) -> None:
            self.n_done += n_units

        yield advance


@pytest.mark.usefixtures("short")
def test_same_weights_wherever_it_runs(tmp_path) -> None:
    torch.manual_seed(1)
    first = pretrain_embedded("digits", "digits-mlp", tmp_path / "a")
    torch.manual_seed(2)
    second = pretrain_embedded("digits", "digits-mlp", tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name


@pytest.mark.usefixtures("short")
def test_it_is_done_once_and_tells_its_progress(tmp_path) -> None:
    watch = Watch()
    path = pretrain_embedded("digits", "digits-mlp", tmp_path, watch)
    assert watch.stages == [("pretraining digits-mlp", 2)]
    assert watch.n_done == 2
    again = Watch()
    before = path.stat().st_mtime_ns
    assert pretrain_embedded("digits", "digits-mlp", tmp_path, again) == path
    assert again.stages == []
    assert path.stat().st_mtime_ns == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("short")
def test_each_dataset_has_a_backbone_of_its_own(tmp_path) -> None:
    paths = {
        name: pretrain_embedded(name, "digits-mlp", tmp_path)
        for name in ("digits", "digits-same", "digits-rotated")
    }
    assert len(set(paths.values())) == 3


@pytest.mark.usefixtures("short")
def test_other_settings_are_another_address(tmp_path, monkeypatch) -> None:
    path = pretrain_embedded("digits", "digits-mlp", tmp_path)
    brief = pretrain.pretraining_set

    def shorter(name: str):
        source = brief(name)
        return replace(source, config=replace(source.config, epochs=1))

    monkeypatch.setattr(pretrain, "pretraining_set", shorter)
    assert pretrain_embedded("digits", "digits-mlp", tmp_path) != path


@pytest.mark.usefixtures("short")
def test_random_numbers_of_the_caller_are_left_alone(tmp_path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    pretrain_embedded("digits", "digits-mlp", tmp_path)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.usefixtures("short")
def test_interrupted_it_leaves_nothing(tmp_path, monkeypatch) -> None:
    @contextmanager
    def interrupted(path, advice):
        with atomic_file(path, advice) as file:
            yield file
            raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "atomic_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain_embedded("digits", "digits-mlp", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_whole_pretraining_learns_even_and_odd(tmp_path) -> None:
    path = pretrain_embedded("digits", "digits-mlp", tmp_path)
    trained = create_backbone("digits-mlp", checkpoint=path)
    fresh = create_backbone("digits-mlp", weights="none", seed=0)
    assert trained.weights_sha256 != fresh.weights_sha256
    source = pretraining_set("digits")

    def separation(module: torch.nn.Module) -> float:
        """Distance of the two class means over the mean distance to the own class's mean."""
        with torch.no_grad():
            features = module(source.images)
        even, odd = features[source.targets == 0], features[source.targets == 1]
        spread = torch.cat([even - even.mean(0), odd - odd.mean(0)]).norm(dim=1).mean()
        return float((even.mean(0) - odd.mean(0)).norm() / spread)

    assert separation(trained.module) > 2.0
    assert separation(fresh.module) < 1.0
