from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energytune.optimizer import ConfirmSource
from energytune.optimizer.race import beaten
from energytune.science.noise import SeedNoise, seed_noise
from energytune.trial import Finished, Idle, Job
from tests.optimizer.fakes import make_run_job, probe_done
from tests.optimizer.racing import SEEDS, Results, Watcher, candidate, confirmed, run_race

ZERO = candidate(0, "baseline_tau_0", earlier=(0.80, 0.81))
LARGEST = candidate(1, "baseline_tau_max", earlier=(0.82, 0.81))
FIELD = [candidate(5), candidate(7), LARGEST, candidate(3), ZERO]
CLOSE: Results = {
    5: (0.900, 0.905, 0.895),
    7: (0.910, 0.900, 0.905),
    3: (0.700, 0.710, 0.690),
    1: (0.820, 0.825, 0.815),
    0: (0.805, 0.800, 0.810),
}
"""t007 is best by mean though the search had t005 first; t003 is far behind."""


def test_the_best_by_mean_over_all_seeds_wins() -> None:
    source = ConfirmSource(FIELD, SEEDS)
    assert source.winner() is None
    run_race(source, CLOSE)
    winner = source.winner()
    assert winner is not None
    assert (winner.number, winner.recipe, winner.n_seeds) == (7, FIELD[1].recipe, 3)
    assert winner.mean == pytest.approx(0.905)
    assert (winner.dropped, winner.name, winner.is_baseline) == ("", "t007", False)
    assert [s.number for s in source.standings()] == [7, 5, 1, 0, 3]


def test_no_seed_is_spent_on_what_is_beaten() -> None:
    source = ConfirmSource(FIELD, SEEDS)
    begun = run_race(source, CLOSE)
    assert [job.id for job in begun] == [
        *("c005-s1000", "c007-s1000", "c001-s1000", "c003-s1000", "c000-s1000"),
        *("c005-s1001", "c007-s1001", "c001-s1001", "c000-s1001"),
        *("c005-s1002", "c007-s1002", "c001-s1002", "c000-s1002"),
    ]
    assert {job.role for job in begun} == {"confirm"}
    last = source.standings()[-1]
    assert (last.number, last.n_seeds, last.mean) == (3, 1, 0.7)
    assert last.dropped == source.dropped[last.recipe.key()]
    assert last.dropped.startswith("beaten: 21.0 points (")
    assert " behind t007 after 1 seed, p = " in last.dropped


def test_the_rule_is_asked_about_whole_rounds_with_the_noise_so_far() -> None:
    source = ConfirmSource(FIELD, SEEDS)
    run_race(source, CLOSE)
    groups = {c.key: [*c.earlier, CLOSE[c.number][0]] for c in FIELD}
    first = {c.key: {SEEDS[0]: float(CLOSE[c.number][0])} for c in FIELD}
    noise = seed_noise(groups)  # type: ignore[arg-type]
    assert noise is not None
    assert noise.degrees_of_freedom == 4  # two baselines with two earlier runs each
    kept = [ZERO.key, LARGEST.key]
    assert beaten(first, noise=noise, protected=kept).keys() == source.dropped.keys()


def test_baselines_run_on_every_seed() -> None:
    poor: Results = {**CLOSE, 0: (0.1, 0.11, 0.12), 1: (0.2, 0.21, 0.22)}
    source = ConfirmSource(FIELD, SEEDS)
    run_race(source, poor)
    seeds = {s.number: s.n_seeds for s in source.standings()}
    assert (seeds[0], seeds[1]) == (3, 3)


def test_a_baseline_can_win() -> None:
    source = ConfirmSource(FIELD, SEEDS)
    run_race(source, {**CLOSE, 0: (0.95, 0.95, 0.96)})
    winner = source.winner()
    assert winner is not None
    assert (winner.number, winner.is_baseline) == (0, True)


def test_ties_go_to_the_earlier_rank() -> None:
    source = ConfirmSource([candidate(8), candidate(2)], SEEDS)
    run_race(source, {8: (0.9, 0.8, 0.9), 2: (0.8, 0.9, 0.9)})
    assert [s.number for s in source.standings()] == [8, 2]


