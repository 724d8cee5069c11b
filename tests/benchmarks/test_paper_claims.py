from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper import table2, table3
from benchmarks.paper.claims import (
    CLAIMS,
    END,
    README,
    judge,
    markdown,
    read_claims,
    with_table,
)
from benchmarks.paper.fig6_kernel import RANDOM, pretrained
from benchmarks.paper.output import read_rows
from benchmarks.paper.printed import read_printed
from benchmarks.paper.rules_arms import (
    opposite_energy_hurts,
    reinit_raises_hp_train,
    same_smoothing_removes,
    smoothing_reserves,
    strong_head_lowers_energy,
)
from benchmarks.paper.rules_sweep import (
    distance_falls,
    interior_beats_both,
    norm_and_dot_rise_then_fall,
    pretrained_kernel_drifts_less,
    swaps_show_blocks,
)
from benchmarks.paper.settings import PAPER_RESULTS
from benchmarks.paper.statistics import chosen_by_others, effect, paired
from benchmarks.paper.verdict import Verdict

Rows = list[dict[str, Any]]
TAUS = (0, 1, 8, 64, 512)
N_SEEDS = 5


def curve(name: str, values: tuple[float, ...], **more: tuple[float, ...]) -> Rows:
    """Rows of a sweep; seeds differ a little, so that intervals have a width."""
    columns = {name: values, **more}
    return [
        {"seed": seed, "tau": tau}
        | {column: each[i] * (1 + 0.001 * seed) for column, each in columns.items()}
        for seed in range(N_SEEDS)
        for i, tau in enumerate(TAUS)
    ]


def arms(column: str, values: dict[str, float], **more: float) -> Rows:
    return [
        {"seed": seed, "row": row, "head_arch": "mlp", column: value + 0.0001 * seed * (i + 1)}
        | more
        for seed in range(N_SEEDS)
        for i, (row, value) in enumerate(values.items())
    ]


def outcome(rule: Callable[[Rows], Verdict], rows: Rows) -> str:
    return rule(rows).outcome


def test_distance() -> None:
    falling = curve("feature_distance", (5.0, 6.0, 4.0, 3.0, 2.0))
    assert outcome(distance_falls, falling) == "holds"
    assert "-1.00" in distance_falls(falling).sentence  # from the maximum on
    rising = curve("feature_distance", (1.0, 2.0, 3.0, 4.0, 5.0))
    assert outcome(distance_falls, rising) == "does not hold"
    one_seed = [row for row in falling if row["seed"] == 0]
    assert outcome(distance_falls, one_seed) == "not testable"


def test_norm_and_dot() -> None:
    hump, falling = (5.0, 6.0, 7.0, 6.0, 4.0), (7.0, 6.0, 5.0, 4.0, 3.0)
    both = curve("feature_norm", hump, feature_dot=hump)
    assert outcome(norm_and_dot_rise_then_fall, both) == "holds"
    one = curve("feature_norm", hump, feature_dot=falling)
    verdict = norm_and_dot_rise_then_fall(one)
    assert verdict.outcome == "does not hold"
    assert "(dot rise)" in verdict.sentence


def test_interior() -> None:
    hump, falling = (0.8, 0.85, 0.9, 0.88, 0.82), (0.9, 0.88, 0.86, 0.84, 0.8)
    rows = curve("ft_valid_acc", hump, test_acc=hump)
    assert outcome(interior_beats_both, rows) == "holds"
    assert "(8)" in interior_beats_both(rows).sentence
    # chosen on valid, judged on test
    assert (
        outcome(interior_beats_both, curve("ft_valid_acc", hump, test_acc=falling))
        == "does not hold"
    )


def test_reserve() -> None:
    values = {table2.NONE: 0.002, table2.IN_HP: 0.095}
    good = arms("aie", values, aie_predicted=0.095, hp_train_acc=1.0)
    assert outcome(smoothing_reserves, good) == "holds"
    more = arms("aie", values, aie_predicted=0.05, hp_train_acc=1.0)
    assert outcome(smoothing_reserves, more) == "does not hold"
    slow = arms("aie", values, aie_predicted=0.095, hp_train_acc=0.9)
    assert outcome(smoothing_reserves, slow) == "not testable"


def test_energy_counts_where_finetuning_diverged() -> None:
    rows = arms("aie", {table2.WEAK: 0.5, table2.STRONG: 0.2}, hp_train_acc=0.9, test_acc=math.nan)
    assert strong_head_lowers_energy(rows).effect.n == N_SEEDS
    rows[0]["aie"] = math.nan  # probing diverged
    assert strong_head_lowers_energy(rows).effect.n == N_SEEDS - 1


@pytest.mark.parametrize(("left", "expected"), [(0.004, "holds"), (0.09, "does not hold")])
def test_removed(left: float, expected: str) -> None:
    values = {table2.IN_HP: 0.095, table2.IN_BOTH: left}
    rows = arms("aie_ft", values, feature_distance=1.0, hp_train_acc=1.0)
    assert outcome(same_smoothing_removes, rows) == expected
    slow = arms("aie_ft", values, feature_distance=1.0, hp_train_acc=0.5)
    assert outcome(same_smoothing_removes, slow) == "not testable"


