from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.config import Recipe
from energytune.optimizer.energy_features import energy_features
from energytune.optimizer.past_search import (
    Energies,
    Probed,
    distance,
    energies_of,
    past_search,
    ranks,
)
from energytune.training import FinetuneEpoch, ProbeSnapshot
from energytune.trial import Finished, Job, TrialRecord

SHARE = st.floats(0.0, 1.0)
MAPS = st.dictionaries(st.integers(0, 12), st.tuples(SHARE, SHARE), min_size=8, max_size=12)


def snapshot(epoch: int, aie: float, valid_acc: float = 0.5, pull: float = 0.4) -> ProbeSnapshot:
    return ProbeSnapshot(epoch, 0.9, 0.3, valid_acc, 0.6, aie, 2.0, pull)


def trial(number: int, value: float | None, state: str = "COMPLETE", tau: int = 4) -> TrialRecord:
    finished = Finished(value, 2, 0.4, {}) if state == "COMPLETE" and value is not None else None
    rate = 0.01 * (1 + number)
    return TrialRecord(
        Job(f"t{number:03d}", number, Recipe(tau=tau, ft_lr=rate), 0),
        state,  # type: ignore[arg-type]
        snapshots=(snapshot(0, 0.8), snapshot(tau, 0.8 - 0.02 * number)),
        epochs=() if value is None else (FinetuneEpoch(1, 1.0, 0.5, 1.0, value),),
        finished=finished,
    )


@settings(deadline=None)
@given(MAPS, MAPS)
def test_a_distance_is_symmetric_in_the_unit_interval_and_0_to_itself(
    one: Energies, other: Energies
) -> None:
    apart = distance(one, other)
    assert apart == distance(other, one)
    assert math.isinf(apart) or 0 <= apart <= 1
    assert distance(one, one) == 0


@settings(max_examples=30, deadline=None)
@given(MAPS, MAPS, MAPS)
def test_a_distance_on_the_same_places_keeps_the_triangle(
    one: Energies, two: Energies, three: Energies
) -> None:
    places = one.keys() & two.keys() & three.keys()
    a, b, c = ({p: m[p] for p in places} for m in (one, two, three))
    if len(places) >= 8:
        assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12


def test_a_distance_is_the_mean_over_what_both_have() -> None:
    one = dict.fromkeys(range(10), (0.5, 0.5))
    other = dict.fromkeys(range(2, 14), (0.6, 0.8))
    assert distance(one, other) == pytest.approx((0.1 + 0.3) / 2)


@pytest.mark.parametrize(("n_shared", "finite"), [(0, False), (7, False), (8, True)])
def test_maps_that_share_too_little_are_infinitely_far(n_shared: int, finite: bool) -> None:
    one = dict.fromkeys(range(20), (0.5, 0.5))
    other = {place + 20 - n_shared: (0.5, 0.5) for place in range(20)}
    assert math.isfinite(distance(one, other)) is finite


def test_energies_are_relative_to_the_largest_aie_of_all_heads() -> None:
    heads = [
        ("linear", 0.0, 0, [snapshot(0, 0.8), snapshot(1, 0.4, 0.3), snapshot(4, 0.2, 0.7)]),
        ("mlp", 3 * 0.05, 1, [snapshot(0, 1.0), snapshot(1, 0.5, 0.2)]),
        ("linear", 0.0, 0, [snapshot(1, 0.1)]),  # another seed of the first head
    ]
    assert energies_of(heads) == {
        Probed("linear", 0.0, 0, 1): (0.4, 0.3),
        Probed("linear", 0.0, 0, 4): (0.2, 0.7),
        Probed("mlp", 0.15, 1, 1): (0.5, 0.2),
    }


def test_energies_without_anything_finite_are_no_places() -> None:
    assert energies_of([]) == {}
    assert energies_of([("linear", 0.0, 0, [snapshot(1, 0.5, math.nan)])]) == {}
    only_zero = energies_of([("linear", 0.0, 0, [snapshot(1, 0.0, 0.5)])])
    assert list(only_zero.values()) == [(0.0, 0.5)]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_ranks_are_counts_of_what_is_less(values: list[float]) -> None:
    less = [sum(v < w for v in values) + (values.count(w) - 1) / 2 for w in values]
    assert ranks(values) == pytest.approx([n / max(1, len(values) - 1) for n in less])


def test_a_past_search_has_features_and_ranks_of_its_finetunes() -> None:
    records = [trial(number, 0.5 + 0.01 * number) for number in range(10)]
    past = past_search("before", records)
    assert past is not None
    assert past.name == "before"
    assert past.scores == pytest.approx(np.linspace(0, 1, 10))
    expected = [
        energy_features(r.snapshots[-1], r.job.recipe.ft_lr, aie_max=0.8, pull_max=0.4)
        for r in records
    ]
    assert past.features == pytest.approx(np.array(expected))
    assert past.energies == energies_of([("linear", 0.0, 0, records[0].snapshots)])


def test_a_pruned_trial_counts_with_its_best_and_others_are_left_out() -> None:
    complete = [trial(number, 0.5 + 0.01 * number) for number in range(8)]
    pruned = trial(8, 0.555, "PRUNED")
    pruned = replace(
        pruned, epochs=(*pruned.epochs, FinetuneEpoch(2, 1.0, 0.5, 1.0, 0.1)), reason="halved"
    )
    never_run = trial(9, None, "PRUNED")
    crashed = trial(10, 0.9, "FAIL")
    confirmed = replace(trial(11, 0.95), job=replace(complete[0].job, role="confirm"))
    past = past_search("before", [*complete, pruned, never_run, crashed, confirmed])
    assert past is not None
    assert len(past.scores) == 9
    assert past.scores[-1] == 6 / 8  # above 0.50 to 0.55, below 0.56 and 0.57


def test_of_a_recipe_that_was_run_twice_the_later_run_counts() -> None:
    records = [trial(number, 0.5) for number in range(8)]
    again = replace(records[0], finished=Finished(0.9, 2, 0.4, {}))
    past = past_search("before", [*records, again])
    assert past is not None
    assert past.scores[0] == 1.0
    assert len(past.scores) == 8


@pytest.mark.parametrize(("n_trials", "there"), [(0, False), (7, False), (8, True)])
def test_a_few_trials_are_no_history(n_trials: int, there: bool) -> None:
    records = [trial(number, 0.5) for number in range(n_trials)]
    assert (past_search("before", records) is not None) is there
