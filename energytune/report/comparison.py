"""The winner against the baselines on test, and against others on valid, over seeds.

A difference is told in points and in seed deviations: of the test accuracy between test results,
of the objective between validation results.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from energytune.config import Recipe
from energytune.report.intervals import (
    Interval,
    PairedDifference,
    paired_t_interval,
    wilson_interval,
)
from energytune.science.noise import SeedNoise, in_deviations, seed_noise
from energytune.trial import TrialRecord

__all__ = ["Comparison", "Confirmed", "Lead", "compare", "confirmed", "lead", "noise_on_test"]


@dataclass(frozen=True)
class Confirmed:
    """One recipe on the confirmation's seeds.

    Attributes:
        number: Number of the recipe's trial in the search.
        recipe: The recipe.
        accuracy_by_seed: Test accuracy in [0, 1] by seed, of the runs that ended well.
        n_failed: Confirmation runs that failed.
        n_test: Number of test images; 0 if no run ended well.
        is_share: Whether the accuracy is the share of right images, and no other score.
    """

    number: int
    recipe: Recipe
    accuracy_by_seed: Mapping[int, float]
    n_failed: int
    n_test: int
    is_share: bool = True

    @property
    def mean(self) -> float:
        """Mean test accuracy over the seeds, in [0, 1]; NaN if no run ended well."""
        values = self.accuracy_by_seed.values()
        return math.fsum(values) / len(values) if values else math.nan

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval of :attr:`mean` over the test images.

        None without a result, and for scores that are no share of right samples.
        """
        if not self.accuracy_by_seed or not self.is_share:
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
        deviations: The difference in seed deviations of the test accuracy; None if no recipe was
            tested on two seeds, or if their results are all equal.
    """

    baseline: str
    confirmed: Confirmed
    difference: PairedDifference
    is_winner: bool
    deviations: float | None = None


@dataclass(frozen=True)
class Lead:
    """The winner against another confirmed recipe, on the validation set.

    Attributes:
        number: Number of the other recipe's trial in the search.
        recipe: The other recipe.
        difference: Winner minus other in FT-valid-acc, paired by seed, in [-1, 1].
        deviations: The difference in seed deviations; None if there is no deviation above 0.
    """

    number: int
    recipe: Recipe
    difference: PairedDifference
    deviations: float | None


def confirmed(
    trial: TrialRecord, confirmations: Iterable[TrialRecord], metric: str = "accuracy"
) -> Confirmed:
    """Collects the confirmation runs of a trial's recipe.

    Args:
        trial: A trial of the search.
        confirmations: Records of confirmation jobs, of any recipe; those of this one are found
            by the number of the trial they confirm.
        metric: What was measured.
    """
    by_seed: dict[int, float] = {}
    n_failed = n_test = 0
    for record in confirmations:
        if record.job.number != trial.job.number:
            continue
        test = record.finished.test if record.finished else None
        n_failed += record.state == "FAIL"
        if test is not None:
            by_seed[record.job.seed] = test.accuracy
            n_test = len(test.correct)
    return Confirmed(
        number=trial.job.number,
        recipe=trial.job.recipe,
        accuracy_by_seed=dict(sorted(by_seed.items())),
        n_failed=n_failed,
        n_test=n_test,
        is_share=metric == "accuracy",
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
    noise = noise_on_test(confirmations)
    comparisons = []
    for name, record in baselines.items():
        baseline = confirmed(record, confirmations)
        shared = [seed for seed in best if seed in baseline.accuracy_by_seed]
        difference = paired_t_interval(
            [best[seed] - baseline.accuracy_by_seed[seed] for seed in shared]
        )
        comparisons.append(
            Comparison(
                baseline=name,
                confirmed=baseline,
                difference=difference,
                is_winner=record.job.number == winner.job.number,
                deviations=in_deviations(difference.mean, noise),
            )
        )
    return comparisons


def lead(
    winner: TrialRecord,
    other: TrialRecord,
    confirmations: Sequence[TrialRecord],
    noise: SeedNoise | None,
) -> Lead:
    """Compares the winner with another recipe over the seeds that both have finished.

    Args:
        winner: The chosen trial of the search.
        other: Another confirmed trial.
        confirmations: All confirmation records.
        noise: Seed noise of the objective.
    """
    ours, theirs = (_objectives(trial, confirmations) for trial in (winner, other))
    difference = paired_t_interval([ours[s] - theirs[s] for s in sorted(ours.keys() & theirs)])
    return Lead(
        other.job.number, other.job.recipe, difference, in_deviations(difference.mean, noise)
    )


def noise_on_test(confirmations: Sequence[TrialRecord]) -> SeedNoise | None:
    """Returns the seed noise of the test accuracy; None if no recipe was tested on two seeds.

    Args:
        confirmations: All confirmation records.
    """
    groups: dict[Hashable, list[float]] = {}
    for record in confirmations:
        if record.finished and record.finished.test:
            accuracy = record.finished.test.accuracy
            groups.setdefault(record.job.number, []).append(accuracy)
    return seed_noise(groups)


def _objectives(trial: TrialRecord, confirmations: Sequence[TrialRecord]) -> dict[int, float]:
    own = (record for record in confirmations if record.job.number == trial.job.number)
    return {r.job.seed: r.objective for r in own if r.objective is not None}
