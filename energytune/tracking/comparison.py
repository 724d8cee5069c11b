"""Whether a version takes over from the champion of its time. Pure, knows no MLflow.

Versions are compared under one protocol only: the same test examples, split and metric, by a
paired test (:mod:`energytune.tracking.paired`).

Many searches against one test set are many looks at it, so a challenger's level falls with the
number of challengers before it: the k-th since the line began is tested at alpha / (k (k + 1)).
Over any number of challengers that adds up to alpha, so that by the union bound the chance that
any of them takes over without being better stays below alpha: alpha-spending, or online
Bonferroni [Tian2021]_. It needs each test to hold its level, as McNemar's exact test does and the
bootstrap does nearly, and no independence. The choice of the champion by the same test set makes
it look better than it is, which is on the safe side.

.. [Tian2021] J. Tian, A. Ramdas. Online control of the familywise error rate. Statistical Methods
   in Medical Research 30(4), 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from energytune.tasks.evidence import Evidence
from energytune.tracking.paired import POWER, Paired, not_paired, paired_test

__all__ = ["ALPHA", "Candidate", "Comparison", "Pairing", "compare", "level_of", "pair_candidates"]

ALPHA = 0.05
"""Chance, at most, that among all challengers of a line any takes over without being better."""


@dataclass(frozen=True)
class Candidate:
    """One version of a registered model, as far as the decision needs it.

    Attributes:
        version: Number of the version, from 1.
        score: Test score in [0, 1].
        protocol: Text that two versions must share to be comparable; empty for a version that was
            registered by other means.
        evidence: What its model did on each test example; None if unknown or not loaded.
        digest: ``Evidence.digest()``; empty if unknown.
        uid: Of the run it comes from; of several versions with one uid the first alone counts.
    """

    version: int
    score: float
    protocol: str
    evidence: Evidence | None = None
    digest: str = ""
    uid: str = ""


@dataclass(frozen=True)
class Comparison:
    """What was decided about one version, with the numbers.

    Attributes:
        version: The challenger.
        champion: The version it was compared with; None if there was none.
        wins: Whether the challenger takes over.
        text: The decision as a sentence.
        score: The challenger's score.
        champion_score: The score of the version it was compared with.
        test: The paired test; None if nothing was compared.
        n_challengers: Challengers of the line so far, this one included; 0 if not compared.
        level: The test's level, ``alpha / (k (k + 1))``; None if nothing was compared.
        n_more: About so many more test examples would show the difference with a chance of 80 %;
            None where the evidence suffices or the challenger is not ahead.
        alpha: Level of the whole line.
        evidence: Digest of the challenger's evidence.
        champion_evidence: Digest of the champion's.
    """

    version: int
    champion: int | None
    wins: bool
    text: str
    score: float
    champion_score: float | None = None
    test: Paired | None = None
    n_challengers: int = 0
    level: float | None = None
    n_more: int | None = None
    alpha: float = ALPHA
    evidence: str = ""
    champion_evidence: str = ""

    @property
    def outcome(self) -> str:
        """The decision in two or three words."""
        if self.wins:
            return "first version" if self.champion is None else "takes over"
        if self.test is None or self.level is None:
            return "not comparable"
        return "champion is better" if self.test.p_value < self.level else "not enough evidence"

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Comparison:
        """Returns the comparison that :meth:`to_dict` described.

        Raises:
            TypeError: It is no such description.
        """
        test = plain.get("test")
        return cls(**{**plain, "test": None if test is None else Paired(**test)})


Pairing = Callable[[Candidate, Candidate, float], Paired | str]
"""Tests challenger and champion at a level, or says why they can't be compared."""


def level_of(n_challengers: int, alpha: float = ALPHA) -> float:
    """Returns the level of the k-th challenger's test, ``alpha / (k (k + 1))``, k from 1."""
    return alpha / (n_challengers * (n_challengers + 1))


