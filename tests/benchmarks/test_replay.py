from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from benchmarks.tabular.grid import HEADS
from benchmarks.tabular.method import params_of, recipe_of
from benchmarks.tabular.replay import Replay
from energytune.optimizer.promotion import Rungs
from tests.benchmarks.hand_made import (
    FT_S,
    HP_S,
    MAP_EPOCHS,
    ORDER,
    by_tau,
    hand_made_table,
    one_after_another,
    rising,
)

A, B, C = by_tau(4), by_tau(32), by_tau(128)


class StopsAt:
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        return epoch < self.epoch


class Watching(RandomSampler):
    """Notes what it is told."""

    def __init__(self, told: list[tuple[str, float | None]]) -> None:
        super().__init__(seed=0)
        self.told = told

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self.told.append((state.name, values[0] if values else None))


class PrunesSecondAt(BasePruner):
    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return trial.number == 1 and trial.last_step == 10


def place(recipe: object) -> int:
    return ORDER.index(recipe)  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ORDER[::17])
def test_parameters_give_the_recipe_back(recipe: object) -> None:
    assert recipe_of(params_of(recipe)) == recipe  # type: ignore[arg-type]


def test_whole_finetunes_cost_their_epochs_and_probing_is_shared() -> None:
    table = hand_made_table({A: rising(0.5), B: rising(0.8, 50)})
    trace = Replay(table, 0).search(one_after_another([A, B]), 200, 0)
    assert [(e.place, e.end, e.epoch) for e in trace.ended] == [
        (place(A), "complete", 100),
        (place(B), "complete", 100),
    ]
    # B is better than 0.5 from its epoch 32 on: 0.8 * 32 / 50 = 0.512.
    assert trace.ft_epochs == [1, 132]
    assert trace.place == [place(A), place(B)]
    assert trace.seconds == [4 * HP_S + FT_S, 32 * HP_S + 132 * FT_S]
    assert (trace.total_ft_epochs, trace.total_seconds) == (200, 32 * HP_S + 200 * FT_S)
    assert [trace.at(budget) for budget in (0, 1, 131, 132, 999)] == [
        None,
        place(A),
        place(A),
        place(B),
        place(B),
    ]


