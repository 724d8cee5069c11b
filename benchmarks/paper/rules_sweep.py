"""Decision rules for claims about the tau sweep, exchanged parts and the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.paper import fig3_swap, fig6_kernel
from benchmarks.paper.statistics import (
    Effect,
    Row,
    by_seed,
    chosen_by_others,
    effect,
    mean_of,
    paired,
    select,
    spearman,
)
from benchmarks.paper.verdict import Verdict, decide, points

MONOTONE = -0.5
"""Bound of the mean rank correlation below which a fall counts as a trend."""


def distance_falls(rows: Sequence[Row]) -> Verdict:
    """Rank correlation of tau and distance over all taus; beside it from its maximum on."""
    everywhere, after = [], []
    for seed in sorted({int(row["seed"]) for row in rows}):
        curve = _by_tau(rows, seed, "feature_distance")
        everywhere.append(spearman(list(curve), list(curve.values())))
        top = max(curve, key=lambda tau: curve[tau])
        rest = {tau: value for tau, value in curve.items() if tau >= top}
        after.append(spearman(list(rest), list(rest.values())))
    found = effect(everywhere)
    sentence = (
        "Mean over seeds of Spearman(tau, ||z_T - z_0||) over all taus; from each seed's maximum "
        f"on it is {effect(after).text()}."
    )
    return decide(holds=found.high < MONOTONE, found=found, unit="Spearman", sentence=sentence)


def norm_and_dot_rise_then_fall(rows: Sequence[Row]) -> Verdict:
    """The interior tau of the maximum, chosen by the other seeds, against both ends."""
    taus = sorted({int(row["tau"]) for row in rows})
    found: dict[str, Effect] = {}
    shares = {}
    for name in ("feature_norm", "feature_dot"):
        tops = chosen_by_others(rows, taus[1:-1], name)
        curves = {seed: _by_tau(rows, seed, name) for seed in tops}
        for end, side in ((taus[0], "rise"), (taus[-1], "fall")):
            gains = [
                curves[seed][top] / curves[seed][end] - 1.0
                for seed, top in tops.items()
                if curves[seed][end] > 0
            ]
            found[f"{name.removeprefix('feature_')} {side}"] = effect(gains)
        inside = [max(c, key=lambda tau, c=c: c[tau]) in taus[1:-1] for c in curves.values()]
        shares[name.removeprefix("feature_")] = sum(inside)
    weakest = min(found, key=lambda name: found[name].low)
    n_seeds = found[weakest].n
    told = ", ".join(
        f"{name} {value.text(1, scale=100, sign=True)} %" for name, value in found.items()
    )
    sentence = (
        f"Interior maximum, at a tau chosen by the other seeds, over each end: {told}; the effect "
        f"is the weakest of the four ({weakest}). Own maximum inside for {shares['norm']} (norm) "
        f"and {shares['dot']} (dot) of {n_seeds} seeds."
    )
    holds = all(value.above_zero for value in found.values())
    return decide(holds=holds, found=points(found[weakest]), unit="%", sentence=sentence)


def interior_beats_both(rows: Sequence[Row]) -> Verdict:
    """Test score of the interior tau that the other seeds chose on valid, against both ends."""
    taus = sorted({int(row["tau"]) for row in rows})
    chosen = chosen_by_others(rows, taus[1:-1], "ft_valid_acc")
    gains: dict[tuple[str, int], Effect] = {}
    for name in ("test_acc", "ft_valid_acc"):
        curves = {seed: _by_tau(rows, seed, name) for seed in chosen}
        at_chosen = {seed: curves[seed][tau] for seed, tau in chosen.items()}
        for end in (taus[0], taus[-1]):
            gains[name, end] = paired(at_chosen, {seed: curves[seed][end] for seed in chosen})
    on_test = {end: gains["test_acc", end] for end in (taus[0], taus[-1])}
    weakest = min(on_test, key=lambda end: on_test[end].low)
    told = "; ".join(
        f"over tau = {end}: test {on_test[end].text(scale=100, sign=True)}, valid "
        f"{gains['ft_valid_acc', end].text(scale=100, sign=True)}"
        for end in on_test
    )
    sentence = (
        f"Interior tau ({_listed(chosen.values())}) chosen by the other seeds' validation, {told} "
        f"points; the effect is the weaker one on test (tau = {weakest})."
    )
    holds = all(value.above_zero for value in on_test.values())
    return decide(holds=holds, found=points(on_test[weakest]), unit="points", sentence=sentence)


def swaps_show_blocks(rows: Sequence[Row]) -> Verdict:
    """What a foreign head costs a small-tau backbone, less what it costs among large taus."""
    costs = fig3_swap.drops(list(rows), "valid")
    found = paired(costs["strong"], costs["large"])
    every, strong, large = (effect(costs[name].values()) for name in ("all", "strong", "large"))
    sentence = (
        f"Drop of the valid score by a foreign head: all exchanges {every.text(scale=100)}, "
        f"backbones of the two smallest taus {strong.text(scale=100)}, among the three largest "
        f"taus {large.text(scale=100)} points; the effect is the difference of the last two."
    )
    holds = every.above_zero and found.above_zero
    return decide(holds=holds, found=points(found), unit="points", sentence=sentence)


def pretrained_kernel_drifts_less(rows: Sequence[Row]) -> Verdict:
    """Relative drift of a random backbone's kernel by the last epoch, less a pretrained one's."""
    last = max(int(row["epoch"]) for row in rows)
    end = select(rows, epoch=last)
    names = list(dict.fromkeys(str(row["row"]) for row in end))
    random_rows = select(end, row=fig6_kernel.RANDOM)
    gaps, absolute = {}, {}
    for name in names:
        if name == fig6_kernel.RANDOM:
            continue
        own = select(end, row=name)
        for metric, into in (("relative_from_start", gaps), ("from_start", absolute)):
            into[name] = paired(by_seed(random_rows, metric), by_seed(own, metric))
    weakest = min(gaps, key=lambda name: gaps[name].low)
    trained = mean_of(random_rows, "ft_train_acc")
    told = "; ".join(
        f"{name}: {gaps[name].text(2, sign=True)} "
        f"(not relative {absolute[name].text(1, sign=True)})"
        for name in gaps
    )
    sentence = (
        "||kappa_T - kappa_0|| over ||kappa_0|| of a random backbone less a pretrained one's, "
        f"{told}; the effect is the weakest. The random backbone's training score ends at "
        f"{100 * trained:.0f} %."
    )
    holds = all(value.above_zero for value in gaps.values())
    return decide(holds=holds, found=gaps[weakest], unit="relative drift", sentence=sentence)


def _by_tau(rows: Sequence[Row], seed: int, name: str) -> dict[int, float]:
    own = select(rows, seed=seed)
    return {int(row["tau"]): float(row[name]) for row in sorted(own, key=lambda row: row["tau"])}


def _listed(taus: Iterable[int]) -> str:
    return ", ".join(str(tau) for tau in sorted(set(taus)))
