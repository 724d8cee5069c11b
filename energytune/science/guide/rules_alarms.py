"""Alarms: the map itself says that something is wrong before energy means anything."""

from __future__ import annotations

import math
from typing import NamedTuple

from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.finding import Finding, GuideContext, probe_command, search_command
from energytune.science.guide.head_map import HeadMap
from energytune.science.guide.words import listed, percent

__all__ = ["at_chance", "far_start", "growing_norm", "unstable_probing"]

_CHANCE_ERRORS = 3.0
"""Standard errors of a guessing head's training score that count as guessing."""

_FEWEST_EPOCHS = 16
"""A head may look like chance in its first epochs; by 16 the embedded tasks have left it."""

_JUMP = 0.05
_LOST_ACC = 0.03
"""AIE that rises by so much from one snapshot to the next, while the training score falls, is a
jump. On the digits a head at rate 0.03 jumps once at most; at 0.3 by 0.05 to 0.16, again and
again. Without a fall in score it is no jump: a smoothed head may return to its reserve."""

_N_JUMPS = 2
_UNSTABLE_LR = 0.1
"""From this rate on, probing in fp32 departs from fp64 by as much as the result itself."""

_FAR = 0.1
"""A random head on features of unit scale starts within 0.03 of the uniform prediction's AIE."""

_FLAT_ACC = 0.01
_NORM_GROWTH = 1.5
_LOSS_GROWTH = 1.5
"""Healthy heads of the digits, at 100 % for six octaves of tau, grew up to 2.8-fold in norm or
1.5-fold in loss, but not both."""


def at_chance(heads: HeadMap, context: GuideContext) -> Finding | None:
    """No head knows more than chance: the features carry nothing for the task."""
    long = [curve for curve in heads.finite if curve.tau_max >= _FEWEST_EPOCHS]
    if not long:
        return None
    chance = context.chance
    error = math.sqrt(chance * (1 - chance) / context.n_train)
    best = max(long, key=lambda curve: max(curve.train_acc))
    if max(best.train_acc) > chance + _CHANCE_ERRORS * error:
        return None
    return Finding(
        rule="at-chance",
        phenomenon=(
            f"The best of all heads, {heads.name(best)}, has {context.train_score} "
            f"{percent(max(best.train_acc))} up to tau {best.tau_max}; chance is "
            f"{percent(chance)} +- {percent(error)} on {context.n_train} samples."
        ),
        hypothesis=(
            "The features carry nothing for this task: weights that were not loaded, another "
            "normalisation than in pretraining, or labels that don't belong to the inputs."
        ),
        advice=(
            "Check weights, normalisation and labels before any search. A random backbone tells: "
            "if its heads are as good, the pretrained weights have no part in it."
        ),
        command=probe_command(context, [("weights", "none")], weights=False),
        source="measured: the map's training score against guessing",
        confidence="high" if best.stands_still() else "medium",
    )


class _Jumps(NamedTuple):
    """Where energy rises although the head is trained."""

    n_jumps: int
    at: int
    """Of the snapshot after the largest jump."""


