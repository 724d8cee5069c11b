"""Every rule of the guide: a map that fires it, and a near one that does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from energytune.science.guide import RULES, Finding, GuideContext, HeadCurve, diagnose
from tests.science.guide_maps import CONTEXT, QUIET, curve

FULL = {
    "train_acc": (0.1, 0.6, 0.85, 0.85, 0.88, 0.97, 1.0, 1.0),
    "aie": (0.95, 0.8, 0.6, 0.5, 0.4, 0.3, 0.1, 0.05),
}
FAST = {"train_acc": (0.1, 0.6, 0.8, 0.92, 0.95, 0.96, 0.97, 0.97)}
SMOOTH = (0.95, 0.8, 0.6, 0.4, 0.2, 0.097, 0.095, 0.095)  # reserve of eps = 0.1: 0.0949
WEAK = {
    "train_acc": (0.1, 0.2, 0.3, 0.4, 0.42, 0.44, 0.445, 0.45),
    "aie": (0.95, 0.9, 0.87, 0.85, 0.83, 0.81, 0.8, 0.8),
}
STUCK = {**WEAK, "head_arch": "mlp", "train_acc": (0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.75)}
OVERFIT = {"valid_acc": (0.1, 0.3, 0.5, 0.6, 0.70, 0.69, 0.68, 0.66)}

# rule -> (map that fires it, maps that do not, what the phenomenon must say)
CASES: dict[str, tuple[list[HeadCurve], list[list[HeadCurve]], tuple[str, ...]]] = {
    "at-chance": (
        [curve(train_acc=0.15)],
        [[curve(train_acc=0.15), curve(head_arch="mlp", train_acc=0.25)]],
        ("15.0 %", "10.0 % +- 3.0 %", "100 samples"),
    ),
    "unstable-probing": (
        [
            curve(
                lr=0.3,
                train_acc=(0.1, 0.3, 0.25, 0.4, 0.5, 0.6, 0.5, 0.7),
                aie=(0.95, 0.8, 0.9, 0.7, 0.6, 0.4, 0.52, 0.3),
            )
        ],
        # One jump; and a smoothed head that goes back up to its reserve.
        [
            [
                curve(
                    train_acc=(0.1, 0.3, 0.25, 0.4, 0.5, 0.6, 0.7, 0.7),
                    aie=(0.95, 0.8, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3),
                )
            ],
            [curve(label_smoothing=0.2, aie=(0.95, 0.4, 0.1, 0.16, 0.1, 0.16, 0.19, 0.19))],
        ],
        ("0.400 to 0.520", "tau 16 and 32", "2 times", "60.0 % to 50.0 %"),
    ),
    "far-start": (
        [curve(aie=(1.2, *QUIET.aie[1:]))],
        [[curve(aie=(1.0, *QUIET.aie[1:]))]],
        ("1.200", "10 classes", "0.949"),
    ),
    "growing-norm": (
        [
            curve(
                head_norm=(2.0, 2.0, 2.1, 2.2, 2.3, 2.4, 5.0, 10.0),
                valid_loss=(2.3, 1.9, 1.6, 1.3, 1.1, 1.0, 1.5, 2.4),
            )
        ],
        [
            [curve(head_norm=(2.0, 2.0, 2.1, 2.2, 2.3, 2.4, 5.0, 10.0))],
            [curve(valid_loss=(2.3, 1.9, 1.6, 1.3, 1.1, 1.0, 1.5, 2.4))],
            # Growth from the random head is learning.
            [curve(train_acc=0.5, head_norm=(1.0, *[2.0] * 7), valid_loss=(0.5, *[1.0] * 7))],
        ],
        ("tau 32 to 64", "85.0 %", "2.0-fold (5 to 10)", "1.6-fold (1.5 to 2.4)"),
    ),
    "unconverged": (
        [curve(train_acc=(*QUIET.train_acc[:-1], 0.90), aie=(*QUIET.aie[:-1], 0.22))],
        [
            [curve(train_acc=(*QUIET.train_acc[:-1], 0.90), converged_epoch=64)],
            [curve(**FULL)],
        ],
        ("tau 32 to 64", "85.0 % to 90.0 %", "0.310 to 0.220"),
    ),
    "sweep-tau": (
        [QUIET],
        [[curve(aie=(0.95, *[0.91] * 7))], [curve(head_arch="mlp")]],
        ("0.950 at tau 0", "0.300 at tau 64", "10.0 % to 85.0 %"),
    ),
    "spent-energy": (
        [curve(**FULL)],
        [[curve(**FULL, label_smoothing=0.1)], [QUIET]],
        ("100.0 %", "tau 32", "0.100 there", "0.050 at tau 64"),
    ),
    "at-floor": (
        [curve(label_smoothing=0.1, aie=SMOOTH)],
        [[curve(label_smoothing=0.2, aie=SMOOTH)], [curve(aie=(*QUIET.aie[:-1], 0.001))]],
        ("0.097 at tau 16", "0.095 at tau 64", "0.1 * sqrt((K-1)/K) = 0.095"),
    ),
    "fast-probing": (
        [curve(**FAST)],
        [[curve(train_acc=(0.1, 0.6, 0.8, 0.85, 0.89, 0.96, 0.97, 0.97))]],
        ("92.0 % at tau 4", "0.950 to 0.620"),
    ),
    "weak-linear-head": (
        [curve(**WEAK)],
        [
            [curve(**WEAK | {"head_arch": "mlp"})],
            [curve(**WEAK | {"train_acc": (*WEAK["train_acc"][:-1], 0.50)})],  # still learns
            [QUIET],
        ],
        ("stands still at 45.0 %", "below 55.0 %", "0.800 at tau 64"),
    ),
    "growing-pull": (
        [curve(pull_norm=(0.5, 0.6, 0.7, 0.9, 1.1, 1.3, 1.4, 1.5))],
        [[curve(pull_norm=(0.5, 0.6, 0.7, 0.9, 1.1, 1.3, 1.4, 1.5), aie=0.9)], [QUIET]],
        ("0.950 to 0.300", "3.0-fold (0.5 to 1.5)"),
    ),
    "overfitting-head": (
        [curve(**OVERFIT)],
        [
            [curve(valid_acc=(0.1, 0.3, 0.5, 0.6, 0.68, 0.68, 0.67, 0.66))],
            [curve(**OVERFIT, train_acc=(0.1, 0.3, 0.5, 0.7, 0.85, 0.85, 0.85, 0.85))],
        ],
        ("70.0 % at tau 8", "66.0 % at tau 64", "70.0 % to 85.0 %"),
    ),
    "low-level-features": (
        [curve(**WEAK), curve(**STUCK)],
        [
            [curve(**WEAK)],
            [curve(**WEAK), curve(**STUCK | {"train_acc": QUIET.train_acc})],
            [curve(**WEAK), curve(**STUCK, reinit_depth=1)],
            [curve(**WEAK), curve(**STUCK | {"aie": (*WEAK["aie"][:-1], 0.7)})],  # still learns
        ],
        ("45.0 % with a linear", "75.0 % with an MLP", "below 80.0 %"),
    ),
}


def fired(rule: str, curves: list[HeadCurve], context: GuideContext = CONTEXT) -> Finding | None:
    return {finding.rule: finding for finding in diagnose(curves, context)}.get(rule)


def test_every_rule_has_a_case() -> None:
    assert list(CASES) == list(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fires_with_the_measured_numbers(rule: str) -> None:
    finding = fired(rule, CASES[rule][0])
    assert finding is not None
    for said in CASES[rule][2]:
        assert said in finding.phenomenon


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_silent_on_near_maps(rule: str) -> None:
    for curves in CASES[rule][1]:
        assert fired(rule, curves) is None


def test_a_quiet_map_only_says_where_to_start() -> None:
    assert [finding.rule for finding in diagnose([QUIET], CONTEXT)] == ["sweep-tau"]


def test_the_sweep_names_taus_that_cut_the_energy_evenly() -> None:
    finding = fired("sweep-tau", [QUIET])
    assert finding is not None
    # 0.95 to 0.30 in four steps of 0.1625: nearest are 0.95, 0.75, 0.62, 0.50 and 0.30.
    assert "Taus 0, 2, 4, 8 and 64 " in finding.advice


def test_spent_energy_starts_from_the_tau_that_leaves_half() -> None:
    finding = fired("spent-energy", [curve(**FULL)])
    assert finding is not None
    assert "{low: 1, high: 32}" in finding.advice
    assert "--fix tau=4 " in finding.command  # 0.5 is nearest to 0.95 / 2


def test_spent_in_the_first_epoch_leaves_tau_1() -> None:
    spent = curve(train_acc=(0.1, *[1.0] * 7), aie=(0.95, *[0.1] * 7))
    finding = fired("spent-energy", [spent])
    assert finding is not None
    assert "--fix tau=1 " in finding.command


def test_fast_probing_names_the_reserve_of_the_smallest_probed_smoothing() -> None:
    finding = fired("fast-probing", [curve(**FAST)])
    assert finding is not None
    assert "AIE 0.095 stays" in finding.advice  # 0.1 * sqrt(9 / 10)
    probed = [curve(**FAST), curve(label_smoothing=0.3), curve(label_smoothing=0.2)]
    finding = fired("fast-probing", probed)
    assert finding is not None
    assert f"AIE {0.2 * math.sqrt(0.9):.3f} stays" in finding.advice
    assert "--fix label_smoothing=0.2" in finding.command


def test_a_weak_linear_head_shows_what_an_mlp_reaches() -> None:
    finding = fired("weak-linear-head", [curve(**WEAK), curve(head_arch="mlp")])
    assert finding is not None
    assert "mlp reaches 85.0 %" in finding.phenomenon
    assert "--fix head_arch=mlp" in finding.command
    assert "Not with a small tau" in finding.advice


def test_of_two_classes_half_of_the_samples_is_chance_and_not_weak() -> None:
    two = replace(CONTEXT, n_classes=2)
    seventy = curve(train_acc=(0.5, 0.6, 0.65, 0.68, 0.69, 0.69, 0.70, 0.70), aie=0.6)
    finding = fired("weak-linear-head", [seventy], two)
    assert finding is not None
    assert "below 75.0 %" in finding.phenomenon


def test_depth_is_offered_only_where_the_backbone_can_be_cut() -> None:
    curves = CASES["low-level-features"][0]
    finding = fired("low-level-features", curves, replace(CONTEXT, max_reinit_depth=8))
    assert finding is not None
    assert "depth 1, 2 and 3" in finding.advice
    assert fired("low-level-features", curves, replace(CONTEXT, max_reinit_depth=0)) is None


def test_a_head_that_is_not_finite_is_unstable_and_no_other_rule_reads_it() -> None:
    broken = curve(lr=0.3, aie=(*QUIET.aie[:-1], math.nan), train_acc=0.0)
    findings = diagnose([broken], CONTEXT)
    assert [finding.rule for finding in findings] == ["unstable-probing"]
    assert (findings[0].confidence, findings[0].phenomenon) == ("high", "Probing diverged: linear.")
    assert "--lr 0.1" in findings[0].command


def test_a_head_that_failed_is_unstable_and_says_why() -> None:
    reason = "Head probing diverged at epoch 3. Lower probe.lr."
    nothing = dict.fromkeys(("epochs", "train_acc", "valid_acc", "valid_loss", "aie"), ())
    failed = curve(**nothing, head_norm=(), pull_norm=(), failure=reason, lr=1.0)
    found = {finding.rule: finding for finding in diagnose([failed, QUIET], CONTEXT)}
    assert list(found) == ["unstable-probing", "sweep-tau"]
    assert found["unstable-probing"].phenomenon == f"Probing diverged: linear lr=1. {reason}"
    assert "--lr 0.3" in found["unstable-probing"].command


def test_chance_tells_converged_heads_from_short_ones() -> None:
    assert fired("at-chance", [curve(train_acc=0.1, aie=0.95)]).confidence == "high"
    moving = curve(train_acc=0.1, aie=(*QUIET.aie[:-1], 0.2))
    assert fired("at-chance", [moving]).confidence == "medium"
    short = {"epochs": (0, 8), "aie": (0.95, 0.9), "train_acc": 0.1}
    rest = dict.fromkeys(("valid_acc", "valid_loss", "head_norm", "pull_norm"), (1.0, 1.0))
    assert fired("at-chance", [curve(**short, **rest)]) is None


def test_the_floor_without_smoothing_is_0() -> None:
    finding = fired("at-floor", [curve(aie=(0.95, 0.5, 0.2, 0.1, 0.01, 0.004, 0.002, 0.001))])
    assert finding is not None
    assert "its floor is 0." in finding.phenomenon
    assert "--fix tau=16 " in finding.command


def test_multi_label_maps_know_no_softmax_formula() -> None:
    labels = replace(CONTEXT, n_classes=12, metric="roc_auc")
    assert fired("far-start", [curve(aie=(2.0, *QUIET.aie[1:]))], labels) is None
    assert fired("at-floor", [curve(label_smoothing=0.1, aie=SMOOTH)], labels) is None
    finding = fired("at-chance", [curve(train_acc=0.52)], labels)
    assert finding is not None
    assert "HP-train-ROC-AUC 52.0 %" in finding.phenomenon
    fast = fired("fast-probing", [curve(**FAST)], labels)
    assert fast is not None
    assert "stays" not in fast.advice
