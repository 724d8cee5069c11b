"""The same search on every kind of task: Optuna, Ray and MLflow, from data to the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from energytune import load_champion
from energytune.config import SearchConfig, SearchSpace
from energytune.data.digits_source import read_digits
from energytune.data.embedded import _parts, _transfer
from energytune.search.pretrain import pretrain
from energytune.search.result import TuneResult
from energytune.search.run import run_search
from tests.data.test_ogb_folder import write_folder
from tests.data.voc_files import write_voc

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_session")]

Search = Callable[..., TuneResult]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """Searches three trials of a few epochs; what is searched is the same for all tasks."""

    def run(dataset: str, heads: tuple[str, ...], n_trials: int = 3, **changes: Any) -> TuneResult:
        space = SearchSpace.model_validate(
            {
                "tau": {"low": 0, "high": 8},
                "head_arch": {"choices": heads},
                "label_smoothing": {"low": 0.0, "high": 0.2, "step": 0.1},
                "reinit_depth": {"low": 0, "high": 1},
                "ft_lr": {"low": 0.003, "high": 0.03, "default": 0.01},
                "probe": {"batch_size": 16},
                "finetune": {"epochs": 3, "batch_size": 16, "patience": None},
            }
        )
        settings = {
            "dataset": dataset,
            "space": space,
            "n_trials": n_trials,
            "n_confirm_seeds": 1,
            "n_confirm_recipes": 1,
            "out": tmp_path / "run",
            "concurrency": 2,
            **changes,
        }
        return run_search(SearchConfig.model_validate(settings))

    return run


def check(result: TuneResult, metric: str, n_trials: int = 3) -> None:
    """Checks what a finished search owes its user."""
    assert [record.state for record in result.records].count("COMPLETE") >= 2
    assert len(result.records) == n_trials
    assert result.metric == metric
    assert set(result.baselines) == {"tau=0", "tau=max"}
    assert result.winner is not None
    test = result.best_confirmation.finished.test
    assert test is not None
    assert 0.0 <= test.accuracy <= 1.0
    assert result.registered is not None, result.tracking.warning
    assert result.tracking.warning is None


@pytest.mark.parametrize(
    ("dataset", "heads", "metric"),
    [
        ("digits", ("linear", "mlp"), "accuracy"),
        ("molecules", ("linear", "mlp"), "roc_auc"),
        ("digit-scenes", ("linear", "aspp"), "miou"),
    ],
)
def test_search_end_to_end_and_again(search: Search, dataset, heads, metric) -> None:
    first = search(dataset, heads, weights="none")
    check(first, metric)
    longer = search(dataset, heads, n_trials=4, weights="none")
    check(longer, metric, n_trials=4)
    same = [r.job.recipe for r in longer.records[:3]]
    assert same == [r.job.recipe for r in first.records]
    assert [r.objective for r in longer.records[:3]] == [r.objective for r in first.records]
    _check_model(longer, metric)


def _check_model(result: TuneResult, metric: str) -> None:
    """The registered model takes raw inputs and gives the probabilities that the task says."""
    mlflow.set_tracking_uri(result.tracking.uri)
    registered = result.registered
    model = mlflow.pyfunc.load_model(f"models:/{registered.name}/{registered.version}")
    answer = model.predict(model.input_example)
    if metric == "miou":
        assert answer["label"].shape == (1, 64, 64)
        assert set(np.unique(answer["label"])) <= {*range(6), 255}
        return
    probs, label = answer["probs"], answer["label"]
    if metric == "roc_auc":
        assert probs.shape == label.shape == (2, 12)
        assert ((probs > 0) & (probs < 1)).all()
    else:
        np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-4)
        assert label.shape == (2,)
        _check_score_on_raw_digits(result)


def _check_score_on_raw_digits(result: TuneResult) -> None:
    """The registered model scores on the raw test images what the search has told."""
    registered, pixels, digits = result.registered, *read_digits()
    model = load_champion(
        "digits", version=registered.version, tracking_uri=result.tracking.uri, device="cpu"
    )
    test = _parts(_transfer("digits"), digits)["test"]
    told = [prediction.labels[0] for prediction in model.predict(pixels[test].numpy())]
    assert (np.array(told) == digits[test].numpy()).mean() == pytest.approx(model.score)


def test_tox21_with_a_checkpoint_of_pcba(search: Search, tmp_path: Path) -> None:
    """``energytune pretrain --dataset molpcba``, then a search of moltox21 with its file."""
    root = tmp_path / "data"
    write_folder(root / "ogbg_moltox21", n_labels=12)
    write_folder(root / "ogbg_molpcba", n_labels=128)
    checkpoint = pretrain(
        "molpcba", out=tmp_path / "gcn.safetensors", data_root=root, epochs=1, batch_size=10
    )
    result = search("moltox21", ("linear",), checkpoint=checkpoint.path, data_root=root)
    check(result, "roc_auc")


def test_voc_with_a_dilated_resnet(search: Search, tmp_path: Path) -> None:
    write_voc(tmp_path / "data" / "VOCdevkit" / "VOC2012", n_classes=20, n_train=42, n_val=20)
    result = search(
        "voc2012",
        ("aspp",),
        backbone="test_resnet.r160_in1k",
        weights="none",
        data_root=tmp_path / "data",
        image_size=33,
    )
    check(result, "miou")