@pytest.mark.parametrize(
    ("changes", "hp_epochs"),
    [
        ({}, 32),
        ({"shares_probing": False}, 4 + 32),
        ({"maps": "shallow"}, MAP_EPOCHS + 32),
        ({"maps": "shallow", "shares_probing": False}, MAP_EPOCHS + 4 + 32),
        # Half of the heads have a reinitialised layer; A and B do not.
        ({"maps": "all"}, MAP_EPOCHS + len(HEADS) // 2 * 512 + 32),
    ],
)
def test_seconds_of_probing(changes: dict[str, Any], hp_epochs: int) -> None:
    table = hand_made_table({})
    trace = Replay(table, 0).search(one_after_another([A, B]).but(**changes), 200, 0)
    assert trace.total_seconds == pytest.approx(hp_epochs * HP_S + 200 * FT_S)


def test_a_finetune_that_diverges_costs_what_it_ran_and_is_not_returned() -> None:
    table = hand_made_table({A: rising(0.5), B: [0.9] * 30})
    trace = Replay(table, 0).search(one_after_another([A, B]), 131, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("complete", 100), ("failed", 30)]
    # It led for a while, and then the one before it does again.
    assert list(zip(trace.ft_epochs, trace.place, strict=True)) == [
        (1, place(A)),
        (101, place(B)),
        (131, place(A)),
    ]


def test_nothing_is_returned_if_all_diverged() -> None:
    table = hand_made_table({A: [0.9] * 3})
    trace = Replay(table, 0).search(one_after_another([A]), 4, 0)
    assert (trace.at(3), trace.at(4)) == (place(A), None)


def test_patience_ends_a_finetune_and_it_counts_as_complete() -> None:
    table = hand_made_table({A: rising(0.5, 20), B: rising(0.4, 10)})
    method = one_after_another([A, B]).but(patience_epochs=15)
    trace = Replay(table, 0).search(method, 60, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("early", 35), ("early", 25)]
    assert trace.total_ft_epochs == 60


def test_equal_accuracy_with_lower_loss_is_a_new_best_for_patience() -> None:
    table = hand_made_table({A: [0.5] * 100})
    table.valid_loss[0, place(A), 9] = 0.5
    method = one_after_another([A]).but(patience_epochs=15)
    trace = Replay(table, 0).search(method, 25, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("early", 25)]


def test_a_pruner_stops_for_good() -> None:
    table = hand_made_table({A: rising(0.5), B: rising(0.4)})
    method = one_after_another([A, B]).but(pruner=PrunesSecondAt)
    trace = Replay(table, 0).search(method, 110, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("complete", 100), ("pruned", 10)]


def test_a_pruner_is_asked_at_rungs_only() -> None:
    table = hand_made_table({A: rising(0.5), B: rising(0.4)})
    method = one_after_another([A, B]).but(pruner=PrunesSecondAt, rungs=frozenset({9, 11}))
    trace = Replay(table, 0).search(method, 200, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("complete", 100), ("complete", 100)]


def test_pausing_goes_on_with_the_best_of_three_and_pays_each_epoch_once() -> None:
    table = hand_made_table({A: rising(0.5), B: rising(0.9), C: rising(0.4)})
    method = one_after_another([A, B, C]).but(promotion=lambda: Rungs((8,), 3))
    trace = Replay(table, 0).search(method, 116, 0)
    assert [(e.place, e.end, e.epoch) for e in trace.ended] == [
        (place(A), "paused", 8),
        (place(B), "complete", 100),
        (place(C), "paused", 8),
    ]
    assert trace.total_ft_epochs == 8 + 100 + 8


def test_at_the_end_the_best_that_wait_are_finished() -> None:
    table = hand_made_table({A: rising(0.5), B: rising(0.4), C: rising(0.9)})
    method = one_after_another([A, B, C]).but(promotion=lambda: Rungs((8, 20), 4))
    trace = Replay(table, 0).search(method, 24, 0, n_finalists=2)
    assert [(e.end, e.epoch) for e in trace.ended] == [
        ("complete", 100),
        ("paused", 8),
        ("complete", 100),
    ]
    assert trace.place[-1] == place(C)
    assert trace.total_ft_epochs == 3 * 8 + 2 * 92


@pytest.mark.parametrize(("stopped_as", "told"), [("complete", 0.05), ("pruned", 0.05)])
def test_what_a_stopper_stops_is_told_as_asked(stopped_as: str, told: float) -> None:
    seen: list[tuple[str, float | None]] = []
    table = hand_made_table({A: rising(0.5), B: rising(0.4)})
    method = one_after_another([A, B]).but(
        sampler=lambda _replay, _seed: Watching(seen),
        stopper=lambda: StopsAt(10),
        stopped_as=stopped_as,
    )
    trace = Replay(table, 0).search(method, 20, 0)
    assert [(e.end, e.epoch) for e in trace.ended] == [("stopped", 10), ("stopped", 10)]
    assert seen[0] == (stopped_as.upper(), pytest.approx(told))


def test_a_suggestion_that_was_begun_moves_to_a_neighbour() -> None:
    table = hand_made_table({A: rising(0.5)})
    trace = Replay(table, 0).search(one_after_another([A, A, A]), 300, 0)
    places = [e.place for e in trace.ended]
    assert len(set(places)) == 3
    for near in (table.recipes[p] for p in places[1:]):
        changed = sum(a != b for a, b in zip(vars(A).values(), vars(near).values(), strict=True))
        assert changed == 1


def test_a_search_ends_when_every_recipe_was_run() -> None:
    method = one_after_another([]).but(stopper=lambda: StopsAt(1))
    trace = Replay(hand_made_table({}), 0).search(method, 10_000, 0)
    assert sorted(e.place for e in trace.ended) == list(range(len(ORDER)))
    assert trace.total_ft_epochs == len(ORDER)


def test_the_same_seeds_give_the_same_search() -> None:
    table = hand_made_table({r: rising(0.1 + i / 300) for i, r in enumerate(ORDER)})
    method = one_after_another([]).but(promotion=lambda: Rungs((8, 24)))
    first, again, other = (Replay(table, 0).search(method, 400, s) for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_it_goes_on_until_both_budgets_are_spent() -> None:
    method = one_after_another([A, B, C])
    seconds = 100 * FT_S + 4 * HP_S
    table = hand_made_table({})
    assert Replay(table, 0).search(method, 1, 0, seconds=seconds).total_ft_epochs == 100
    assert Replay(table, 0).search(method, 1, 0, seconds=seconds + 1).total_ft_epochs == 200


def test_a_redundant_start_is_not_finetuned() -> None:
    table = hand_made_table({})
    # tau = 512 starts as tau = 128 does.
    for tau in (128, 512):
        probe = table.proxies[0, by_tau(tau).head, tau]
        probe.update(train_acc=1.0, aie=0.0)
    first, second = by_tau(128), by_tau(512)
    method = one_after_another([first, second, by_tau(4)]).but(energy_rules=True)
    trace = Replay(table, 0).search(method, 200, 0)
    assert [e.end for e in trace.ended] == ["complete", "redundant", "complete"]
    assert trace.ended[1].epoch == 0
    assert trace.ended[1].reason.startswith("redundant: starts like trial 0")
    assert trace.total_seconds == pytest.approx(512 * HP_S + 200 * FT_S)


@pytest.mark.parametrize(
    ("tied_se", "loss_of_b", "returned"),
    [
        (0.0, 0.2, A),  # without the rule the higher accuracy
        (0.5, 0.2, B),  # 0.5 sqrt(0.8 * 0.2 / 100) is 0.02
        (0.4, 0.2, A),
        (0.5, 1.5, A),
    ],
)
def test_near_ties_go_by_the_loss(tied_se: float, loss_of_b: float, returned: object) -> None:
    table = hand_made_table({A: [0.80] * 100, B: [0.78] * 100, C: [0.5, 0.51] * 50})
    table.valid_loss[0, place(B)] = loss_of_b
    assert table.n_valid == 100
    method = one_after_another([A, B]).but(tied_se=tied_se)
    assert Replay(table, 0).search(method, 200, 0).place[-1] == place(returned)


def test_a_deeper_cut_counts_as_the_deepest_that_is_mapped() -> None:
    table = hand_made_table({})
    deeper = replace(A, reinit_depth=1)
    table.proxies[0, deeper.head, 4]["aie"] = 0.4
    replay = Replay(table, 0)
    aie, *_ = replay.known(params_of(deeper)).features or ()
    assert aie == pytest.approx(2 * (0.8 / 5) / 0.8)
    assert replay.known(params_of(deeper)).key == deeper
    aie, *_ = replay.known_at_all_depths(params_of(deeper)).features or ()
    assert aie == pytest.approx(2 * 0.4 / 0.8)


def test_energy_is_unknown_where_probing_diverged() -> None:
    table = hand_made_table({})
    del table.proxies[0, A.head, 4]
    replay = Replay(table, 0)
    assert replay.known(params_of(A)).features is None
    features = replay.known(params_of(B)).features
    assert features is not None
    # The largest AIE of the map is 0.8, at tau = 0.
    assert features[0] == pytest.approx(2 * (0.8 / 33) / 0.8)
    assert features[1] == pytest.approx(2 * math.log10(0.01))
    assert replay.unmapped(params_of(B)).features is None
