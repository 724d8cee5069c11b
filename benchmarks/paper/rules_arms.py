"""Decision rules for claims about smoothing, stronger heads and reinitialised blocks."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.paper import table2, table3
from benchmarks.paper.statistics import Row, by_seed, effect, mean_of, paired, select
from benchmarks.paper.verdict import (
    CONVERGED,
    Verdict,
    decide,
    not_converged,
    points,
    untestable,
)

RESERVE_TOLERANCE = 0.1
"""Largest relative error of the predicted energy."""
REMOVED = 0.5
"""Share of the reserved energy that smoothing in both stages has to remove."""


def smoothing_reserves(rows: Sequence[Row]) -> Verdict:
    """Relative error of the predicted energy of a head that was probed with smoothed targets."""
    own = select(rows, row=table2.IN_HP)
    if (problem := not_converged(own)) is not None:
        plain = mean_of(select(rows, row=table2.NONE), "aie")
        gain = paired(by_seed(own, "aie"), by_seed(select(rows, row=table2.NONE), "aie"))
        return untestable(
            f"{problem} So energy is left without smoothing as well ({plain:.3f}); smoothing "
            f"changes it by {gain.text(3, sign=True)}."
        )
    errors = {int(r["seed"]): float(r["aie"]) / float(r["aie_predicted"]) - 1.0 for r in own}
    found = effect(errors.values())
    predicted = mean_of(own, "aie_predicted")
    measured = effect(float(row["aie"]) for row in own)
    sentence = f"AIE {measured.text(4)} against a predicted {predicted:.4f}; relative error."
    holds = max(abs(found.low), abs(found.high)) < RESERVE_TOLERANCE
    return decide(holds=holds, found=points(found), unit="%", sentence=sentence)


def same_smoothing_removes(rows: Sequence[Row]) -> Verdict:
    """Share of lsHP's energy that is gone when finetuning smooths its targets as well."""
    own, lone = select(rows, row=table2.IN_BOTH), select(rows, row=table2.IN_HP)
    if (problem := not_converged(own)) is not None:
        change = paired(by_seed(own, "aie_ft"), by_seed(lone, "aie_ft"))
        return untestable(
            f"{problem} Smoothing in FT as well changes the energy by {change.text(3, sign=True)}."
        )
    both, alone = by_seed(own, "aie_ft"), by_seed(lone, "aie_ft")
    found = effect(1.0 - both[seed] / alone[seed] for seed in sorted(both.keys() & alone.keys()))
    moved = paired(by_seed(own, "feature_distance"), by_seed(lone, "feature_distance"))
    sentence = (
        f"Share of the energy of smoothing in HP alone that is gone, of which more than "
        f"{REMOVED:.0%} counts; the features then move by {moved.text(3, sign=True)}."
    )
    return decide(holds=found.low > REMOVED, found=points(found), unit="%", sentence=sentence)


def opposite_energy_hurts(rows: Sequence[Row]) -> Verdict:
    """Test score with smoothing in FT only, against smoothing in both stages."""
    alone, both = select(rows, row=table2.IN_FT), select(rows, row=table2.IN_BOTH)
    found = paired(by_seed(alone, "test_acc"), by_seed(both, "test_acc"))
    plain = paired(by_seed(alone, "test_acc"), by_seed(select(rows, row=table2.NONE), "test_acc"))
    sentence = (
        "Test score with smoothing in FT only less that with smoothing in both; against no "
        f"smoothing {plain.text(scale=100, sign=True)} points."
    )
    return decide(holds=found.below_zero, found=points(found), unit="points", sentence=sentence)


def strong_head_lowers_energy(rows: Sequence[Row]) -> Verdict:
    """AIE at tau_max with the stronger head, less that of the linear head."""
    strong, weak = select(rows, row=table2.STRONG), select(rows, row=table2.WEAK)
    if not strong:
        return untestable("The task's space has one head only.")
    found = paired(by_seed(strong, "aie"), by_seed(weak, "aie"))
    scores = [mean_of(own, "hp_train_acc") for own in (weak, strong)]
    sentence = (
        f"AIE at tau_max with the {strong[0]['head_arch']} head less that with the linear one; "
        f"HP-train score {100 * scores[0]:.1f} and {100 * scores[1]:.1f} %."
    )
    return decide(holds=found.below_zero, found=found, unit="AIE", sentence=sentence)


def reinit_raises_hp_train(rows: Sequence[Row]) -> Verdict:
    """HP-train-acc at tau_max of each depth less that of depth 0; the weakest depth decides."""
    base = by_seed(select(rows, row=table3.BASE), "hp_train_acc")
    depths = sorted({int(row["reinit_depth"]) for row in rows} - {0})
    if not depths:
        return untestable("The backbone can't be cut.")
    plain = mean_of(select(rows, row=table3.BASE), "hp_train_acc")
    if plain >= CONVERGED:
        return untestable(f"HP-train score is {100 * plain:.1f} % with no block reinitialised.")
    found = {
        depth: paired(by_seed(select(rows, row=table3.reinit(depth)), "hp_train_acc"), base)
        for depth in depths
    }
    weakest = min(found, key=lambda depth: found[depth].low)
    told = ", ".join(f"{d}: {v.text(1, scale=100, sign=True)}" for d, v in found.items())
    sentence = (
        f"HP-train score by depth less the {100 * plain:.1f} % of depth 0: {told}; "
        f"the effect is the weakest (depth {weakest})."
    )
    holds = all(value.above_zero for value in found.values())
    return decide(holds=holds, found=points(found[weakest]), unit="points", sentence=sentence)
