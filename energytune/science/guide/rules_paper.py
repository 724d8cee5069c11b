"""The user guide of [Ren2023]_, Section 5.1, as rules.

None of them says that more or less energy is better: that depends on the task. They say how much
is left, which hypothesis that allows, and which finetunes test it.
"""

from __future__ import annotations

from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.finding import Finding, GuideContext, search_command
from energytune.science.guide.head_map import HeadMap
from energytune.science.guide.words import listed, percent

__all__ = ["fast_probing", "low_level_features", "spent_energy", "sweep_tau", "weak_linear_head"]

_GUIDE = "Ren et al. 2023, section 5.1"

_FULL_ACC = 0.995
"""What counts as 100 %: the paper prints 100 for all that rounds to it at two digits or more."""

_HIGH_ACC = 0.9
_FAST_EPOCHS = 8
"""The paper's "90 %+ very fast". Up to epoch 8 there are few whole taus between the random head
and the converged one, so that tau is too coarse to set the energy."""

_DEFAULT_SMOOTHING = 0.1
"""The paper's eta_HP = 0.9."""

_LOW_LEVEL_ACC = 0.8
"""Table 3: reinitialised blocks gained 4 points and more where a linear head stood at 78 % and
64 %, and less than half a point where it reached 93 %."""

_LEAST_SPAN = 0.05
"""Energies that differ by less are one start as far as a sweep of tau can tell: the pruner's
tolerance (0.005) times ten distinct taus."""

_N_TAUS = 5
_MOST_DEPTHS = 3
"""The paper reinitialises up to the last three blocks (L4.3, L4.2, L4.1)."""


def _plain_linear(curve: HeadCurve) -> bool:
    return curve.head_arch == "linear" and not curve.label_smoothing and not curve.reinit_depth


def _even_taus(curve: HeadCurve) -> list[int]:
    """Returns taus whose energies lie about evenly between the largest and the smallest."""
    high, low = max(curve.aie), min(curve.aie)
    steps = [high - (high - low) * i / (_N_TAUS - 1) for i in range(_N_TAUS)]
    return sorted({curve.tau_with_energy(aie) for aie in steps})