def pair_candidates(new: Candidate, old: Candidate, level: float) -> Paired | str:
    """Tests two candidates that hold their evidence, or says why they can't be compared."""
    for candidate in (old, new):
        if candidate.evidence is None:
            return f"v{candidate.version} has no record of what it does on each test example"
    if new.evidence is None or old.evidence is None:  # for the type checker
        return ""
    return not_paired(new.evidence, old.evidence) or paired_test(new.evidence, old.evidence, level)


def compare(
    challenger: Candidate,
    champion: Candidate | None,
    n_challengers: int = 1,
    alpha: float = ALPHA,
    pair: Pairing = pair_candidates,
) -> Comparison:
    """Decides whether a challenger takes over from a champion.

    It does if there is no champion, or if under the same protocol it scores higher and the
    two-sided paired test has p < ``level_of(n_challengers, alpha)``.

    Args:
        challenger: The later version.
        champion: The present champion; None if there is none.
        n_challengers: Challengers of the line so far, this one included.
        alpha: Level of the whole line, in (0, 1).
        pair: The test.
    """
    new, old = challenger, champion
    if old is None:
        text = f"v{new.version} is the first version under its protocol and becomes champion."
        return Comparison(
            new.version, None, True, text, new.score, alpha=alpha, evidence=new.digest
        )
    level = level_of(n_challengers, alpha)
    found = _other_protocol(new, old) or pair(new, old, level)
    if isinstance(found, str):
        text = (
            f"v{new.version} can't be compared with champion v{old.version}: {found}. Make it "
            f"champion by hand with `energytune champion promote {new.version}`, or leave it."
        )
        return Comparison(new.version, old.version, False, text, new.score, old.score, alpha=alpha)
    wins = found.difference > 0 and found.p_value < level
    n_more = None
    if not wins and found.n_needed is not None:
        n_more = _two_digits(max(found.n_needed - found.n_test, 10))
    return Comparison(
        version=new.version,
        champion=old.version,
        wins=wins,
        text=_decision(new, old, found, level, n_challengers, n_more),
        score=new.score,
        champion_score=old.score,
        test=found,
        n_challengers=n_challengers,
        level=level,
        n_more=n_more,
        alpha=alpha,
        evidence=new.digest,
        champion_evidence=old.digest,
    )


def _other_protocol(new: Candidate, old: Candidate) -> str:
    if not old.protocol:
        return f"v{old.version} was not registered by energytune"
    if new.protocol != old.protocol:
        return f"it was measured under another protocol ({new.protocol}; {old.protocol})"
    return ""


def _decision(
    new: Candidate,
    old: Candidate,
    test: Paired,
    level: float,
    n_challengers: int,
    n_more: int | None,
) -> str:
    numbers = f"score {new.score:.4f} against {old.score:.4f}, "
    if test.n_gained is not None:
        gained = f"{test.n_gained} test examples gained and {test.n_lost} lost of {test.n_test}"
        numbers += f"{gained}, exact McNemar"
    else:
        interval = f"{test.low:+.4f} to {test.high:+.4f}"
        numbers += f"difference {interval} (95 %) over {test.n_test} test examples, {test.method}"
    numbers += f" p = {test.p_value:.3g}, level {level:.3g} of challenger {n_challengers}"
    if test.p_value < level and test.difference > 0:
        return f"v{new.version} takes over from v{old.version}: {numbers}."
    if test.p_value < level:
        return f"v{old.version} stays champion, it is better than v{new.version}: {numbers}."
    text = f"Not enough evidence that v{new.version} beats champion v{old.version}: {numbers}."
    if n_more is None:
        return f"{text} It is not ahead, so more test examples would not help it."
    return (
        f"{text} It needs about {n_more:,} more test examples to see such a difference with a "
        f"chance of {POWER:.0%}".removesuffix("%")
        + " %."
    )


def _two_digits(number: int) -> int:
    """Returns a number >= 1 rounded up to two digits that are not zero."""
    unit: int = 10 ** max(0, len(str(number)) - 2)
    return -(-number // unit) * unit
