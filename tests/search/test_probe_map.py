"""``probe()`` from settings to the map, on the real digits."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from energytune import EnergyMap, probe
from energytune.errors import ConfigError, DataError, ResourceError

SMALL = {"heads": ["linear"], "label_smoothings": [0.0, 0.2], "depths": [0], "tau_max": 8}


@pytest.fixture(scope="module")
def small_map(tmp_path_factory) -> EnergyMap:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENERGYTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return probe("digits", **SMALL)


def test_a_map_of_the_digits(small_map) -> None:
    frame = small_map.frame
    assert len(frame) == 2 * 7
    assert list(frame["tau"][:7]) == [0, 1, 2, 3, 4, 6, 8]
    assert (small_map.n_classes, small_map.n_train, small_map.metric) == (10, 100, "accuracy")
    assert frame["aie"].between(0, 2**0.5).all()
    assert small_map.max_reinit_depth == 4


def test_it_can_be_plotted_told_and_written(small_map) -> None:
    assert len(small_map.plot().axes) >= 2
    assert "sweep-tau" in {finding.rule for finding in small_map.findings()}
    plain = json.loads(small_map.to_json(small_map.findings("--data-root 'a b'")))
    assert plain["heads"][1]["label_smoothing"] == 0.2
    assert len(plain["heads"][0]["snapshots"]) == 7
    assert plain["grid"]["tau_max"] == 8
    assert any("--data-root 'a b'" in finding["command"] for finding in plain["findings"])
    assert len(plain["provenance"]["backbone_sha256"]) == 64


def test_defaults_are_those_of_the_datasets_space() -> None:
    whole = probe("digits", tau_max=1)
    assert whole.grid.head_archs == ("linear", "mlp")
    assert whole.grid.label_smoothings == (0.0, 0.075, 0.15, 0.225, 0.3)
    assert whole.grid.reinit_depths == (0, 1, 2)  # cheap for an embedded backbone
    assert len(whole.curves) == 30


def test_the_same_call_gives_the_same_numbers(small_map, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "cold"))
    assert list(probe("digits", **SMALL).curves) == list(small_map.curves)


def test_a_cosine_and_views_are_settings_of_all_heads(small_map) -> None:
    falling = probe("digits", **SMALL, cosine=True, batch_size=10)
    config = falling.grid.probe
    assert (config.schedule, config.schedule_epochs, config.batch_size) == ("cosine", 8, 10)
    assert falling.curves[0].snapshots[-1] != small_map.curves[0].snapshots[-1]
    seen = probe("digits", **{**SMALL, "tau_max": 2}, n_views=2)
    assert {snapshot.n_views for curve in seen.curves for snapshot in curve.snapshots} == {2}


def test_features_over_the_budget_are_computed_in_every_epoch(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "other"))
    lean = probe("digits", **{**SMALL, "tau_max": 2}, cache_budget="1kB")
    assert len(lean.notes) == 2  # train and valid
    assert all("over the budget of 1.0 kB" in note for note in lean.notes)
    monkeypatch.setenv("ENERGYTUNE_CACHE", str(tmp_path / "third"))
    cached = probe("digits", **{**SMALL, "tau_max": 2})
    assert not cached.notes
    for one, other in zip(lean.curves, cached.curves, strict=True):
        for mine, theirs in zip(one.snapshots, other.snapshots, strict=True):
            assert mine.aie == pytest.approx(theirs.aie, abs=1e-3)  # half precision


def own_data(n: int = 24, n_classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(n)
    return TensorDataset(torch.randn(n, 1, 4, 4, generator=generator), torch.arange(n) % n_classes)


def test_ones_own_data_and_module() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU())
    own = probe(
        "mine",
        train=own_data(),
        valid=own_data(12),
        test=own_data(9),
        backbone=module,
        tau_max=2,
        heads=["linear"],
        label_smoothings=[0.0],
    )
    assert (own.dataset, own.backbone) == ("mine", "custom:Sequential")
    assert own.n_classes == 3


def test_a_backbone_that_gives_only_zeros_is_told() -> None:
    class Dead(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) * 0.0

    with pytest.raises(DataError, match="zero"):
        probe(train=own_data(), valid=own_data(12), test=own_data(9), backbone=Dead(), tau_max=1)


def test_a_class_that_is_absent_from_train_is_told() -> None:
    images, targets = own_data(24, n_classes=4).tensors
    gap = TensorDataset(images[targets != 2], targets[targets != 2])
    with pytest.raises(DataError, match=r"absent from train.*class 2 \(6 samples\)"):
        probe(
            train=gap,
            valid=own_data(12, n_classes=4),
            test=own_data(12, n_classes=4),
            backbone=nn.Flatten(),
            tau_max=1,
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_seeds": 0}, "n_seeds must be at least 1, got 0"),
        ({"device": "tpu"}, "device must be auto, cpu or cuda, got 'tpu'"),
        ({"heads": ["linaer"]}, "did you mean 'linear'"),
        ({"label_smoothings": [1.5]}, "must be < 1"),
        ({"n_views": 0}, "must be >= 1"),
        ({"train": 1}, "test must be given"),
        ({"train": 1, "test": 1}, "backbone must be given"),
    ],
)
def test_wrong_settings_are_told(values, message) -> None:
    with pytest.raises(ConfigError, match=message):
        probe("digits", **values)


def test_a_gpu_that_is_not_there_is_told(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ResourceError, match="no GPU here"):
        probe("digits", device="cuda")