def sweep_tau(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Start with a linear head and a sweep of tau: how much energy helps is unknown."""
    hits = heads.hits(
        lambda curve: (
            _even_taus(curve)
            if _plain_linear(curve) and max(curve.aie) - min(curve.aie) >= _LEAST_SPAN
            else None
        )
    )
    if not hits:
        return None
    curve, taus = hits[0].curve, hits[0].found
    low = min(range(len(curve.epochs)), key=lambda i: curve.aie[i])
    return Finding(
        rule="sweep-tau",
        phenomenon=(
            f"{heads.subject(hits[0])}: energy left (AIE) from {curve.aie[0]:.3f} at tau 0 down to "
            f"{curve.aie[low]:.3f} at tau {curve.epochs[low]}; {context.train_score} "
            f"{percent(curve.train_acc[0])} to {percent(curve.train_acc[-1])}."
        ),
        hypothesis="How much of this energy helps the task is not known before finetuning.",
        advice=(
            f"Sweep tau with a linear head first, and choose by validation accuracy. "
            f"Taus {listed(taus)} cut the energy into about even steps."
        ),
        command=search_command(context, head_arch="linear", label_smoothing=0, reinit_depth=0),
        source=_GUIDE,
        confidence="medium",
    )


def spent_energy(heads: HeadMap, context: GuideContext) -> Finding | None:
    """A head that reaches 100 % on the training set may leave too little energy: smaller tau."""
    hits = heads.hits(_full_since)
    if not hits:
        return None
    curve, since = hits[0].curve, hits[0].found
    reached = curve.epochs[since]
    # Another tau than the one that spends it: below it, if there is a whole number.
    tau = max(1, curve.tau_with_energy(curve.aie[0] / 2, up_to=reached))
    left = curve.aie[curve.epochs.index(tau)] if tau in curve.epochs else curve.aie[since]
    return Finding(
        rule="spent-energy",
        phenomenon=(
            f"{heads.subject(hits[0])}: {context.train_score} converges to "
            f"{percent(curve.train_acc[-1])}, reached at tau {reached}; energy left (AIE) "
            f"{curve.aie[since]:.3f} there and {curve.aie[-1]:.3f} at tau {curve.tau_max}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=f"From tau {reached} on there may not be enough energy to adapt the features.",
        advice=(
            f"Search smaller taus, 1 to {reached} (in a space file `tau: {{low: 1, high: "
            f"{reached}}}`). Tau {tau} is a start: AIE {left:.3f} of {curve.aie[0]:.3f}."
            f"{heads.rate_note(curve)}"
        ),
        command=search_command(
            context,
            tau=tau,
            head_arch=curve.head_arch,
            label_smoothing=0,
            reinit_depth=curve.reinit_depth,
        ),
        source=f"{_GUIDE}, and table 1",
        confidence="medium",
    )


def _full_since(curve: HeadCurve) -> int | None:
    since = None if curve.label_smoothing else curve.at_least_since(_FULL_ACC)
    return since or None  # a random head that knows all has not spent anything


def fast_probing(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Where tau is too coarse, label smoothing in head probing reserves energy."""
    hits = heads.hits(_fast_since)
    if not hits:
        return None
    curve, since = hits[0].curve, hits[0].found
    probed = {one.label_smoothing for one in heads.curves if one.label_smoothing}
    smoothing = min(probed, default=_DEFAULT_SMOOTHING)
    reserve = context.floor(smoothing)
    kept = "" if reserve is None else f" AIE {reserve:.3f} stays however long it is probed."
    return Finding(
        rule="fast-probing",
        phenomenon=(
            f"{heads.subject(hits[0])}: {context.train_score} is "
            f"{percent(curve.train_acc[since])} at tau {curve.epochs[since]} already, and "
            f"energy left (AIE) falls from {curve.aie[0]:.3f} to {curve.aie[since]:.3f}."
            f"{heads.likewise(hits[1:])}"
        ),
        hypothesis=(
            "The features fit well, and the energy is gone before tau can set it. If a mild "
            "adaptation is wanted, it needs energy that probing does not take."
        ),
        advice=(
            f"Probe long with smoothed labels: eps = {smoothing:g} in head probing only "
            f"(finetuning must smooth less, and here does not smooth).{kept}"
        ),
        command=search_command(
            context,
            tau=context.tau_max,
            head_arch=curve.head_arch,
            label_smoothing=smoothing,
            reinit_depth=curve.reinit_depth,
        ),
        source=f"{_GUIDE}, and tables 1 and 2",
        confidence="medium",
    )


def _fast_since(curve: HeadCurve) -> int | None:
    since = None if curve.label_smoothing else curve.at_least_since(_HIGH_ACC)
    return since if since and curve.epochs[since] <= _FAST_EPOCHS else None


def weak_linear_head(heads: HeadMap, context: GuideContext) -> Finding | None:
    """A linear head that stays weak can't reach a tiny energy: an MLP head, probed long."""
    # 50 % of many classes; of few, half of the way from chance to 100 %.
    limit = (1 + context.chance) / 2
    hits = heads.hits(
        lambda curve: (
            curve.train_acc[-1]
            if _plain_linear(curve) and curve.train_acc[-1] < limit and curve.stands_still()
            else None
        )
    )
    if not hits:
        return None
    curve = hits[0].curve
    mlps = [c for c in heads.finite if c.head_arch == "mlp" and not c.reinit_depth]
    seen = ""
    if mlps:
        best = max(mlps, key=lambda c: c.train_acc[-1])
        seen = f" {heads.name(best)} reaches {percent(best.train_acc[-1])}, AIE {best.aie[-1]:.3f}."
    return Finding(
        rule="weak-linear-head",
        phenomenon=(
            f"{heads.subject(hits[0])}: {context.train_score} stands still at "
            f"{percent(hits[0].found)}, below {percent(limit)}; energy left (AIE) "
            f"{curve.aie[-1]:.3f} at tau {curve.tau_max}.{seen}"
        ),
        hypothesis="If a tiny energy is wanted, a linear head is too weak to get there.",
        advice=(
            "Try an MLP head with a long probe. Not with a small tau: a larger head stays random "
            "for longer and moves the features more unpredictably."
        ),
        command=search_command(context, tau=context.tau_max, head_arch="mlp", reinit_depth=0),
        source=f"{_GUIDE}, and table 2",
        confidence="medium",
    )


def low_level_features(heads: HeadMap, context: GuideContext) -> Finding | None:
    """Where linear and MLP heads are both weak, the last blocks may be in the way."""
    if context.max_reinit_depth < 1:
        return None
    hits = heads.hits(
        lambda curve: (
            curve.train_acc[-1]
            if not curve.reinit_depth
            and curve.train_acc[-1] < _LOW_LEVEL_ACC
            and curve.stands_still()
            else None
        )
    )
    weak = {hit.curve.head_arch: hit.found for hit in hits if not hit.curve.label_smoothing}
    if not {"linear", "mlp"} <= weak.keys():
        return None
    depths = range(1, min(_MOST_DEPTHS, context.max_reinit_depth) + 1)
    return Finding(
        rule="low-level-features",
        phenomenon=(
            f"{context.train_score} stands still at {percent(weak['linear'])} with a linear and "
            f"{percent(weak['mlp'])} with an MLP head, both below {percent(_LOW_LEVEL_ACC)}."
        ),
        hypothesis=(
            "The task may need low-level features that the last blocks have thrown away. Nothing "
            "in the map can prove it."
        ),
        advice=(
            f"Last of all, reinitialise the last blocks and probe them with the head: depth "
            f"{listed(depths)}. Each depth makes the head larger, so not with a small tau."
        ),
        command=search_command(context, tau=context.tau_max, head_arch="linear", reinit_depth=1),
        source=f"{_GUIDE}, and table 3",
        confidence="low",
    )