def unstable_probing(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Energy jumps up, or a head has diverged: the probing rate is too high."""
    diverged = [curve for curve in heads.curves if not curve.finite]
    hits = heads.hits(_jumps)
    if diverged:
        curve = diverged[0]
        names = listed(list(dict.fromkeys(heads.name(one) for one in diverged)))
        why = f" {curve.failure}" if curve.failure else ""
        seen = f"Probing diverged: {names}.{why}"
    elif hits:
        curve, jumps = hits[0].curve, hits[0].found
        i = jumps.at
        seen = (
            f"{heads.subject(hits[0])}: energy left (AIE) jumps from {curve.aie[i - 1]:.3f} to "
            f"{curve.aie[i]:.3f} between tau {curve.epochs[i - 1]} and {curve.epochs[i]} "
            f"({_times(jumps.n_jumps)} by {_JUMP:g} or more), {context.train_score} from "
            f"{percent(curve.train_acc[i - 1])} to {percent(curve.train_acc[i])}."
            f"{heads.likewise(hits[1:])}"
        )
    else:
        return None
    lr = _one_digit(curve.lr / 3)
    return Finding(
        rule="unstable-probing",
        phenomenon=seen,
        hypothesis=(
            f"Probing at rate {curve.lr:g} is unstable: neighbouring taus are unrelated starts, "
            "and a finetune can't be told from a lucky one."
        ),
        advice=f"Lower the probing rate (`probe: {{lr: {lr:g}}}` in a space file for the search).",
        command=probe_command(context, [("head", curve.head_arch), ("lr", lr)]),
        source="measured: probing at rates of 0.1 and more follows rounding",
        confidence="high" if diverged or curve.lr >= _UNSTABLE_LR else "medium",
    )


def _jumps(curve: HeadCurve) -> _Jumps | None:
    jumps = [
        i
        for i in range(1, len(curve.epochs))
        if curve.aie[i] - curve.aie[i - 1] >= _JUMP
        and curve.train_acc[i - 1] - curve.train_acc[i] >= _LOST_ACC
    ]
    if len(jumps) < _N_JUMPS:
        return None
    return _Jumps(len(jumps), max(jumps, key=lambda i: curve.aie[i] - curve.aie[i - 1]))


def far_start(heads: HeadMap, context: GuideContext) -> Finding | None:
    """A random head should predict about uniformly; if not, the features' scale is off."""
    uniform = context.uniform()
    if uniform is None:
        return None
    hits = heads.hits(lambda curve: curve.aie[0] if curve.aie[0] > uniform + _FAR else None)
    if not hits:
        return None
    curve = hits[0].curve
    lr = _one_digit(curve.lr / 10)
    return Finding(
        rule="far-start",
        phenomenon=(
            f"{heads.subject(hits[0])}: the random head starts at AIE {curve.aie[0]:.3f}; a "
            f"uniform prediction of {context.n_classes} classes has {uniform:.3f}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=(
            "The random head is sure of its guesses: the features are large, as when inputs are "
            "not normalised. Small taus then spend their epochs on undoing that."
        ),
        advice="Check the normalisation of the inputs; else probe at a smaller rate.",
        command=probe_command(context, [("head", curve.head_arch), ("lr", lr)]),
        source="measured: AIE of the random head against sqrt((K-1)/K)",
        confidence="medium",
    )


class _Growth(NamedTuple):
    """From which snapshot on norm and loss grow while the training score does not."""

    since: int
    norm: float
    loss: float


def growing_norm(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Head norm and validation loss grow while the training score is flat: collapse alarm."""
    hits = heads.hits(_growth)
    if not hits:
        return None
    curve, growth = hits[0].curve, hits[0].found
    i, tau = growth.since, curve.epochs[growth.since]
    return Finding(
        rule="growing-norm",
        phenomenon=(
            f"{heads.subject(hits[0])}: from tau {tau} to {curve.tau_max} {context.train_score} "
            f"stays within a point of {percent(curve.train_acc[-1])}, while the head's norm grows "
            f"{growth.norm:.1f}-fold ({curve.head_norm[i]:.3g} to {curve.head_norm[-1]:.3g}) and "
            f"HP-valid-loss {growth.loss:.1f}-fold ({curve.valid_loss[i]:.3g} to "
            f"{curve.valid_loss[-1]:.3g})."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=(
            "Probing no longer learns, it only scales the head up. Finetuning from a head with a "
            "large norm collapsed most often."
        ),
        advice=(
            f"End probing by tau {tau}, or hold the norm with weight decay "
            f"(`probe: {{weight_decay: 0.001}}` in a space file).{heads.rate_note(curve)}"
        ),
        command=search_command(
            context, tau=tau, head_arch=curve.head_arch, reinit_depth=curve.reinit_depth
        ),
        source="measured: head norm against finetuned accuracy, rank correlation -0.7 on 3 of 4 "
        "digit tasks",
        confidence="medium",
    )


def _growth(curve: HeadCurve) -> _Growth | None:
    final = curve.train_acc[-1]
    moving = [i for i, acc in enumerate(curve.train_acc) if abs(acc - final) > _FLAT_ACC]
    since = moving[-1] + 1 if moving else 0
    # The random head's norm is no base: it has learned nothing yet.
    since = max(since, 1)
    if since >= len(curve.epochs) or curve.tau_max < 2 * curve.epochs[since]:
        return None
    if min(curve.head_norm[since], curve.valid_loss[since]) <= 0:
        return None
    norm = curve.head_norm[-1] / curve.head_norm[since]
    loss = curve.valid_loss[-1] / curve.valid_loss[since]
    return _Growth(since, norm, loss) if norm >= _NORM_GROWTH and loss >= _LOSS_GROWTH else None


def _one_digit(value: float) -> float:
    return float(f"{value:.1g}")


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
