"""Which trials are drawn where there are too many: a page must stay small and readable."""

from __future__ import annotations

from collections.abc import Sequence

from energytune.trial import TrialRecord

__all__ = ["ranked", "thin", "thin_note"]


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the complete trials, the best first; repetitions are left out."""
    complete = [r for r in records if r.objective is not None and r.duplicate_of is None]
    return sorted(complete, key=lambda r: (-(r.objective or 0.0), r.job.number))


def thin(best_first: Sequence[TrialRecord], n_most: int) -> list[TrialRecord]:
    """Returns at most so many trials: the best half of them, the rest at even steps of rank.

    Args:
        best_first: Trials by rank.
        n_most: >= 2.
    """
    if len(best_first) <= n_most:
        return list(best_first)
    n_best = n_most // 2
    rest, n_rest = best_first[n_best:], n_most - n_best
    return [*best_first[:n_best], *(rest[i * len(rest) // n_rest] for i in range(n_rest))]


def thin_note(n_drawn: int, n_all: int) -> tuple[str, ...]:
    """Returns what is said of trials that are not drawn; empty if all are."""
    if n_drawn >= n_all:
        return ()
    return (
        f"{n_drawn:,} of {n_all:,} trials are drawn: the best {n_drawn // 2:,}, and the others at "
        "even steps of rank.",
    )
