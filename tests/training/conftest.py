"""A small task: three clusters of 64 numbers each, and a random embedded backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from energytune.config import FinetuneConfig, ProbeConfig
from energytune.data import TensorSplit
from energytune.models import Backbone, TaskModel, build_model, create_backbone
from energytune.tasks import Multiclass
from energytune.training.features import TensorFeatures
from energytune.training.features_extract import FeatureSource, extract_features
from energytune.training.probe_data import ProbeData
from energytune.training.snapshots import SnapshotStore

CPU = torch.device("cpu")


def clusters(n_samples: int, seed: int, spread: float = 1.0) -> TensorSplit:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n_samples) % 3
    centres = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    images = centres[targets] + spread * torch.randn(n_samples, 64, generator=generator)
    return TensorSplit(images, targets)


@pytest.fixture(scope="session")
def task() -> Multiclass:
    return Multiclass(3)


@pytest.fixture(scope="session")
def train() -> TensorSplit:
    return clusters(29, seed=1)  # the last batch of 8 is smaller than the others


@pytest.fixture(scope="session")
def valid() -> TensorSplit:
    return clusters(40, seed=2, spread=3.0)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return create_backbone("digits-mlp", weights="none", seed=1)


MakeModel = Callable[..., TaskModel]


@pytest.fixture(scope="session")
def make_model(backbone: Backbone) -> MakeModel:
    def make(head_arch: str = "linear", depth: int = 0, seed: int = 0) -> TaskModel:
        return build_model(
            backbone, head_arch=head_arch, n_outputs=3, reinit_depth=depth, seed=seed
        )

    return make


@pytest.fixture(scope="session")
def probe_data(make_model: MakeModel, train: TensorSplit, valid: TensorSplit):
    def data(depth: int = 0) -> ProbeData:
        model = make_model(depth=depth)
        features = [
            TensorFeatures(extract_features(model, split, batch_size=16, device=CPU))
            for split in (train, valid)
        ]
        return ProbeData(features[0], train.targets, features[1], valid.targets)

    return data


@pytest.fixture
def make_source(make_model: MakeModel, valid: TensorSplit) -> Callable[..., FeatureSource]:
    """The features of valid, 40 samples, 128 numbers each at depth 0."""

    def make(**changes) -> FeatureSource:
        fields = {
            "make_model": make_model,
            "split": valid,
            "name": "valid",
            "depth": 0,
            "n_views": 1,
            "batch_size": 16,
            "device": CPU,
        } | changes
        return FeatureSource(fields.pop("make_model"), fields.pop("split"), **fields)

    return make


class Watch:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        self.done[name] = 0

        def advance(n_units: int) -> None:
            self.done[name] += n_units

        yield advance


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def probe_config() -> ProbeConfig:
    return ProbeConfig(lr=0.03, momentum=0.9, weight_decay=1e-3, batch_size=8)


@pytest.fixture
def finetune_config() -> FinetuneConfig:
    return FinetuneConfig(epochs=3, batch_size=8, patience=None)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "trajectories")


@pytest.fixture
def same_tensors():
    """Compares dicts of tensors by name, bit for bit."""

    def compare(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
        return left.keys() == right.keys() and all(
            left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
            for name in left
        )

    return compare
