"""Who is champion: a paired exact test and a fold over versions. Pure, knows no MLflow.

Versions are compared under one protocol only: the same test examples, split and metric. The
exact test is McNemar's, on the examples that exactly one of two models gets right
[Dietterich1998]_.
Many searches against one test set are many looks at it: a champion's score is optimistic by a
little, which the small ``alpha`` slows down and cannot cure.

.. [Dietterich1998] T. G. Dietterich. Approximate statistical tests for comparing supervised
   classification learning algorithms. Neural Computation 10(7), 1998.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ALPHA", "Candidate", "Comparison", "RegisteredModel", "compare", "fold_champion"]

ALPHA = 0.05
"""Level of the two-sided test below which a better challenger takes over."""


@dataclass(frozen=True)
class Candidate:
    """One version of a registered model, as far as the decision needs it.

    Attributes:
        version: Number of the version, from 1.
        score: Test accuracy in [0, 1].
        protocol: Text that two versions must share to be comparable.
        correct: Per test example whether the version's model was right; None if unknown.
    """

    version: int
    score: float
    protocol: str
    correct: tuple[bool, ...] | None


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
        n_test: Number of paired test examples.
        n_gained: Examples that only the challenger gets right.
        n_lost: Examples that only the champion gets right.
        p_value: Two-sided exact McNemar test; None if nothing was compared.
        alpha: Level of the test.
    """

    version: int
    champion: int | None
    wins: bool
    text: str
    score: float
    champion_score: float | None = None
    n_test: int | None = None
    n_gained: int | None = None
    n_lost: int | None = None
    p_value: float | None = None
    alpha: float = ALPHA

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class RegisteredModel:
    """The registered winner.

    Attributes:
        name: Name of the registered model.
        version: Its version.
        is_champion: Whether the alias ``champion`` points to it now.
        champion: The version to which the alias points now.
        decision: What was decided, as a sentence. "Not enough evidence" is a normal outcome.
        comparison: The numbers behind it.
    """

    name: str
    version: int
    is_champion: bool
    champion: int | None
    decision: str
    comparison: Comparison

    @property
    def numbers(self) -> dict[str, Any]:
        """The comparison's numbers as JSON values."""
        return self.comparison.to_dict()


def compare(challenger: Candidate, champion: Candidate | None, alpha: float = ALPHA) -> Comparison:
    """Decides whether a challenger takes over from a champion.

    It does if there is no champion, or if under the same protocol it is right on more of the
    examples on which the two differ and the exact two-sided McNemar test has p < ``alpha``.

    Args:
        challenger: The later version.
        champion: The present champion; None if there is none.
        alpha: Level of the test, in (0, 1).
    """
    new = challenger
    if champion is None:
        text = f"v{new.version} is the first version under its protocol and becomes champion."
        return Comparison(new.version, None, True, text, new.score, alpha=alpha)
    old = champion
    refused = _not_comparable(new, old)
    if refused:
        text = f"v{new.version} can't be compared with champion v{old.version}: {refused}."
        return Comparison(new.version, old.version, False, text, new.score, old.score, alpha=alpha)
    n_gained, n_lost, p_value = mcnemar(new.correct or (), old.correct or ())
    wins = n_gained > n_lost and p_value < alpha
    numbers = (
        f"score {new.score:.4f} against {old.score:.4f}, {n_gained} test examples gained and "
        f"{n_lost} lost of {len(new.correct or ())}, exact McNemar p = {p_value:.3g}"
    )
    if wins:
        text = f"v{new.version} takes over from v{old.version}: {numbers}."
    elif p_value < alpha:
        text = f"v{old.version} stays champion, it is better than v{new.version}: {numbers}."
    else:
        text = f"Not enough evidence that v{new.version} beats champion v{old.version}: {numbers}."
    return Comparison(
        version=new.version,
        champion=old.version,
        wins=wins,
        text=text,
        score=new.score,
        champion_score=old.score,
        n_test=len(new.correct or ()),
        n_gained=n_gained,
        n_lost=n_lost,
        p_value=p_value,
        alpha=alpha,
    )


def mcnemar(new: Sequence[bool], old: Sequence[bool]) -> tuple[int, int, float]:
    """Returns the exact two-sided McNemar test of paired outcomes.

    Args:
        new: Per example whether the challenger was right.
        old: Per example whether the champion was right; as many.

    Returns:
        Examples only ``new`` gets right, examples only ``old`` gets right, and the p-value: that
        of a fair coin over the examples on which they differ; 1 if there are none.
    """
    n_gained = sum(a and not b for a, b in zip(new, old, strict=True))
    n_lost = sum(b and not a for a, b in zip(new, old, strict=True))
    n_coins = n_gained + n_lost
    # in whole numbers, exactly; importing scipy.stats for this would cost a second of CPU
    tail = sum(math.comb(n_coins, heads) for heads in range(min(n_gained, n_lost) + 1))
    return n_gained, n_lost, min(1.0, 2 * tail / 2**n_coins)


def fold_champion(
    candidates: Iterable[Candidate], protocol: str, alpha: float = ALPHA
) -> tuple[int | None, dict[int, Comparison]]:
    """Plays all versions of a protocol in order of their number.

    Deterministic: whoever sees the same versions gets the same champion, whatever order they were
    registered in and whoever asks. So concurrent searches end in agreement.

    Args:
        candidates: Versions, in any order; those of another protocol are passed over.
        protocol: The protocol.
        alpha: Level of the test.

    Returns:
        The champion's version (None without candidates), and each version's comparison with the
        champion of its time.
    """
    champion: Candidate | None = None
    steps: dict[int, Comparison] = {}
    for candidate in sorted(candidates, key=lambda c: c.version):
        if candidate.protocol != protocol:
            continue
        steps[candidate.version] = step = compare(candidate, champion, alpha)
        if step.wins:
            champion = candidate
    return (champion.version if champion else None), steps


def _not_comparable(new: Candidate, old: Candidate) -> str:
    if new.protocol != old.protocol:
        return f"it was measured under another protocol ({new.protocol}; {old.protocol})"
    if not new.correct or not old.correct:  # unknown, or the score is no share of right examples
        missing = old if new.correct else new
        return f"v{missing.version} has no record of which test examples it gets right"
    if len(new.correct) != len(old.correct):
        return f"{len(new.correct)} test examples against {len(old.correct)}"
    return ""