def test_without_repeats_the_first_round_drops_nobody() -> None:
    source = ConfirmSource([candidate(5), candidate(3)], SEEDS[:2])
    run_race(source, {5: (0.9, 0.91), 3: (0.1, 0.11)})
    assert source.dropped == {}
    assert [s.n_seeds for s in source.standings()] == [2, 2]


def test_the_noise_is_pooled_over_all_repeats() -> None:
    source = ConfirmSource([candidate(5), ZERO], SEEDS[:2])
    assert source.noise == seed_noise({"zero": ZERO.earlier})
    run_race(source, {5: (0.9, 0.92), 0: (0.80, 0.82)})
    assert source.noise == seed_noise({"a": [0.9, 0.92], "b": [0.80, 0.81, 0.80, 0.82]})
    assert isinstance(source.noise, SeedNoise)
    assert (source.noise.n_recipes, source.noise.n_runs) == (2, 6)


results = st.fixed_dictionaries(
    {
        number: st.lists(
            st.integers(160, 190).map(lambda k: k / 200) | st.just("crash"),
            min_size=3,
            max_size=3,
        )
        for number in (0, 1, 3, 5, 7)
    }
)


def outcome(source: ConfirmSource) -> tuple[object, ...]:
    return source.standings(), source.dropped, source.winner(), source.noise


@settings(max_examples=60, deadline=None)
@given(results, st.integers(2, 8), st.randoms(use_true_random=False))
def test_the_order_of_ends_changes_nothing(
    results: Results, n_at_once: int, order: random.Random
) -> None:
    alone, several = ConfirmSource(FIELD, SEEDS), ConfirmSource(FIELD, SEEDS)
    run_race(alone, results)
    begun = run_race(several, results, n_at_once=n_at_once, order=order)
    assert outcome(several) == outcome(alone)
    assert len({job.id for job in begun}) == len(begun)
    assert [r.job.id for r in several.records] == [r.job.id for r in alone.records]


@settings(max_examples=60, deadline=None)
@given(results, st.integers(0, 14), st.randoms(use_true_random=False))
def test_an_interruption_changes_nothing(
    results: Results, stop_after: int, order: random.Random
) -> None:
    whole = ConfirmSource(FIELD, SEEDS)
    run_race(whole, results)
    first = ConfirmSource(FIELD, SEEDS)
    run_race(first, results, n_at_once=3, order=order, stop_after=stop_after)
    done = [record for record in first.records if record.state == "COMPLETE"]
    second = ConfirmSource(FIELD, SEEDS, done=done)
    begun = run_race(second, results, n_at_once=2, order=order)
    assert outcome(second) == outcome(whole)
    assert {job.id for job in begun}.isdisjoint(record.job.id for record in done)


def test_an_interrupted_round_is_not_over() -> None:
    source = ConfirmSource([candidate(5), candidate(7)], SEEDS[:1])
    run_race(source, CLOSE, n_at_once=2, stop_after=1)
    assert not source.is_over
    assert source.winner() is None
    assert [r.job.number for r in source.records] == [5]


def test_while_a_round_waits_baselines_run_ahead() -> None:
    source = ConfirmSource([candidate(5), ZERO], SEEDS)
    ids = [job.id for _ in range(4) if isinstance(job := source.next_job(), Job)]
    assert ids == ["c005-s1000", "c000-s1000", "c000-s1001", "c000-s1002"]
    assert source.next_job() is Idle.WAIT


def test_runs_of_others_and_of_other_seeds_are_left_aside() -> None:
    done = [confirmed(5, 1000, 0.9), confirmed(9, 1000, 0.99), confirmed(5, 2000, 0.99)]
    source = ConfirmSource([candidate(5)], SEEDS, done=done)
    assert [job.id for job in run_race(source, CLOSE)] == ["c005-s1001", "c005-s1002"]
    assert len(source.records) == 3


def test_who_is_beaten_does_not_win_by_what_an_earlier_start_has_run() -> None:
    done = [confirmed(3, seed, value) for seed, value in zip(SEEDS, (0.1, 0.99, 0.99), strict=True)]
    source = ConfirmSource([candidate(3), ZERO], SEEDS, done=done)
    run_race(source, {0: (0.6, 0.6, 0.6)})
    assert [(s.number, s.n_seeds, bool(s.dropped)) for s in source.standings()] == [
        (0, 3, False),
        (3, 3, True),
    ]


