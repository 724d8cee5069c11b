"""Who runs in the confirmation: the search's best few recipes and both baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energytune.config import Recipe
from energytune.optimizer.ranking import ranked
from energytune.trial import Job, TrialRecord

__all__ = ["Candidate", "best_first", "confirm_job", "pick_candidates"]


@dataclass(frozen=True)
class Candidate:
    """A recipe of the search that is run on further seeds.

    Attributes:
        number: Number of its trial in the search.
        recipe: Canonical recipe.
        roles: ``"candidate"``, ``"baseline_tau_0"``, ``"baseline_tau_max"``; one or more.
        earlier: Objectives of the recipe on other seeds that may be pooled with the race's, for
            the seed deviation: a baseline's trial, which was not picked for its result.
    """

    number: int
    recipe: Recipe
    roles: tuple[str, ...] = ("candidate",)
    earlier: tuple[float, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        """Content address of the recipe."""
        return self.recipe.key()

    @property
    def name(self) -> str:
        """Name of its trial, ``"t007"``."""
        return f"t{self.number:03d}"

    @property
    def is_baseline(self) -> bool:
        """Whether it is run on every seed whatever comes out: the report compares with it."""
        return any(role.startswith("baseline") for role in self.roles)


def confirm_job(number: int, recipe: Recipe, seed: int) -> Job:
    """Returns the confirmation run of a recipe on one seed; its id names both.

    Args:
        number: Number of the recipe's trial in the search.
        recipe: What to run.
        seed: Seed of initialisation and batch order.
    """
    return Job(f"c{number:03d}-s{seed}", number, recipe.canonical(), seed, "confirm")


def best_first(records: Sequence[TrialRecord], n_valid: int | None = None) -> list[TrialRecord]:
    """Returns the complete trials, one a recipe, by :func:`~energytune.optimizer.ranking.ranked`.

    Args:
        records: Trials of which only complete ones count.
        n_valid: Validation images; None breaks only exact ties by the loss.
    """
    complete = [(end, record) for record in records if (end := record.finished) is not None]
    complete.sort(key=lambda e: e[1].job.number)
    ends = [(end.objective, end.best_valid_loss) for end, _ in complete]
    unique: dict[str, TrialRecord] = {}
    for place in ranked(ends, n_valid):
        record = complete[place][1]
        unique.setdefault(record.job.recipe.key(), record)
    return list(unique.values())


def pick_candidates(
    records: Sequence[TrialRecord],
    baselines: Mapping[str, TrialRecord],
    n_recipes: int,
    n_valid: int | None = None,
) -> list[Candidate]:
    """Returns the baselines and the best other recipes, in the order of the search's ranking.

    The search's best trial is always among them: as one of the best few or as a baseline.

    Args:
        records: Trials of the search, of which only complete ones count.
        baselines: The baselines' complete trials by role.
        n_recipes: Recipes beside the baselines, >= 1.
        n_valid: Validation images; None breaks only exact ties by the loss.
    """
    roles: dict[str, tuple[str, ...]] = {}
    trials: dict[str, TrialRecord] = {}
    for role, record in baselines.items():
        key = record.job.recipe.key()
        roles[key] = (*roles.get(key, ()), role)
        trials[key] = record
    found = {record.job.recipe.key(): record for record in best_first(records, n_valid)}
    others = [key for key in found if key not in roles][:n_recipes]
    order = [key for key in found if key in roles or key in others]
    return [_candidate(trials.get(key) or found[key], roles.get(key, ())) for key in order]


def _candidate(record: TrialRecord, roles: tuple[str, ...]) -> Candidate:
    earlier = () if record.objective is None or not roles else (record.objective,)
    recipe = record.job.recipe.canonical()
    return Candidate(record.job.number, recipe, roles or ("candidate",), earlier)