@pytest.mark.parametrize(("score", "expected"), [(0.8, "holds"), (0.92, "does not hold")])
def test_opposite(score: float, expected: str) -> None:
    values = {table2.NONE: 0.9, table2.IN_BOTH: 0.9, table2.IN_FT: score}
    assert outcome(opposite_energy_hurts, arms("test_acc", values)) == expected


def test_strong_head() -> None:
    rows = arms("aie", {table2.WEAK: 0.5, table2.STRONG: 0.2}, hp_train_acc=0.9)
    assert outcome(strong_head_lowers_energy, rows) == "holds"
    rows = arms("aie", {table2.WEAK: 0.2, table2.STRONG: 0.5}, hp_train_acc=0.9)
    assert outcome(strong_head_lowers_energy, rows) == "does not hold"
    rows = arms("aie", {table2.NONE: 0.2}, hp_train_acc=0.9)
    assert outcome(strong_head_lowers_energy, rows) == "not testable"


@pytest.mark.parametrize(
    ("base", "first", "expected"),
    [(0.8, 0.9, "holds"), (0.8, 0.7, "does not hold"), (0.9995, 1.0, "not testable")],
)
def test_reinit(base: float, first: float, expected: str) -> None:
    rows = arms(
        "hp_train_acc", {table3.BASE: base, table3.reinit(1): first, table3.reinit(2): 0.99}
    )
    for row in rows:
        row["reinit_depth"] = {table3.BASE: 0, table3.reinit(1): 1}.get(row["row"], 2)
    assert outcome(reinit_raises_hp_train, rows) == expected


def test_kernel() -> None:
    drift = {RANDOM: 2.0, pretrained(0): 0.5, pretrained(64): 0.1}
    rows = arms("relative_from_start", drift, epoch=3, from_start=1.0, ft_train_acc=1.0)
    assert outcome(pretrained_kernel_drifts_less, rows) == "holds"
    drift[pretrained(0)] = 3.0
    rows = arms("relative_from_start", drift, epoch=3, from_start=1.0, ft_train_acc=1.0)
    verdict = pretrained_kernel_drifts_less(rows)
    assert verdict.outcome == "does not hold"
    assert verdict.effect.mean == pytest.approx(-1.0, abs=0.01)


@pytest.mark.parametrize(("strange", "expected"), [(0.3, "holds"), (0.9, "does not hold")])
def test_swap(strange: float, expected: str) -> None:
    rows = [
        {"seed": seed, "backbone_tau": b, "head_tau": h}
        | {"valid": (0.9 if b == h or b > 1 else strange) + 0.001 * seed}
        for seed in range(N_SEEDS)
        for b in TAUS
        for h in TAUS
    ]
    assert outcome(swaps_show_blocks, rows) == expected


def test_a_tau_is_chosen_by_the_other_seeds() -> None:
    scores = {(0, 1): 0.9, (0, 8): 0.1, (1, 1): 0.2, (1, 8): 0.8, (2, 1): 0.2, (2, 8): 0.8}
    rows = [{"seed": s, "tau": t, "score": v} for (s, t), v in scores.items()]
    assert chosen_by_others(rows, (1, 8), "score") == {0: 8, 1: 1, 2: 1}


def test_effects_pair_the_seeds_that_both_have() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.0, 1: 1.5})
    assert (found.mean, found.n) == (0.75, 2)
    assert effect([1.0, math.nan]).n == 1


def test_a_missing_experiment_and_diverged_runs_are_told(tmp_path: Path) -> None:
    claim = CLAIMS[0]
    path = tmp_path / "rows.csv"
    assert judge(claim, path).outcome == "not testable"
    rows = [{**row, "failure": ""} for row in curve("feature_distance", (5.0, 4.0, 3.0, 2.0, 1.0))]
    rows[0]["failure"] = "Finetuning diverged"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    verdict = judge(claim, path)
    assert (verdict.outcome, verdict.effect.n) == ("holds", N_SEEDS - 1)
    assert "1 of 5 seeds" in verdict.sentence


def test_there_are_ten_claims() -> None:
    assert len({claim.key for claim in CLAIMS}) == 10


@pytest.mark.parametrize(
    ("name", "n_rows"),
    [
        ("table1_hpft", 10),
        ("table2_tricks", 12),
        ("table3_partial_backbone", 12),
        ("table4_datasets", 13),
        ("tables5to8_capacity", 4 * 42),
    ],
)
def test_printed_tables_are_complete(name: str, n_rows: int) -> None:
    rows = read_printed(name)
    assert len(rows) == n_rows
    if name != "table4_datasets":
        assert all(value != "" for row in rows for value in row.values())


def test_table_3_is_part_of_table_8() -> None:
    capacity = {
        (row["domain"], row["row"]): row["value"]
        for row in read_printed("tables5to8_capacity")
        if row["table"] == 8
    }
    for row in read_printed("table3_partial_backbone"):
        layer = "linear" if row["setting"] == "baseline" else row["setting"]
        for metric in ("hp_train_acc", "ft_val_acc"):
            assert capacity[row["domain"], f"{layer} {metric}"] == row[metric]


@pytest.mark.parametrize("path", sorted(PAPER_RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_committed_results_can_be_read(path: Path) -> None:
    rows = read_rows(path)
    assert rows
    assert all(None not in row for row in rows)


def test_the_readme_has_the_committed_table() -> None:
    readme, committed = README.read_text(), PAPER_RESULTS / "claims.csv"
    assert readme == with_table(readme, markdown(read_claims(committed)))
    assert END in readme
