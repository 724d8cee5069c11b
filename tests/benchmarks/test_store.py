from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tabular import store, table
from benchmarks.tabular.grid import FT_EPOCHS, N_SEEDS
from benchmarks.tabular.store import Parts, merge, write_cell
from tests.benchmarks.hand_made import by_tau

TASK = "digits-mlp"
WHOLE, DIVERGED = by_tau(4, 0.003), by_tau(128, 0.03)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "DATA", tmp_path)
    monkeypatch.setattr(table, "DATA", tmp_path)
    monkeypatch.setattr(store, "PARTS", Parts(tmp_path / "parts"))
    return tmp_path


def probe_row(epoch: int, cpu_s: float) -> dict[str, object]:
    measured = dict.fromkeys(("train_acc", "train_loss", "valid_acc", "valid_loss"), 0.25)
    measured |= {"aie": 0.5, "head_norm": 2.0, "pull_norm": 0.125}
    return {**asdict(WHOLE.head), "epoch": epoch, **measured, "cpu_s": cpu_s}


def run_row(recipe: object, n_epochs: int, failure: str = "") -> dict[str, object]:
    return {
        **asdict(recipe),  # type: ignore[call-overload]
        "failure": failure,
        "valid_acc": [0.5] * n_epochs,
        "valid_loss": [1.25] * n_epochs,
        "train_acc": [0.75] * n_epochs,
        "best_epochs": [1, 3],
        "best_test_acc": [0.25, 0.375],
        "cpu_s": 0.5 * n_epochs,
    }


def test_what_is_written_is_loaded(folder: Path) -> None:
    for seed in range(N_SEEDS):
        probes = [probe_row(128, 12.8 * (1 + seed)), probe_row(4, 1.0)]
        runs = [run_row(WHOLE, FT_EPOCHS), run_row(DIVERGED, 7, "diverged")]
        write_cell(TASK, seed, probes, runs)
        written = merge([TASK])
        assert bool(written) == (seed == N_SEEDS - 1)
    assert [path.name for path in written] == [f"{TASK}-runs.parquet", f"{TASK}-probes.parquet"]

    loaded = table.load_table.__wrapped__(TASK)
    whole, diverged = loaded.index(WHOLE), loaded.index(DIVERGED)
    assert loaded.valid_acc.shape == (N_SEEDS, 252, FT_EPOCHS)
    assert np.all(loaded.valid_loss[:, whole] == 1.25)
    assert np.isnan(loaded.valid_acc[0, diverged]).tolist() == [False] * 7 + [True] * 93
    assert loaded.test_acc[0, whole].tolist() == [0.25] * 2 + [0.375] * 98
    assert loaded.failed.sum() == N_SEEDS
    assert loaded.failed[:, diverged].all()
    assert loaded.ft_epoch_s[whole] == 0.5
    assert loaded.finetune_s == pytest.approx(50.0)
    # 0.1 s an epoch times 1, 2, 3, 4, 5.
    assert loaded.hp_epoch_s == {WHOLE.head: pytest.approx(0.3)}
    assert loaded.probe_epochs[2, WHOLE.head] == [4, 128]
    assert loaded.proxies[2, WHOLE.head, 4]["aie"] == 0.5
    assert loaded.mean_test_acc[whole] == pytest.approx(0.375)
    assert loaded.mean_test_acc[loaded.index(by_tau(0))] == 0.0


def test_an_unfinished_task_is_not_merged(folder: Path) -> None:
    write_cell(TASK, 0, [probe_row(4, 1.0)], [run_row(WHOLE, FT_EPOCHS)])
    assert merge([TASK]) == []
    assert not list(folder.glob("*.parquet"))
