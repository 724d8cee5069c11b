from __future__ import annotations

import pandas as pd
import pytest

from energytune.report.tables import ENERGY_MAP_COLUMNS, TRIAL_COLUMNS, energy_map, trials_frame
from tests.report.hand_made import (
    ADAPTATION,
    small_confirmation,
    small_search,
    snapshot,
    stopped,
    trial,
)


def test_one_row_a_trial() -> None:
    records = small_search()
    frame = trials_frame(records)
    assert tuple(frame.columns) == TRIAL_COLUMNS
    assert list(frame["number"]) == [0, 1, 2, 3, 4, 5]
    assert list(frame["state"]) == ["COMPLETE"] * 3 + ["PRUNED", "FAIL", "COMPLETE"]
    best = frame.iloc[2]
    assert best["ft_valid_acc"] == 0.90
    assert best["best_epoch"] == 2
    assert best["n_ft_epochs"] == 3
    assert best["head_arch"] == "mlp"
    assert best["ft_lr"] == 0.1 + 0.2
    assert best["aie"] == snapshot(8).aie
    assert best["hp_train_acc"] == snapshot(8).train_acc
    assert best["hp_valid_acc"] == snapshot(8).valid_acc
    assert best["hp_valid_loss"] == snapshot(8).valid_loss
    assert best["head_norm"] == snapshot(8).head_norm
    assert {name: best[name] for name in ADAPTATION} == ADAPTATION


def test_what_was_not_reached_is_missing() -> None:
    frame = trials_frame(small_search())
    pruned, failed = frame.iloc[3], frame.iloc[4]
    assert pruned["ft_valid_acc"] == 0.3
    assert pd.isna(pruned["best_epoch"])
    assert pd.isna(pruned["feature_cosine"])
    assert pruned["reason"].startswith("energy")
    assert all(pd.isna(failed[name]) for name in ("aie", "hp_train_acc", "ft_valid_acc"))
    assert failed["n_ft_epochs"] == 0
    assert frame["duplicate_of"].dropna().to_dict() == {5: 1}
    assert str(frame["best_epoch"].dtype) == "Int64"


def test_a_stop_a_prune_and_a_failure_are_told_apart() -> None:
    frame = trials_frame([*small_search()[2:5], stopped(5, 63)])
    assert list(frame["state"]) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert [bool(text) for text in frame["reason"]] == [False, True, True, False]
    assert list(frame["stop_reason"]) == [
        *("", "", ""),
        "stopped: no better validation since epoch 1, patience 62 epochs",
    ]
    assert list(frame["n_ft_epochs"])[-1] == 63


def test_confirmations_have_test_accuracies() -> None:
    frame = trials_frame(small_confirmation())
    assert list(frame["test_acc"][:3]) == [0.88, 0.90, 0.92]
    assert list(frame["seed"][:3]) == [1, 2, 3]


def test_tables_without_records_have_their_columns() -> None:
    assert tuple(trials_frame([]).columns) == TRIAL_COLUMNS
    assert tuple(energy_map([]).columns) == ENERGY_MAP_COLUMNS
    assert len(trials_frame([])) == len(energy_map([])) == 0


def test_energy_map_has_each_epoch_of_a_trajectory_once() -> None:
    records = [trial(0, tau=8), trial(1, tau=4), trial(2, tau=2, head_arch="mlp")]
    frame = energy_map(records)
    linear = frame[frame["head_arch"] == "linear"]
    assert list(linear["tau"]) == [0, 1, 2, 3, 4, 6, 8]
    assert list(frame[frame["head_arch"] == "mlp"]["tau"]) == [0, 1, 2]
    assert linear["aie"].to_list() == pytest.approx([snapshot(t).aie for t in linear["tau"]])
