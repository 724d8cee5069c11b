"""Why trials were pruned, paused for good, failed or ended by themselves: counts and examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from energytune.report.words import trial_name
from energytune.trial import TrialRecord

__all__ = ["StopGroup", "stop_groups"]

_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?|\bnan\b|\binf\b")
_N_NAMED = 6
_MOST_GROUPS = 12
_LONGEST = 300


@dataclass(frozen=True)
class StopGroup:
    """Trials that ended for the same reason, numbers apart.

    Attributes:
        what: How they ended: ``"paused for good"``, ``"pruned"``, ``"failed"``, or
            ``"stopped by itself"`` of complete ones.
        n: How many.
        reason: The reason of the first of them, as it was recorded.
        trials: Names of the first few, and how many more.
        ft_epochs: Finetuning epochs they had run, together.
    """

    what: str
    n: int
    reason: str
    trials: str
    ft_epochs: int


def stop_groups(records: Sequence[TrialRecord]) -> list[StopGroup]:
    """Returns the trials that did not run to their last epoch, grouped by why; largest first.

    Args:
        records: Trials of the search; repetitions are passed over.
    """
    groups: dict[tuple[str, str], list[TrialRecord]] = {}
    for record in records:
        if record.duplicate_of is not None:
            continue
        what, reason = _end(record)
        if what:
            groups.setdefault((what, _NUMBER.sub("#", reason)), []).append(record)
    order = {"failed": 0, "paused for good": 1, "pruned": 2, "stopped by itself": 3}
    ranked = sorted(groups.items(), key=lambda g: (order[g[0][0]], -len(g[1]), g[0][1]))
    found = [_group(what, own) for (what, _), own in ranked[:_MOST_GROUPS]]
    rest = [record for _, own in ranked[_MOST_GROUPS:] for record in own]
    if rest:
        n_kinds = len(ranked) - _MOST_GROUPS
        told = _group("other", rest)
        found.append(
            StopGroup("other", told.n, f"{n_kinds} further reasons", told.trials, told.ft_epochs)
        )
    return found


def _end(record: TrialRecord) -> tuple[str, str]:
    if record.state == "FAIL":
        return "failed", record.reason
    if record.state == "PRUNED":
        is_pause = record.reason.startswith("paused")
        return ("paused for good" if is_pause else "pruned"), record.reason
    return ("stopped by itself", record.stop_reason) if record.stop_reason else ("", "")


def _group(what: str, records: Sequence[TrialRecord]) -> StopGroup:
    names = [trial_name(record.job) for record in records[:_N_NAMED]]
    if len(records) > _N_NAMED:
        names.append(f"{len(records) - _N_NAMED:,} more")
    reason = _end(records[0])[1] or "no reason was recorded"
    if len(reason) > _LONGEST:
        reason = reason[:_LONGEST].rstrip() + " ..."
    return StopGroup(
        what, len(records), reason, ", ".join(names), sum(len(r.epochs) for r in records)
    )
