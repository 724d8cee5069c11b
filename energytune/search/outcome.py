"""Whether a search that has ended has anything to conclude from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from energytune.errors import BudgetError, EnergyTuneError
from energytune.trial import TrialRecord

__all__ = ["check_outcome", "has_complete"]


def has_complete(records: Sequence[TrialRecord]) -> bool:
    """Returns whether a trial is complete."""
    return any(record.state == "COMPLETE" for record in records)


def check_outcome(
    records: Sequence[TrialRecord], *, over_budget_s: float | None, out: Path
) -> None:
    """Raises if there is nothing to conclude from; the study keeps what there is.

    Args:
        records: Trials of the search.
        over_budget_s: The time budget in seconds if it has ended the search; else None.
        out: The search's folder.

    Raises:
        BudgetError: Time ended before one trial was complete.
        EnergyTuneError: No trial is complete.
    """
    if has_complete(records):
        return
    again = f"Continue with the same command and --out {out}."
    if over_budget_s is not None:
        raise BudgetError(
            f"The time budget of {over_budget_s:g} s ended before one trial was complete. Give "
            f"more time with --time-budget. {again}"
        )
    reasons = sorted({r.reason.rstrip(".") for r in records if r.reason})
    raise EnergyTuneError(
        f"None of {len(records)} trials is complete: {'; '.join(reasons[:3])}. {again}"
    )
