"""What else an energy map shows, from our own measurements and the formulas of energy."""

from __future__ import annotations

from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.finding import Finding, GuideContext, probe_command, search_command
from energytune.science.guide.head_map import HeadMap
from energytune.science.guide.words import percent

__all__ = ["at_floor", "growing_pull", "overfitting_head", "unconverged"]

_FULL_ACC = 0.995
"""A head at 100 % goes on for ever by scaling itself up; that is no reason to probe longer."""

_LONGER = 4
_LARGEST_TAU = 1_000_000
"""The largest tau that a search space takes."""

_STEADY_LR = 0.1
"""Rates below it probe in a way that rounding does not change."""

_FLOOR_AIE = 0.005
"""AIE that differs by no more is equal: the pruner's tolerance, the scale of seed noise."""

_AIE_FALL = 0.8
_PULL_RISE = 1.2
"""Changes that are neither seed noise (0.01 in AIE) nor one noisy snapshot."""

_VALID_FALL = 0.03
"""One and a half standard errors of an accuracy of 80 % on 400 validation images."""

_TRAIN_RISE = 0.01


def unconverged(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Heads that still move at the last tau: the map ends too early."""
    hits = heads.hits(_last_octave)
    if not hits:
        return None
    curve, i = hits[0].curve, hits[0].found
    longer = min(_LONGER * max(context.tau_max, 1), _LARGEST_TAU)
    higher = float(f"{3 * curve.lr:.1g}")
    faster = f" Or raise the rate to {higher:g}." if higher < _STEADY_LR else ""
    return Finding(
        rule="unconverged",
        phenomenon=(
            f"{heads.subject(hits[0])}: from tau {curve.epochs[i]} to {curve.tau_max} "
            f"{context.train_score} still goes from {percent(curve.train_acc[i])} to "
            f"{percent(curve.train_acc[-1])} and energy left (AIE) from {curve.aie[i]:.3f} to "
            f"{curve.aie[-1]:.3f}.{heads.likewise(hits[1:])}"
        ),
        hypothesis=(
            "The map ends before probing has: smaller energies than it shows can be reached, and "
            "the baseline with the largest tau is not probing to convergence."
        ),
        advice=f"Probe up to tau {longer}.{faster}",
        command=probe_command(context, [("head", curve.head_arch), ("tau-max", longer)]),
        source="measured: the map's last octave of tau",
        confidence="high",
    )


def _last_octave(curve: HeadCurve) -> int | None:
    """Returns the index where the last octave begins, if the head still moves in it."""
    if curve.stands_still() or curve.train_acc[-1] >= _FULL_ACC:
        return None
    return curve.half_way()


def at_floor(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Energy has reached its floor: all larger taus are one recipe."""

    def floor_since(curve: HeadCurve) -> int | None:
        floor = context.floor(curve.label_smoothing)
        if floor is None:
            return None
        away = [i for i, aie in enumerate(curve.aie) if abs(aie - floor) > _FLOOR_AIE]
        since = away[-1] + 1 if away else 0
        # An octave of tau on the floor, so that a crossing does not count.
        there = since < len(curve.epochs) and curve.tau_max >= 2 * curve.epochs[since] > 0
        return since if there else None

    hits = heads.hits(floor_since)
    if not hits:
        return None
    curve, i = hits[0].curve, hits[0].found
    tau, eps = curve.epochs[i], curve.label_smoothing
    floor = context.floor(eps) or 0.0
    which = f"the reserve {eps:g} * sqrt((K-1)/K) = {floor:.3f}" if eps else "0"
    return Finding(
        rule="at-floor",
        phenomenon=(
            f"{heads.subject(hits[0])}: energy left (AIE) is {curve.aie[i]:.3f} at tau {tau} and "
            f"{curve.aie[-1]:.3f} at tau {curve.tau_max}; its floor is {which}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=f"All taus from {tau} on leave the same energy: they are one recipe.",
        advice=(
            f"Finetune one of them, the shortest. Other energies need a smaller tau or another "
            f"smoothing.{heads.rate_note(curve)}"
        ),
        command=search_command(
            context,
            tau=tau,
            head_arch=curve.head_arch,
            label_smoothing=eps,
            reinit_depth=curve.reinit_depth,
        ),
        source="Ren et al. 2023, section 5.3 (reserved energy)",
        confidence="high",
    )


def growing_pull(heads: HeadMap, context: GuideContext) -> Finding | None:
    """The head grows faster than its errors shrink: energy alone hides the pull on the features."""
    hits = heads.hits(_pull)
    if not hits:
        return None
    curve, pull = hits[0].curve, hits[0].found
    return Finding(
        rule="growing-pull",
        phenomenon=(
            f"{heads.subject(hits[0])}: energy left (AIE) falls from {curve.aie[0]:.3f} to "
            f"{curve.aie[-1]:.3f}, but the pull on the features (the gradient's norm at the cut) "
            f"rises {pull:.1f}-fold ({curve.pull_norm[0]:.3g} to {curve.pull_norm[-1]:.3g}) as the "
            f"head's norm goes from {curve.head_norm[0]:.3g} to {curve.head_norm[-1]:.3g}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=(
            "The first finetuning steps move the features by the pull: at one finetuning rate, "
            "long probing is a larger push here and not a smaller one."
        ),
        advice=(
            f"Compare taus at finetuning rates of their own: leave ft_lr free at tau "
            f"{curve.tau_max}. Weight decay in probing holds the head.{heads.rate_note(curve)}"
        ),
        command=search_command(
            context,
            tau=curve.tau_max,
            head_arch=curve.head_arch,
            label_smoothing=curve.label_smoothing,
            reinit_depth=curve.reinit_depth,
        ),
        source="Ren et al. 2023, equation 2 (direction times energy)",
        confidence="low",
    )


def _pull(curve: HeadCurve) -> float | None:
    if curve.pull_norm[0] <= 0 or curve.aie[-1] > _AIE_FALL * curve.aie[0]:
        return None
    rise = curve.pull_norm[-1] / curve.pull_norm[0]
    return rise if rise >= _PULL_RISE else None


def overfitting_head(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Validation falls from its peak while training goes on to rise."""
    hits = heads.hits(_peak)
    if not hits:
        return None
    curve, i = hits[0].curve, hits[0].found
    tau = curve.epochs[i]
    return Finding(
        rule="overfitting-head",
        phenomenon=(
            f"{heads.subject(hits[0])}: {context.valid_score} falls from "
            f"{percent(curve.valid_acc[i])} at tau {tau} to {percent(curve.valid_acc[-1])} at tau "
            f"{curve.tau_max}, while {context.train_score} rises from "
            f"{percent(curve.train_acc[i])} to {percent(curve.train_acc[-1])}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=f"From tau {tau} on the head learns its training samples by heart.",
        advice=(
            f"Try a finetune from tau {tau}, or probe with weight decay. The head's own validation "
            f"does not rank finetunes: choose after finetuning.{heads.rate_note(curve)}"
        ),
        command=search_command(
            context,
            tau=tau,
            head_arch=curve.head_arch,
            label_smoothing=curve.label_smoothing,
            reinit_depth=curve.reinit_depth,
        ),
        source="measured: the map's validation score by tau",
        confidence="low",
    )


def _peak(curve: HeadCurve) -> int | None:
    """Returns the index of the validation peak, if the head overfits after it."""
    peak = max(range(len(curve.epochs)), key=lambda i: curve.valid_acc[i])
    overfits = (
        curve.epochs[peak] > 0
        and curve.valid_acc[peak] - curve.valid_acc[-1] >= _VALID_FALL
        and curve.train_acc[-1] - curve.train_acc[peak] >= _TRAIN_RISE
    )
    return peak if overfits else None
