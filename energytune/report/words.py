"""Numbers and names as the page writes them."""

from __future__ import annotations

import math

from energytune.report.intervals import Interval, PairedDifference
from energytune.trial import Job

__all__ = [
    "SHORT_SCORES",
    "count",
    "difference",
    "duration",
    "percent",
    "percents",
    "short_score",
    "trial_name",
]

SHORT_SCORES = {"accuracy": "acc", "roc_auc": "ROC-AUC", "miou": "mIoU"}


def short_score(metric: str) -> str:
    """Returns the metric as it stands in a name: ``"acc"`` in ``"FT-valid-acc"``."""
    return SHORT_SCORES[metric]


def percent(share: float | None, digits: int = 1) -> str:
    """Returns ``"91.2 %"``; ``"-"`` for what is missing."""
    if share is None or not math.isfinite(share):
        return "-"
    return f"{100 * share:.{digits}f} %"


def percents(interval: Interval) -> str:
    """Returns ``"85.6 to 90.8 %"``."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def difference(paired: PairedDifference, n_seeds: int) -> str:
    """Returns ``"+4.1 [+1.0, +7.3] points"`` and says what is missing.

    Args:
        paired: Winner minus another.
        n_seeds: Pairs there should be.
    """
    if paired.n == 0:
        return "not measured: no seed that both have finished"
    text = f"{100 * paired.mean:+.1f}"
    if paired.interval is None:
        return f"{text} points (one seed: no interval)"
    low, high = 100 * paired.interval.low, 100 * paired.interval.high
    text += f" [{low:+.1f}, {high:+.1f}] points"
    if not paired.excludes_zero:
        text += ", may be chance"
    return text if paired.n == n_seeds else f"{text} ({paired.n} of {n_seeds} seeds)"


def duration(seconds: float) -> str:
    """Returns ``"0.4 s"``, ``"42 s"``, ``"3:05 min"`` or ``"1:02:03 h"``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02d}:{rest:02d} h"


def count(n: int, noun: str, plural: str = "") -> str:
    """Returns ``"1 trial"`` or ``"2,000 trials"``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def trial_name(job: Job) -> str:
    """Returns ``"t004"``."""
    return f"t{job.number:03d}"