def test_repeated_seeds_count_once() -> None:
    source = ConfirmSource([candidate(5)], [1000, 1000, 1001])
    assert len(run_race(source, CLOSE)) == 2


def test_who_has_failed_can_not_win() -> None:
    source = ConfirmSource(FIELD, SEEDS)
    begun = run_race(source, {**CLOSE, 7: (0.91, "ValueError: no", 0.99)})
    winner = source.winner()
    assert winner is not None
    assert winner.number == 5
    assert "c007-s1002" not in {job.id for job in begun}
    assert source.dropped[FIELD[1].key] == "its run on seed 1001 failed: ValueError: no"
    states = {(r.job.number, r.job.seed): r.state for r in source.records}
    assert states[7, 1001] == "FAIL"


@pytest.mark.parametrize("seed", [1, 2])
def test_whom_a_failed_leader_had_beaten_is_back(seed: int) -> None:
    leader: list[float | str] = [0.99, 0.99, 0.99]
    leader[seed] = "out of memory"
    source = ConfirmSource(FIELD, SEEDS)
    begun = [job.id for job in run_race(source, {**CLOSE, 7: leader})]
    winner = source.winner()
    assert winner is not None
    assert (winner.number, winner.n_seeds, winner.dropped) == (5, 3, "")
    assert begun.index("c005-s1001") > begun.index(f"c007-s{SEEDS[seed]}")
    assert " behind t005 " in source.dropped[FIELD[3].key]  # it was back, and was beaten again


def test_if_all_have_failed_most_seeds_win() -> None:
    field = [candidate(5), candidate(7), ZERO]
    source = ConfirmSource(field, SEEDS)
    run_race(source, {5: (0.9, "no"), 7: ("no",), 0: (0.7, "no", 0.7)})
    winner = source.winner()
    assert winner is not None
    assert (winner.number, winner.n_seeds) == (0, 2)


def test_if_nothing_is_complete_nobody_wins() -> None:
    source = ConfirmSource([candidate(5), ZERO], SEEDS)
    run_race(source, {5: ("no",), 0: ("no", "no", "no")})
    assert source.is_over
    assert source.winner() is None
    assert {s.mean for s in source.standings()} == {None}
    assert source.noise == seed_noise({"zero": ZERO.earlier})


def test_nobody_to_confirm() -> None:
    source = ConfirmSource([], SEEDS)
    assert source.next_job() is Idle.DONE
    assert (source.winner(), source.standings(), source.records) == (None, [], [])


@pytest.mark.parametrize("failure", ["crash", "nan", "no end"])
def test_a_failure_is_kept_with_its_reason(failure: str) -> None:
    watcher = Watcher()
    source = ConfirmSource([candidate(5)], [1000], observers=[watcher])
    job = source.next_job()
    assert isinstance(job, Job)
    assert source.next_job() is Idle.WAIT
    reasons = {
        "crash": "ValueError: no",
        "nan": "non-finite at end: objective = nan",
        "no end": "the job ended before it had finished",
    }
    assert not source.on_events(job.id, [probe_done(job.recipe)])
    if failure == "nan":
        assert source.on_events(job.id, [Finished(math.nan, 1, 0.1, {}), probe_done(job.recipe)])
    source.on_end(job.id, "ValueError: no" if failure == "crash" else None)
    assert source.next_job() is Idle.DONE
    (record,) = source.records
    assert (record.state, record.reason) == ("FAIL", reasons[failure])
    assert record.finished is None
    assert watcher.started == ["c005-s1000"]
    assert watcher.ended == [record]
    assert watcher.n_events == (2 if failure == "nan" else 1)  # nothing after the failure


def test_a_run_is_not_pruned_and_has_all_its_epochs() -> None:
    from energytune.trial import run_inline

    source = ConfirmSource([candidate(5)], [1000])
    run_inline(source, make_run_job())
    assert len(source.records[0].epochs) == 50
