"""Who is champion: a fold over the versions and people's decisions. Pure, knows no MLflow.

Each version challenges the champion of its time (:mod:`energytune.tracking.comparison`). A line of
challengers begins with the first version, and anew when a person promotes one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from energytune.tracking.comparison import (
    ALPHA,
    Candidate,
    Comparison,
    Pairing,
    compare,
    pair_candidates,
)

__all__ = ["Line", "Promotion", "RegisteredModel", "fold_champion"]


@dataclass(frozen=True)
class Promotion:
    """A person's decision on the champion, which begins a new line.

    Attributes:
        kind: ``"promote"``, or ``"rollback"`` to the champion before.
        version: The champion from then on.
        before: The champion until then; None without one.
        latest: Highest version there was: only later ones are the new line's challengers.
        by: Who.
        at_ms: When, milliseconds since the epoch.
        reason: Why; may be empty.
    """

    kind: Literal["promote", "rollback"]
    version: int
    before: int | None
    latest: int
    by: str
    at_ms: int
    reason: str = ""


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

    def to_dict(self) -> dict[str, Any]:
        """Returns the model as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RegisteredModel:
        """Returns the model that :meth:`to_dict` described.

        Raises:
            TypeError: It is no such description.
        """
        return cls(**{**plain, "comparison": Comparison.from_dict(plain["comparison"])})


@dataclass(frozen=True)
class Line:
    """The champions so far.

    Attributes:
        champion: The present one; None without candidates.
        steps: Each version's comparison with the champion of its time.
        reigns: Champions in order, the present one last; a rollback takes the last one away.
    """

    champion: int | None
    steps: dict[int, Comparison] = field(default_factory=dict)
    reigns: tuple[int, ...] = ()


def fold_champion(
    candidates: Iterable[Candidate],
    promotions: Sequence[Promotion] = (),
    alpha: float = ALPHA,
    pair: Pairing = pair_candidates,
) -> Line:
    """Plays all versions in order of their number, and people's promotions between them.

    Deterministic: whoever sees the same versions and promotions gets the same champion, whatever
    order they were registered in and whoever asks. So concurrent searches end in agreement.

    Only versions under the champion's protocol are tested against it, and only those count as
    challengers; so a version under a new protocol never takes over by itself.

    Args:
        candidates: Versions, in any order.
        promotions: In the order of their time; one of a version that is gone is passed over.
        alpha: Level of a whole line.
        pair: The test.
    """
    by_number = {c.version: c for c in candidates}
    waiting = [p for p in promotions if p.version in by_number]
    champion: Candidate | None = None
    reigns: list[int] = []
    steps: dict[int, Comparison] = {}
    seen: set[str] = set()
    n_challengers = 0
    for number in [*sorted(by_number), math.inf]:
        while waiting and waiting[0].latest < number:
            promotion = waiting.pop(0)
            champion, n_challengers = by_number[promotion.version], 0
            if promotion.kind == "rollback" and promotion.version in reigns[:-1]:
                del reigns[max(i for i, v in enumerate(reigns[:-1]) if v == promotion.version) :]
            reigns.append(promotion.version)
        candidate = by_number.get(number)  # type: ignore[call-overload]
        if candidate is None or not candidate.protocol or candidate.uid in seen:
            continue
        seen |= {candidate.uid} - {""}
        step = compare(candidate, champion, n_challengers + 1, alpha, pair)
        steps[candidate.version] = step
        n_challengers += step.test is not None
        if step.wins:
            champion = candidate
            reigns.append(candidate.version)
    return Line(champion.version if champion else None, steps, tuple(reigns))
