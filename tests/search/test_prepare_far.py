"""The features and the map of a search, made in a worker of the cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from energytune.config import load_space
from energytune.search.prepare import map_grid
from energytune.search.prepare_far import lacks_gpu, prepare_far
from energytune.training.features_extract import FeatureSource
from energytune.trial.energy_map import build_energy_map


@pytest.fixture
def spec(tmp_path: Path) -> Any:
    from energytune.config import FinetuneConfig, ProbeConfig
    from energytune.trial.bench import BenchSpec

    return BenchSpec(
        dataset="digits",
        backbone="digits-mlp",
        probe=ProbeConfig(),
        finetune=FinetuneConfig(epochs=2, patience=None),
        cache=tmp_path / "shared",
        model_dir=tmp_path / "models",
    )


def test_a_gpu_is_lacked_where_trials_use_one_and_this_process_sees_none(
    monkeypatch: pytest.MonkeyPatch, spec: Any
) -> None:
    with_gpu = replace(spec, use_gpu=True)
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert lacks_gpu(spec) is False
        assert lacks_gpu(with_gpu) is not there


@pytest.mark.integration
def test_what_is_made_far_away_is_what_would_be_made_here(
    ray_session: None, spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from energytune.cluster import ClusterConfig, RayCluster
    from energytune.progress import NO_PROGRESS

    space = load_space("default")
    grid = map_grid(space, seed=0).model_copy(update={"tau_max": 4})
    config = ClusterConfig(None, 1, 1, 0.0, tmp_path / "ray")
    with RayCluster(config) as cluster:
        curves = prepare_far(cluster, spec, [0, 1], grid, NO_PROGRESS)
        assert prepare_far(cluster, spec, [0], None, NO_PROGRESS) == []

    def no_forward(*args: object, **options: object) -> None:
        raise AssertionError("the features are in the cache")

    monkeypatch.setattr(FeatureSource, "batches", no_forward)
    bench = spec.build()
    bench.prepare([0, 1])
    assert build_energy_map(bench, grid) == curves
