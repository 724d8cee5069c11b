"""The rules as array operations decide what the same rules decide trial by trial."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from energytune.optimizer.energy_rules import Tolerances, collapsed, redundant
from energytune.optimizer.probed import Probed
from tests.optimizer.test_energy_rules import complete, probed, unfinished


def redundant_with(one: Probed, others: list[Probed], tol: Tolerances) -> int | None:
    """The rule once more, trial by trial: the number of the trial that ``one`` repeats."""

    def near(a: float | None, b: float | None, tolerance: float) -> bool:
        return None not in (a, b) and abs(a - b) <= tolerance * (1 + 1e-9)  # type: ignore[operator]

    def alike(a: Any, b: Any) -> bool:
        return near(a.get("train_acc"), b.get("train_acc"), tol.train_acc) and near(
            a.get("aie"), b.get("aie"), tol.aie
        )

    def settled(p: Probed) -> bool:
        before = [s for s in p.snapshots if 0 < s["epoch"] <= p.last["epoch"] / 2]
        eps = p.label_smoothing or 0.0
        return bool(before) and alike(p.last, before[-1]) and p.last["aie"] <= eps + tol.aie

    for other in sorted(others, key=lambda p: p.number):
        rates = (one.ft_lr, other.ft_lr)
        if one.kind != other.kind or (None in rates and rates != (None, None)):
            continue
        if None not in rates and max(rates) / min(rates) > tol.lr_ratio * (1 + 1e-9):  # type: ignore[type-var,operator]
            continue
        if not all({"train_acc", "aie"} <= set(p.last) for p in (one, other)):
            continue
        shorter = one if one.tau <= other.tau else other  # type: ignore[operator]
        if alike(one.last, other.last) or (
            one.label_smoothing == other.label_smoothing and settled(shorter)
        ):
            return other.number
    return None


@st.composite
def any_probed(draw: st.DrawFn) -> Probed:
    n = draw(st.integers(1, 3))
    levels = st.sampled_from([0.0, 0.001, 0.004, 0.0061, 0.101, 0.104, 0.5])
    return probed(
        aie=tuple(draw(levels) for _ in range(n)),
        acc=tuple(1 - draw(levels) for _ in range(n)),
        without=tuple(draw(st.lists(st.sampled_from(["aie", "train_acc"]), max_size=1))),
        tau=draw(st.sampled_from([8, 16, 64])),
        head_arch=draw(st.sampled_from(["linear", "mlp"])),
        label_smoothing=draw(st.sampled_from([None, 0.0, 0.1])),
        ft_lr=draw(st.sampled_from([None, 0.01, 0.0105, 0.02])),
    )


@given(st.lists(any_probed(), min_size=1, max_size=12), st.randoms())
def test_redundancy_is_the_rule_trial_by_trial(drawn: list[Probed], rng: random.Random) -> None:
    one, *others = (replace(p, number=i) for i, p in enumerate(drawn))
    rng.shuffle(others)
    expected = redundant_with(one, others, Tolerances())
    reason = redundant(one, complete(*others))
    found = re.search(r"(?:starts like|finetuned in) trial (\d+) ", reason or "")
    assert (int(found[1]) if found else None) == expected
    assert (reason is None) == (expected is None)


@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=25),
    st.integers(1, 12),
)
def test_collapse_is_two_ranks(pairs: list[tuple[float, float]], n_least: int) -> None:
    (norm, loss), *rest = pairs
    others = [probed(i, norm=a, loss=b) for i, (a, b) in enumerate(rest, start=1)]
    expected = len(rest) >= n_least and all(
        sum(pair[k] < own for pair in rest) >= 0.9 * len(rest) for k, own in ((0, norm), (1, loss))
    )
    judged = collapsed(probed(0, norm=norm, loss=loss), unfinished(others), n_least)
    assert (judged is not None) == expected
