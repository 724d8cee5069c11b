"""The winner against the baselines, over the seeds of the confirmation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from energytune.config import Recipe
from energytune.report.intervals import (
    Interval,
    PairedDifference,
    paired_t_interval,
    wilson_interval,
)
from energytune.trial import TrialRecord

__all__ = ["Comparison", "Confirmed", "compare", "confirmed"]


@dataclass(frozen=True)
class Confirmed:
    """One recipe on the confirmation's seeds.

    Attributes:
        number: Number of the recipe's trial in the search.
        recipe: The recipe.
        accuracy_by_seed: Test accuracy in [0, 1] by seed, of the runs that ended well.
        n_failed: Confirmation runs without a test result.
        n_test: Number of test images; 0 if no run ended well.
    """

    number: int
    recipe: Recipe
    accuracy_by_seed: Mapping[int, float]
    n_failed: int
    n_test: int

    @property
    def mean(self) -> float:
        """Mean test accuracy over the seeds, in [0, 1]; NaN if no run ended well."""
        values = self.accuracy_by_seed.values()
        return math.fsum(values) / len(values) if values else math.nan

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval of :attr:`mean` over the test images; None without a result."""
        if not self.accuracy_by_seed:
            return None
        return wilson_interval(self.mean, self.n_test)


@dataclass(frozen=True)
class Comparison:
    """The winner against one baseline.

    Attributes:
        baseline: Name, ``"tau=0"`` or ``"tau=max"``.
        confirmed: The baseline on the confirmation's seeds.
        difference: Winner minus baseline in test accuracy, paired by seed, in [-1, 1]; positive
            if the winner is better.
        is_winner: Whether the winner is this baseline itself.
    """

    baseline: str
    confirmed: Confirmed
    difference: PairedDifference
    is_winner: bool


def confirmed(trial: TrialRecord, confirmations: Iterable[TrialRecord]) -> Confirmed:
    """Collects the confirmation runs of a trial's recipe.

    Args:
        trial: A trial of the search.
        confirmations: Records of confirmation jobs, of any recipe; those of this one are found
            by the number of the trial they confirm.
    """
    by_seed: dict[int, float] = {}
    n_failed = n_test = 0
    for record in confirmations:
        if record.job.number != trial.job.number:
            continue
        test = record.finished.test if record.finished else None
        if test is None:
            n_failed += 1
        else:
            by_seed[record.job.seed] = test.accuracy
            n_test = len(test.correct)
    return Confirmed(
        number=trial.job.number,
        recipe=trial.job.recipe,
        accuracy_by_seed=dict(sorted(by_seed.items())),
        n_failed=n_failed,
        n_test=n_test,
    )


def compare(
    winner: TrialRecord,
    baselines: Mapping[str, TrialRecord],
    confirmations: Sequence[TrialRecord],
) -> list[Comparison]:
    """Compares the winner with each baseline over the seeds that both have finished.

    A seed on which one of the two has failed is left out: ``difference.n`` tells how many
    pairs are left.

    Args:
        winner: The chosen trial of the search.
        baselines: Trials of the search by name.
        confirmations: All confirmation records.

    Returns:
        One comparison a baseline, in the baselines' order.
    """
    best = confirmed(winner, confirmations).accuracy_by_seed
    comparisons = []
    for name, record in baselines.items():
        baseline = confirmed(record, confirmations)
        shared = [seed for seed in best if seed in baseline.accuracy_by_seed]
        comparisons.append(
            Comparison(
                baseline=name,
                confirmed=baseline,
                difference=paired_t_interval(
                    [best[seed] - baseline.accuracy_by_seed[seed] for seed in shared]
                ),
                is_winner=record.job.number == winner.job.number,
            )
        )
    return comparisons
